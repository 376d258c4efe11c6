"""`drsvg classifier`: teach a small network to read what frames show."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from drsvg_cli.cli import options

EPILOG = """Examples:

  $ drsvg classifier moving-mnist

  $ drsvg classifier moving-mnist --data ./mnist -o digits.safetensors

  $ drsvg classifier sprites --steps 2000
"""


def classifier(
    source: Annotated[
        Literal["moving-mnist", "sprites"],
        typer.Argument(help="The data set whose frames it reads."),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", help="The data set's folder; its cache by default.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write; SOURCE.safetensors by default.", show_default=False
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 4000,
    batch: Annotated[int, typer.Option(help="Frames a step.")] = 128,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn the classifier that `drsvg evaluate` judges content and pose with.

    The package has one for every such data set; this makes it again. It learns from the training
    part, digits or characters, and is measured on the test part.
    """
    options.check_range("--steps", steps, 1, 10_000_000)
    options.check_range("--batch", batch, 2, 65_536)
    from drsvg_cli.commands import classifier as work

    work.run(
        work.Request(
            source=source,
            data=data or [],
            out=out or Path(f"{source}.safetensors"),
            steps=steps,
            batch=batch,
            overwrite=overwrite,
            device=device,
        ),
        as_json=as_json,
        quiet=quiet,
    )
