"""`drsvg evaluate`: measure models on the same sequences."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from drsvg_cli.cli import options
from drsvg_cli.errors import ConfigError

EPILOG = """Examples:

  $ drsvg evaluate moving-mnist moving-mnist-svg-lp

  $ drsvg evaluate my-mnist --data ./mnist --sequences 50 --samples 20 -o quick

  $ drsvg evaluate general garden-model --data ./held-back --horizon 20

  $ drsvg evaluate general --data ./held-back --size 256 --samples 10

  $ drsvg evaluate kth kth-svg-lp --swap
"""


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODELS...", help="Presets, folders, files or org/name[@revision]."),
    ],
    data: options.Data = None,
    source: Annotated[
        Literal["clips", "moving-mnist", "kth", "sprites"] | None,
        typer.Option(
            help="What --data holds; what the first model learned from by default.",
            show_default=False,
        ),
    ] = None,
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
        typer.Option(
            "--swap", help="Measure swaps of pairs of sequences and latents, not predictions."
        ),
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            "-s",
            help="Futures of a sequence, 100 by default; swaps of a pair, 1 by default.",
            show_default=False,
        ),
    ] = None,
    sequences: Annotated[
        int | None,
        typer.Option(help="How many at most; the source's own by default.", show_default=False),
    ] = None,
    size: Annotated[
        Literal["64", "128", "256"] | None,
        typer.Option(
            help="Measure clips at so many pixels, as `drsvg predict --size` shows futures; at the "
            "models' own size by default.",
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
    ssim: Annotated[
        Literal["srvp", "svg"],
        typer.Option(help="SSIM as SRVP defines it (Gaussian window) or as SVG's code did."),
    ] = "srvp",
    classifier: Annotated[
        Path | None,
        typer.Option(
            help="Reads what frames show; the source's own by default.", show_default=False
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
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure models: PSNR, SSIM and whether content stays, frame by frame and by horizon.

    All models predict the same sequences. Writes tables, curves (Fig. 3) and examples (Fig. 4).
    Ctrl-C writes what has been measured; --resume goes on.

    With --swap, sequences are swapped in pairs instead: whether the content of one and the pose of
    the other show, where that is known, how sharp the frames are, and what the latents tell.
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
    if swap and size:
        raise ConfigError("--size is for predictions: swaps are measured at the models' own size")
    if swap and ssim != "srvp":
        raise ConfigError("--ssim is for predictions: what a swap should look like nobody knows")
    if swap and resume:
        raise ConfigError("--resume is for predictions: swaps are quickly measured again")
    from drsvg_cli.commands.models import find

    sources = [find(model, offline=offline, quiet=quiet or as_json) for model in models]
    from drsvg_cli.commands import evaluate as evaluate_predictions
    from drsvg_cli.commands import evaluate_swap, evaluation_setup

    work = evaluate_swap if swap else evaluate_predictions
    work.run(
        evaluation_setup.Request(
            models=dict(zip(models, sources, strict=True)),
            data=data or [],
            source=source,
            context=context,
            horizon=horizon,
            samples=samples or (1 if swap else 100),
            sequences=sequences,
            size=int(size) if size else None,
            seed=seed,
            temperature=temperature,
            ssim=ssim,
            classifier=classifier,
            out=out or Path("swaps" if swap else "evaluation"),
            overwrite=overwrite,
            resume=resume,
            device=device,
        ),
        as_json=as_json,
        quiet=quiet,
    )
