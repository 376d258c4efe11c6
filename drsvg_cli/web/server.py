"""The beginning and the end of `drsvg serve`: an address, a port, a folder that does not stay."""

import socket
import tempfile
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.middleware import Middleware

from drsvg_cli.commands.console import Reporter
from drsvg_cli.commands.models import find_predictor
from drsvg_cli.errors import ConfigError
from drsvg_cli.web.guard import Guard, choose_token, is_loopback
from drsvg_cli.web.site import Site


@dataclass(frozen=True)
class Serving:
    """What was asked for, as in the command's options."""

    host: str
    port: int
    token: str | None
    models: Sequence[str]
    device: str
    offline: bool
    open_page: bool
    quiet: bool


def run(serving: Serving) -> None:
    """Serve until interrupted.

    Raises:
        ConfigError: the host, the port or the token cannot be.
        WeightsError: there is no such model.
    """
    reporter = Reporter(as_json=False, quiet=serving.quiet)
    token = choose_token(serving.token, serving.host)
    for model in serving.models:
        find_predictor(model, offline=serving.offline, quiet=serving.quiet)
    with _listening(serving.host, serving.port) as listener:
        port = listener.getsockname()[1]
        host = f"[{serving.host}]" if ":" in serving.host else serving.host
        address = f"http://{host}:{port}/{token}/"
        if not is_loopback(serving.host):
            reporter.note(
                f"warning: who reaches {serving.host} and knows the token can use this computer to "
                "predict, and see all clips and results; what is sent is not encrypted"
            )
        reporter.result({}, f"open {address} · Ctrl-C ends it")
        if serving.open_page:
            webbrowser.open(address)
        with tempfile.TemporaryDirectory(prefix="drsvg-") as folder:
            _serve(listener, Path(folder), serving, token)


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


def _serve(listener: socket.socket, folder: Path, serving: Serving, token: str) -> None:
    """Serve what lies in a folder at a port."""
    servers: list[uvicorn.Server] = []
    site = Site(folder, serving.models, serving.device, is_ending=lambda: servers[0].should_exit)
    port = listener.getsockname()[1]
    guard = Middleware(Guard, token=token, host=serving.host, port=port)
    config = uvicorn.Config(
        site.app(guard),
        log_level="warning",
        access_log=False,  # it would hold the token
        proxy_headers=False,
        server_header=False,
        ws="none",
        limit_concurrency=64,
        timeout_graceful_shutdown=5,
    )
    servers.append(uvicorn.Server(config))
    servers[0].run(sockets=[listener])
