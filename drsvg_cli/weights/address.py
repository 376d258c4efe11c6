"""Addresses of models on the Hugging Face Hub, read without asking it anything.

What is told of a download is here as well, for those who pass it on without the Hub's library.
"""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from drsvg_cli.config import REPO_PATTERN

DEFAULT_REVISION = "main"

Tick = Callable[[str, int, int | None], object]
"""Called with a file's name, its bytes received so far, and its size if that is known."""


class Address(NamedTuple):
    """A revision of a Hub repo."""

    repo: str
    revision: str = DEFAULT_REVISION

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None

    def __str__(self) -> str:
        default = self.revision == DEFAULT_REVISION
        return self.repo if default else f"{self.repo}@{self.revision}"


def parse_address(text: str) -> Address | None:
    """Read `org/name` or `org/name@revision`; `None` if the text is neither."""
    match = re.fullmatch(rf"({REPO_PATTERN})(?:@([\w.-]+(?:/[\w.-]+)*))?", text, re.ASCII)
    if match is None or ".." in text:
        return None
    return Address(match[1], match[2]) if match[2] else Address(match[1])


UNPREPARED = OSError, ValueError, ImportError
"""What making a client raises where the environment names wrong certificates or a wrong proxy."""


def unprepared(error: Exception) -> str:
    """Say what kept a client from being made."""
    reason = (isinstance(error, OSError) and error.strerror) or error
    certificates = os.environ.get("SSL_CERT_FILE") or "not set"
    return (
        f"no connection can be made: {reason}; check SSL_CERT_FILE ({certificates}) and the "
        "proxies that the environment names"
    )
