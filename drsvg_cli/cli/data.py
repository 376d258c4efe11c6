"""`drsvg data`: data sets from where they are published, into a cache."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options

app = typer.Typer(
    name="data",
    help="Fetch the data sets that drsvg knows by name.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
Folder = Annotated[
    Path | None, options.option("Folder for the files; a cache by default.", "--out", "-o")
]
Mirror = Annotated[
    list[str] | None,
    options.option("Address of a folder with the files, instead of the known ones.", "--mirror"),
]
EPILOG = """Examples:

  $ drsvg data {0}

  $ drsvg data {0} -o ./{0}
"""


@app.command(epilog=EPILOG.format("mnist"))
def mnist(
    out: Folder = None,
    mirror: Mirror = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch the handwritten digits of MNIST, 12 MB, and check them.

    What is there already is kept. `drsvg train moving-mnist` finds them in the cache.
    """
    from drsvg_cli.commands import data

    data.fetch_files("mnist", out, mirror, as_json=as_json, quiet=quiet)


@app.command(epilog=EPILOG.format("kth"))
def kth(
    out: Folder = None,
    mirror: Mirror = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch the six archives of KTH's clips, about 1.2 GB, unpack and check them.

    Actions whose clips are all there are not fetched again, nor is an archive that is there.
    `drsvg train kth` finds them in the cache. The clips are for research; see the data set's own
    page.
    """
    from drsvg_cli.commands import data

    data.fetch_kth(out, mirror, as_json=as_json, quiet=quiet)


@app.command(epilog=EPILOG.format("sprites"))
def sprites(
    out: Folder = None,
    mirror: Mirror = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch the sheets that Sprites are composed of, 0.5 MB, and check them.

    Drawn for the Liberated Pixel Cup; CC-BY-SA 3.0 or GPL 3. What is there already is kept.
    `drsvg train sprites` finds them in the cache.
    """
    from drsvg_cli.commands import data

    data.fetch_files("sprites", out, mirror, as_json=as_json, quiet=quiet)
