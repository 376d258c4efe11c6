"""`drsvg swap`: what is in one clip, moving as another one does."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options

EPILOG = """Examples:

  $ drsvg swap a.mp4 b.mp4

  $ drsvg swap a.mp4 b.mp4 --both -n 20 -o swapped

  $ drsvg swap a.mp4 b.mp4 --at 0:20 --at-b 1:05

  $ drsvg swap a.mp4 b.mp4 --samples 3 --format gif
"""


def swap(
    content: Annotated[Path, typer.Argument(metavar="A", help="Clip that gives the content.")],
    pose: Annotated[Path, typer.Argument(metavar="B", help="Clip that gives the pose.")],
    model: options.Model = "general",
    offline: options.Offline = False,
    horizon: Annotated[
        int,
        typer.Option("--horizon", "-n", help="Frames to generate after the first frame of A."),
    ] = 10,
    samples: Annotated[
        int, typer.Option("--samples", "-s", help="How often to draw the latents.")
    ] = 1,
    both: Annotated[bool, typer.Option("--both", help="Also give B the pose of A.")] = False,
    seed: options.Seed = None,
    temperature: Annotated[
        float, typer.Option(help="How far samples stray: 0 not at all, 1 as learned.")
    ] = 1.0,
    at: options.At = None,
    at_b: Annotated[
        str | None,
        typer.Option(help="The same of B alone; that of --at by default.", show_default=False),
    ] = None,
    rate: options.Rate = None,
    fit: options.FitMode = None,
    device: options.Device = "auto",
    format: options.Format = "mp4",
    size: options.Size = 256,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for the results; A_B_drsvg by default.", show_default=False
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the content of A with the pose of B.

    Both clips should show the same kind of scene. Writes the swapped clip, a grid and a sheet of
    A, B, the reconstruction of A and the swap side by side, and swap.json.
    """
    options.check_range("--horizon", horizon, 1)
    options.check_range("--samples", samples, 1)
    options.check_range("--temperature", temperature, 0, 100)
    options.check_range("--size", size, 16, 4096)
    if seed is not None:
        options.check_range("--seed", seed, 0, options.LARGEST_SEED)
    if rate is not None:
        options.check_range("--rate", rate, 0.01, 1000)
    from drsvg_cli.commands.models import find

    source = find(model, offline=offline, quiet=quiet or as_json)  # before the seconds torch takes
    from drsvg_cli.commands.clip_input import Settings
    from drsvg_cli.commands.swap import run

    settings = Settings(
        model=model,
        context=None,
        horizon=horizon,
        samples=samples,
        seed=seed,
        temperature=temperature,
        at=at,
        rate=rate,
        fit=fit,
        device=device,
        compare=False,
        format=format,
        size=size,
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
        as_json=as_json,
        quiet=quiet,
    )
