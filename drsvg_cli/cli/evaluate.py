"""`drsvg evaluate`: measure models on the same sequences."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options
from drsvg_cli.errors import ConfigError

EPILOG = """Examples:

  $ drsvg evaluate general --data ./held-back

  $ drsvg evaluate general garden-model --data ./held-back --horizon 30

  $ drsvg evaluate motion --data ./held-back

  $ drsvg evaluate moving-mnist moving-mnist-svg-lp

  $ drsvg evaluate kth kth-svg-lp --swap
"""


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODELS...",
            help="Presets, baselines, folders, files or org/name[@revision].",
        ),
    ],
    data: options.Data = None,
    context: options.Context = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            "--horizon",
            "-n",
            help="Frames to predict; the source's own by default.",
            show_default=False,
        ),
    ] = None,
    swap: Annotated[
        bool,
        typer.Option("--swap", help="Measure swaps of pairs of sequences, not predictions."),
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            "-s",
            help="Samples of a sequence, 10 by default, 100 of a data set; swaps of a pair, 1.",
            show_default=False,
        ),
    ] = None,
    sequences: Annotated[
        int | None,
        typer.Option(help="How many at most; the source's own by default.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Pixels along the shorter side, at which whole frames of clips are measured; 128 "
            "by default.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Sample k depends on SEED + k alone.")] = 0,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="How far samples stray: 0 not at all, 1 as learned; the models' own by default, 1 "
            "with --swap.",
            show_default=False,
        ),
    ] = None,
    offline: options.Offline = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the results; `evaluation`, or `swaps` with --swap, by default.",
            show_default=False,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the same evaluation stopped.")
    ] = False,
    device: options.Device = "auto",
    on: options.On = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure models beside copying the last frame and beside measured motion that goes on.

    All predict the same sequences. PSNR, LPIPS and the energy score of the samples, paired
    differences with 95 % intervals over clips, and whether the latents are used; of a data set also
    SSIM, and whether content stays. Writes tables, curves (Fig. 3) and examples (Fig. 4). Ctrl-C
    writes what has been measured; --resume goes on.

    With --swap, sequences are swapped in pairs instead: whether the content of one and the pose of
    the other show, where that is known, how they move, and how sharp the frames are.
    """
    for option, value, least in (
        ("--context", context, 1),
        ("--horizon", horizon, 1),
        ("--sequences", sequences, 1),
        ("--samples", samples, 1),
    ):
        if value is not None:
            options.check_range(option, value, least, 10_000)
    options.check_range("--seed", seed, 0, options.LARGEST_SEED - 10_000)
    if temperature is not None:
        options.check_range("--temperature", temperature, 0, 100)
    if size is not None:
        options.check_range("--size", size, 32, 512)
    if swap and size:
        raise ConfigError("--size is for predictions: swaps are measured at the models' own size")
    options.check_cluster(on)
    if swap and on is not None:
        raise ConfigError("--on is for predictions: swaps are quickly measured here")
    if swap and resume:
        raise ConfigError("--resume is for predictions: swaps are quickly measured again")
    from drsvg_cli.commands.models import find_predictor

    sources = [find_predictor(each, offline=offline, quiet=quiet or as_json) for each in models]
    from drsvg_cli.commands import evaluate as predictions
    from drsvg_cli.commands import evaluate_swap as swaps
    from drsvg_cli.commands.evaluation_setup import Request

    work = swaps if swap else predictions
    work.run(
        Request(
            models=list(zip(models, sources, strict=True)),
            data=data or [],
            context=context,
            horizon=horizon,
            samples=samples,
            sequences=sequences,
            size=size,
            seed=seed,
            temperature=temperature,
            out=out or Path("swaps" if swap else "evaluation"),
            overwrite=overwrite,
            resume=resume,
            device=device,
            on=on,
        ),
        as_json=as_json,
        quiet=quiet,
    )
