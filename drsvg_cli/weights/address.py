"""Addresses of models on the Hugging Face Hub, read without asking it anything."""

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from drsvg_cli.config import REPO_PATTERN
from drsvg_cli.errors import WeightsError

DEFAULT_REVISION = "main"


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


def check_endpoint() -> None:
    """Refuse, before the Hub's library stumbles over it when it is imported, a wrong `HF_ENDPOINT`.

    Raises:
        WeightsError: it is no address.
    """
    try:
        _ = urlsplit(os.environ.get("HF_ENDPOINT", "")).port
    except ValueError:
        raise WeightsError(
            "HF_ENDPOINT is no address; give one such as https://huggingface.co, or leave it unset"
        ) from None
