"""Connections to other machines: opened in one place, so that what goes wrong is said once."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from drsvg_cli.errors import DrsvgError

if TYPE_CHECKING:
    from httpx2 import Client

Tick = Callable[[str, int, int | None], object]
"""Called with a file's name, its bytes received so far, and its size if that is known."""


def connect(error: type[DrsvgError], **options: Any) -> "Client":
    """Make a client that follows redirects.

    Raises:
        DrsvgError: of the class `error`, where the environment names wrong certificates or a
            wrong proxy.
    """
    from httpx2 import Client, InvalidURL  # here: who only tells of a download waits for neither

    try:
        return Client(follow_redirects=True, **options)
    except (OSError, ValueError, ImportError, InvalidURL) as reason:
        said = (isinstance(reason, OSError) and reason.strerror) or reason
        certificates = os.environ.get("SSL_CERT_FILE") or "not set"
        raise error(
            f"no connection can be made: {said}; check SSL_CERT_FILE ({certificates}) and the "
            "proxies that the environment names"
        ) from None
