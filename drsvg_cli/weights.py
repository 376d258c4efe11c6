"""From what a user calls a model to the folder that holds it."""

import difflib
from importlib.resources import files
from pathlib import Path

from drsvg_cli.checkpoint import RECIPE_FILE, WEIGHTS_FILE
from drsvg_cli.errors import WeightsError

DEFAULT_MODEL = "general"


def presets() -> dict[str, Path]:
    """Return the model folders that the package embeds, by name."""
    root = Path(str(files("drsvg_cli.presets")))
    return {
        folder.name: folder for folder in sorted(root.iterdir()) if (folder / RECIPE_FILE).is_file()
    }


def recipe_folder(model: str) -> Path:
    """Return the folder with the recipe of `model`, the name of a preset or a folder.

    Raises:
        WeightsError: there is no such model.
    """
    known = presets()
    folder = known.get(model, Path(model))
    if not folder.is_dir():
        close = difflib.get_close_matches(model, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise WeightsError(
            f"there is no model {model!r}; give a model folder or one of: {', '.join(known)}.{hint}"
        )
    return folder


def resolve(model: str) -> Path:
    """Return the model folder, weights included, that `model` stands for.

    Raises:
        WeightsError: there is no such model, or it has no weights.
    """
    folder = recipe_folder(model)
    if not (folder / WEIGHTS_FILE).is_file():
        raise WeightsError(
            f"the model {model!r} has no weights: {folder / WEIGHTS_FILE} is missing"
        )
    return folder
