"""`drsvg data`: data sets from where they are published, into a cache."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from drsvg_cli.cli import options

EPILOG = options.examples("data mnist", "data kth -o ./kth", "data sprites")


def data(
    name: Annotated[Literal["mnist", "kth", "sprites"], typer.Argument(help="The data set.")],
    out: Annotated[
        Path | None, options.option("Folder for the files; a cache by default.", "--out", "-o")
    ] = None,
    mirror: Annotated[
        list[str] | None,
        options.option("Address of a folder with the files, instead of the known ones."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a data set that drsvg knows by name, and check it. What is there already is kept.

    `mnist` is the handwritten digits of Moving MNIST, 12 MB. `kth` is six archives of clips, about
    1.2 GB, which are unpacked; they are for research, see the data set's own page. `sprites` is
    the sheets that Sprites are composed of, 0.5 MB, drawn for the Liberated Pixel Cup; CC-BY-SA
    3.0 or GPL 3. `drsvg train moving-mnist`, `kth` and `sprites` find them in the cache.
    """
    from drsvg_cli.commands import data
    from drsvg_cli.commands.console import Reporter

    data.run(name, out, mirror, Reporter(as_json=as_json, quiet=quiet))
