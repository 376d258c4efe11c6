"""From what a user calls a model to the folder or file that holds it.

A name of a preset, a model folder, a weights file with its recipe in the header, or `org/name` and
`org/name@revision` on the Hugging Face Hub. Imports torch only to load, and the Hub's library only
to ask the Hub: naming a model is quick.
"""

import difflib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from drsvg_cli.config import Recipe
from drsvg_cli.errors import WeightsError
from drsvg_cli.network import Tick
from drsvg_cli.weights.model_folder import (
    CARD_FILE,
    PICKLES,
    RECIPE_FILE,
    WEIGHTS_FILE,
    Address,
    check_endpoint,
    parse_address,
    refuse_pickle,
    weights_path,
)

if TYPE_CHECKING:
    from drsvg_cli.weights.files import Network

DEFAULT_MODEL = "general"
BASELINES = ("copy", "motion", "motion-speeds")
"""Predictors without weights, which go by a name as presets do (`inference.baselines`)."""
WHOLE = (RECIPE_FILE, WEIGHTS_FILE, CARD_FILE)
"""The files of a model folder."""
DESCRIPTION = (RECIPE_FILE, CARD_FILE)


def presets() -> dict[str, Path]:
    """Return the model folders that the package embeds, by name; some are recipes alone."""
    root = Path(str(files("drsvg_cli.presets")))
    return {
        folder.name: folder for folder in sorted(root.iterdir()) if (folder / RECIPE_FILE).is_file()
    }


def as_folder(name: str) -> str:
    """Write a folder's name so that it does not stand for the preset that is called the same."""
    return f"./{name}" if name in presets() or name in BASELINES else name


def load_model(
    model: str = DEFAULT_MODEL, *, offline: bool = False, tick: Tick | None = None
) -> tuple["Network", Recipe]:
    """Find and load a model, in evaluation mode.

    Args:
        model: a preset, a model folder, a `.safetensors` file or `org/name[@revision]`.
        offline: use what is on this computer only.
        tick: told of a download's progress.

    Raises:
        WeightsError: there is no such model, it cannot be downloaded, or it is damaged.
        ConfigError: its recipe is not valid.
    """
    from drsvg_cli.weights import files as weights_files  # torch

    return weights_files.load_model(resolve(model, offline=offline, tick=tick))


def resolve(model: str, *, offline: bool = False, tick: Tick | None = None) -> Path:
    """Return the source, weights included, that `model` stands for.

    Raises:
        WeightsError: there is no such model, it has no weights, or they cannot be downloaded.
    """
    source = _locate(model, WHOLE, offline=offline, tick=tick)
    if not weights_path(source).is_file():
        if source == presets().get(model):
            raise WeightsError(
                f"the preset {model!r} is a recipe without weights; train it with drsvg train "
                f"{model} and use --model {model}-model"
            )
        for path in sorted(source.iterdir()):
            refuse_pickle(path)
        raise WeightsError(f"the model {model!r} has no weights: {weights_path(source)} is missing")
    return source


def describe(model: str, *, offline: bool = False) -> Path:
    """Return a source with the recipe and the card of `model`; its weights may be absent.

    Raises:
        WeightsError: there is no such model, or its description cannot be downloaded.
    """
    return _locate(model, DESCRIPTION, offline=offline, tick=None)


def _locate(model: str, names: tuple[str, ...], *, offline: bool, tick: Tick | None) -> Path:
    known, path = presets(), Path(model)
    if model in known:
        return known[model]
    if path.suffix.lower() in PICKLES and not path.is_dir():
        refuse_pickle(path)
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix != ".safetensors":
            raise WeightsError(f"{path} is neither a model folder nor a .safetensors file")
        return path
    if address := parse_address(model):
        return _fetch(address, names, offline=offline, tick=tick)
    if model in BASELINES:
        raise WeightsError(f"{model} is a baseline without weights: it predicts, and no more")
    close = difflib.get_close_matches(model, [*known, *BASELINES], n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise WeightsError(
        f"there is no model {model!r}; give a model folder, a .safetensors file, org/name on the "
        f"Hub or one of: {', '.join([*known, *BASELINES])}.{hint}"
    )


def _fetch(address: Address, names: tuple[str, ...], *, offline: bool, tick: Tick | None) -> Path:
    check_endpoint()
    from drsvg_cli.weights import hub

    return hub.fetch(address, names, offline=offline, tick=tick)
