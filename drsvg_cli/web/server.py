"""The beginning and the end of `drsvg serve`: an address, a port, a folder that does not stay."""

import socket
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.middleware import Middleware

from drsvg_cli.commands.console import Reporter
from drsvg_cli.commands.models import find_predictor
from drsvg_cli.errors import ConfigError
from drsvg_cli.web.guard import Guard, choose_token, is_loopback
from drsvg_cli.web.site import Site


def run(
    models: Sequence[str],
    *,
    host: str,
    port: int,
    token: str | None,
    device: str,
    offline: bool,
    open_page: bool,
    quiet: bool,
) -> None:
    """Serve until interrupted.

    Raises:
        ConfigError: the host, the port or the token cannot be.
        WeightsError: there is no such model.
    """
    reporter = Reporter(as_json=False, quiet=quiet)
    token = choose_token(token, host)
    for model in models:
        find_predictor(model, offline=offline, quiet=quiet)
    with (
        _listening(host, port) as listener,
        tempfile.TemporaryDirectory(prefix="drsvg-") as folder,
    ):
        port = listener.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/{token}/"
        if not is_loopback(host):
            reporter.note(
                f"warning: whoever reaches {host} and knows the token can use this computer to "
                "predict, and see all clips and results; nothing that is sent is encrypted"
            )
        reporter.result({}, f"open {address} · Ctrl-C ends it")
        if open_page:
            webbrowser.open(address)
        site = Site(Path(folder), models, device, is_ending=lambda: server.should_exit)
        config = uvicorn.Config(
            site.app(Middleware(Guard, token=token, host=host, port=port)),
            log_level="warning",
            access_log=False,  # it would hold the token
            proxy_headers=False,
            server_header=False,
            ws="none",
            limit_concurrency=64,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """Open the port.

    Raises:
        ConfigError: it cannot be opened.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; choose another "
            "--port or --host"
        ) from None
