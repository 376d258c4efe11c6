"""Model folders: what a model is called on disk and on the Hub, and what can be read without torch.

A model folder holds `preset.toml` (the recipe), `model.safetensors` and `README.md` (the model
card); a picture of predictions may lie beside them. The weights file has the recipe in its header
as well, so the file alone is a whole model, and this module calls either a model's *source*.
"""

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from drsvg_cli.config import REPO_PATTERN, Recipe
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.recipe_file import parse_recipe
from drsvg_cli.storage import read_own

RECIPE_FILE = "preset.toml"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
PICTURE_FILE = "validation.png"
FORMAT = "drsvg/1"
DEFAULT_REVISION = "main"
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
LARGEST_RECIPE, MOST_DOTS = 2**16, 1000
"""Characters; a recipe has some three thousand, and a dot a number."""
LARGEST_HEADER = 16 * 2**20
"""Bytes; a header names some hundred tensors in ten thousand bytes."""


def refuse_pickle(path: Path) -> None:
    """Refuse a file of a kind that can run code.

    Raises:
        WeightsError: it is one, by its name.
    """
    if path.suffix.lower() in PICKLES:
        raise WeightsError(
            f"{path} is not opened: {path.suffix} files are Python pickles, and reading a pickle "
            "can run any code that its author put there; drsvg reads .safetensors files only"
        )


def weights_path(source: Path) -> Path:
    """Return the weights file of a source, whether or not there is one."""
    return (
        source
        if source.suffix == ".safetensors" and not source.is_dir()
        else (source / WEIGHTS_FILE)
    )


def read_recipe(source: Path) -> Recipe:
    """Read the recipe of a model folder, or the one in a weights file's header.

    Raises:
        WeightsError: there is none.
        ConfigError: it is not a valid recipe.
    """
    if source.is_file():
        recipe = _header(source).get("recipe")
        if not isinstance(recipe, str):
            raise WeightsError(f"{source} has no recipe in its header; give its model folder")
        return _parsed(recipe, source, migrated=True)
    path = source / RECIPE_FILE
    try:
        text = read_own(path).decode()
    except FileNotFoundError:
        raise WeightsError(f"{source} is not a model folder: it has no {RECIPE_FILE}") from None
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WeightsError(f"cannot read {path}: {error}; save it as UTF-8") from None
    return _parsed(text, path, migrated=weights_path(source).is_file())


def _parsed(text: str, origin: Path, *, migrated: bool) -> Recipe:
    """Parse a recipe whose size is that of one: a key of 30,000 dots takes 4 GB to parse."""
    if len(text) > LARGEST_RECIPE or text.count(".") > MOST_DOTS:
        raise ConfigError(
            f"{origin} is no recipe: one has at most {LARGEST_RECIPE:,} characters and "
            f"{MOST_DOTS:,} dots"
        )
    return parse_recipe(text, origin=str(origin), migrated=migrated)


def read_history(source: Path) -> list[dict[str, Any]]:
    """Read how a model's weights came to be, a run after the other; empty where none was recorded.

    Raises:
        WeightsError: there are no weights, or they are damaged.
    """
    text = _header(weights_path(source)).get("history", "[]")
    try:
        history = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        history = None
    if not isinstance(history, list):
        raise WeightsError(f"{source}: the history in its header is damaged")
    return history


def _header(path: Path) -> dict[str, Any]:
    """Read what drsvg wrote into a weights file beside the tensors."""
    refuse_pickle(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise ValueError(f"its header cannot have {length} bytes")
            header = json.loads(file.read(length).decode(), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged or is not a weights file: {error}") from None
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} was not written by drsvg: its header does not say {FORMAT}; give the model "
            f"folder, with {RECIPE_FILE} in it"
        )
    return metadata


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; two readers may understand a key that is there twice in two ways."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("its header has a key twice")
    return table


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
