"""`drsvg data`: data sets from where they are published, into a cache."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options

app = typer.Typer(
    name="data",
    help="Fetch the data sets of the paper's experiments.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
Folder = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Folder for the files; a cache by default.", show_default=False
    ),
]
Mirror = Annotated[
    list[str] | None,
    typer.Option(
        "--mirror",
        help="Address of a folder with the files, instead of the known ones.",
        show_default=False,
    ),
]
MNIST_EPILOG = """Examples:

  $ drsvg data mnist

  $ drsvg data mnist -o ./mnist
"""


@app.callback()
def _group() -> None:
    """Keep `drsvg data mnist` a command of a group while it is the only one."""


@app.command(epilog=MNIST_EPILOG)
def mnist(
    out: Folder = None,
    mirror: Mirror = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch the handwritten digits of MNIST, 12 MB, and check them.

    What is there already is kept. `drsvg train moving-mnist` finds them in the cache.
    """
    from drsvg_cli.cli import fetching

    fetching.mnist(out, mirror, as_json=as_json, quiet=quiet)
