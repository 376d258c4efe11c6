"""`drsvg serve`: a page to drop a clip on."""

from importlib.util import find_spec
from typing import Annotated

import typer

from drsvg_cli.cli import options
from drsvg_cli.errors import ConfigError

EPILOG = options.examples(
    "serve",
    "serve --model ./garden-model --port 7860 --no-open",
)


def serve(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A model to choose beside the presets; may be given several times.",
            show_default=False,
        ),
    ] = None,
    offline: options.Offline = False,
    device: options.Device = "auto",
    port: Annotated[
        int,
        options.option("Port to listen at; 0 takes a free one.", show=True, between=(0, 65535)),
    ] = 0,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at; one that other computers reach needs a --token."),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            help="What the page's address must hold, 16 characters or more; random by default.",
            show_default=False,
        ),
    ] = None,
    open_page: Annotated[
        bool, options.flag("--open/--no-open", help="Show the page in the browser, or not.")
    ] = True,
    quiet: options.Quiet = False,
) -> None:
    """Serve a page on this computer: drop a clip, choose the moment, look at what could happen.

    Needs `pip install 'drsvg[web]'`. Nothing leaves this computer, and what was sent and made is
    removed when the server ends.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"drsvg serve needs {' and '.join(missing)}: pip install 'drsvg[web]'")
    from drsvg_cli.web.server import run

    run(
        models or [],
        host=host,
        port=port,
        token=token,
        device=device,
        offline=offline,
        open_page=open_page,
        quiet=quiet,
    )
