"""`drsvg swap`: what is in one clip, moving as another one does."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options
from drsvg_cli.commands.console import Reporter

EPILOG = options.examples(
    "swap a.mp4 b.mp4",
    "swap a.mp4 b.mp4 --both -n 20 -o swapped",
    "swap a.mp4 b.mp4 --at 0:20 --at-b 1:05",
    "swap a.mp4 b.mp4 --samples 3 --format gif",
)

Both = Annotated[
    bool, options.flag("--both", help="Also give B the pose of A.", panel=options.SAMPLING)
]
Out = Annotated[
    Path | None,
    options.option(
        "Folder for the results; A_B_drsvg by default.", "--out", "-o", panel=options.OUTPUT
    ),
]


def swap(
    content: Annotated[Path, typer.Argument(metavar="A", help="Clip that gives the content.")],
    pose: Annotated[Path, typer.Argument(metavar="B", help="Clip that gives the pose.")],
    model: options.Model = "general",
    offline: options.Offline = False,
    at: options.At = None,
    at_b: Annotated[
        str | None,
        options.option("The same of B alone; that of --at by default.", panel=options.INPUT),
    ] = None,
    rate: options.Rate = None,
    fit: options.FitMode = None,
    both: Both = False,
    horizon: options.Horizon = "10",
    samples: options.Samples = 1,
    seed: options.Seed = None,
    temperature: options.Temperature = None,
    device: options.Device = "auto",
    out: Out = None,
    overwrite: options.Overwrite = False,
    size: options.AnySize = None,
    format: options.Format = "mp4",
    open_page: options.Open = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the content of A with the pose of B.

    Both clips should show the same kind of scene. Writes the swapped clips, both given ones, a
    reconstruction of A, a page that plays them side by side (index.html), a sheet and swap.json,
    and says how much of B's motion was taken.
    """
    length, box = options.read_length(horizon), options.read_size(size)
    from drsvg_cli.commands.models import find_predictor

    # Before the seconds that torch takes.
    source = find_predictor(model, offline=offline, quiet=quiet or as_json)
    from drsvg_cli.commands.session import Settings
    from drsvg_cli.commands.swap import run

    settings = Settings(
        model=model,
        horizon=length,
        samples=samples,
        seed=seed,
        temperature=temperature,
        at=at,
        rate=rate,
        fit=fit,
        device=device,
        format=format,
        size=box,
    )
    run(
        content,
        pose,
        settings,
        out,
        source=source,
        at_b=at_b,
        both=both,
        overwrite=overwrite,
        open_page=open_page,
        reporter=Reporter(as_json=as_json, quiet=quiet),
    )
