"""`drsvg evaluate`: measure models on the same sequences."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from drsvg_cli.cli import options

EPILOG = """Examples:

  $ drsvg evaluate moving-mnist moving-mnist-svg-lp

  $ drsvg evaluate my-mnist --data ./mnist --sequences 50 --samples 20 -o quick

  $ drsvg evaluate general garden-model --data ./held-back --horizon 20
"""


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODELS...", help="Presets, folders, files or org/name[@revision]."),
    ],
    data: options.Data = None,
    source: Annotated[
        Literal["clips", "moving-mnist"] | None,
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
    samples: Annotated[int, typer.Option("--samples", "-s", help="Futures of a sequence.")] = 100,
    sequences: Annotated[
        int | None,
        typer.Option(help="How many at most; the source's own by default.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Sample k depends on SEED + k alone.")] = 0,
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
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path(
        "evaluation"
    ),
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
    from drsvg_cli.cli.sharing import find

    sources = [find(model, offline=offline, quiet=quiet or as_json) for model in models]
    from drsvg_cli.cli import evaluating

    evaluating.run(
        evaluating.Request(
            models=dict(zip(models, sources, strict=True)),
            data=data or [],
            source=source,
            context=context,
            horizon=horizon,
            samples=samples,
            sequences=sequences,
            seed=seed,
            ssim=ssim,
            classifier=classifier,
            out=out,
            overwrite=overwrite,
            resume=resume,
            device=device,
        ),
        as_json=as_json,
        quiet=quiet,
    )
