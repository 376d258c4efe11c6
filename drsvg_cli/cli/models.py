"""`drsvg models`: what there is, and the way to and from the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options

app = typer.Typer(
    name="models",
    help="List models, fetch them from the Hugging Face Hub, and share your own.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
Named = Annotated[
    str, typer.Argument(metavar="MODEL", help="A preset, a folder, a file or org/name[@revision].")
]
LIST_EPILOG = options.examples(
    "models list",
    "models list --json",
)
INFO_EPILOG = options.examples(
    "models info general",
    "models info org/garden@v1",
)
PULL_EPILOG = options.examples(
    "models pull org/garden",
    "models pull org/garden@v1",
)
PUSH_EPILOG = options.examples(
    "models push garden org/garden",
    "models push garden org/garden --private",
)


@app.command("list", epilog=LIST_EPILOG)
def list_models(as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the models on this computer: embedded, and in the Hub's cache."""
    from drsvg_cli.commands import models

    models.show_all(as_json=as_json, quiet=quiet)


@app.command(epilog=INFO_EPILOG)
def info(
    model: Named,
    offline: options.Offline = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what a model is; downloads its recipe and card, not its weights."""
    from drsvg_cli.commands import models

    models.show(model, offline=offline, as_json=as_json, quiet=quiet)


@app.command(epilog=PULL_EPILOG)
def pull(
    model: Named,
    offline: options.Offline = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Download a model into the Hub's cache and check that it loads."""
    from drsvg_cli.commands import models

    models.pull(model, offline=offline, as_json=as_json, quiet=quiet)


@app.command(epilog=PUSH_EPILOG)
def push(
    folder: Annotated[Path, typer.Argument(help="A model folder.")],
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Made if need be.")],
    private: Annotated[
        bool, typer.Option("--private", help="Only you and those you name may see it.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Upload a model folder to the Hub in one commit, and print its address."""
    from drsvg_cli.commands import models

    models.push(folder, repo, private=private, as_json=as_json, quiet=quiet)
