"""What `drsvg serve` listens at, who may ask, and a folder that does not stay.

Other pages in the same browser can send requests to this computer, and with a name that they let
point here (DNS rebinding) even read the answers. So a request needs a host that is ours, no other
origin, and the token, which is the first part of every path. Cookies would go to other ports, too.
"""

import re
import secrets
import socket
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drsvg_cli.commands.console import Reporter
from drsvg_cli.commands.models import find_predictor
from drsvg_cli.errors import ConfigError
from drsvg_cli.web.site import Site

ADDRESS = re.compile(r"[\d.]+|\[[\da-f:]+\]", re.ASCII | re.IGNORECASE)
TOKEN = re.compile(r"[\w-]{16,128}", re.ASCII)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Tell whether only programs on this computer reach a host."""
    return host in ("localhost", "::1") or host.startswith("127.")


def choose_token(token: str | None, host: str) -> str:
    """Return the token that was given, or a random one.

    Raises:
        ConfigError: it is no token, or other computers reach the host and there is none.
    """
    if token is None:
        if not is_loopback(host):
            raise ConfigError(
                f"--host {host} lets other computers in; choose a --token, which they must know"
            )
        return secrets.token_urlsafe(24)
    if not TOKEN.fullmatch(token):
        raise ConfigError("--token has 16 to 128 letters, digits, - and _, and none else")
    return token


class Guard:
    """Refuses requests, and adds to every answer what a browser is to forbid."""

    def __init__(self, app: ASGIApp, *, token: str, host: str, port: int) -> None:
        """Take the application, the token, and what the server listens at."""
        self._app, self._token = app, token
        self._host, self._port = host, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        status, words = self._refusal(Headers(scope=scope), scope["path"])
        if status:
            await PlainTextResponse(words, status)(scope, receive, send_guarded)
            return
        scope["root_path"] = f"/{self._token}"
        await self._app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, path: str) -> tuple[int, str]:
        """Say why a request is refused; 0 if it is not."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            return 421, "This name is not that of the server.\n"
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return 403, "Another page asks; only the server's own may.\n"
        given = path.removeprefix("/").partition("/")[0]
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return 403, "Open the whole address that `drsvg serve` printed, with its token.\n"
        return 0, ""

    def _is_ours(self, header: str) -> bool:
        """Tell whether a Host header names us; where others may come in, by any address."""
        name, _, port = (header if self._port != 80 else f"{header}:80").rpartition(":")
        names = ("127.0.0.1", "localhost", "[::1]", self._host.lower(), f"[{self._host}]")
        is_open = not is_loopback(self._host) and ADDRESS.fullmatch(name)
        return port == str(self._port) and (name.lower() in names or bool(is_open))


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
