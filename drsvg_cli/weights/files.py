"""Weights files: a model folder for the world, and training state for one run.

A model folder holds `preset.toml` (the recipe), `model.safetensors` and `README.md` (the model
card). The weights are stored in half precision; the recipe is in the file's header as well, so
the file alone is a whole model. Training state keeps every bit.
"""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from drsvg_cli.config import AnyModel, ModelConfig, Recipe
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.motion_model.network import MotionNetwork, build_network
from drsvg_cli.recipe_file import format_recipe
from drsvg_cli.storage import opened, write_atomically
from drsvg_cli.weights.model_folder import (
    FORMAT,
    RECIPE_FILE,
    WEIGHTS_FILE,
    read_recipe,
    weights_path,
)

Network = DRSVG | MotionNetwork

LARGEST_INDEX = 2**24
"""Bytes that name the tensors of a training state; those of the largest preset take 10^5."""
LARGEST_MODEL = 2**28
"""Weights: a gigabyte in memory, five times that in training. Those of the paper have millions."""


def save_model(
    folder: Path,
    recipe: Recipe,
    weights: dict[str, Tensor],
    history: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write recipe and weights of a model into `folder`, which is made if need be.

    `history` says how the weights came to be, a run after the other; `trainer.fit` writes it.
    """
    text = format_recipe(recipe)
    tensors = {name: _stored(tensor) for name, tensor in weights.items()}
    header = {"format": FORMAT, "recipe": text, "history": json.dumps([*history])}
    # Not save_file: its errors do not tell a full disk from a programmer's mistake.
    data = _ordered(safetensors.torch.save(tensors, metadata=header))
    write_atomically(folder / WEIGHTS_FILE, lambda part: part.write_bytes(data))
    write_atomically(folder / RECIPE_FILE, lambda part: part.write_text(text, encoding="utf-8"))


def _ordered(data: bytes) -> bytes:
    """Write the header of a weights file anew in a fixed order: the same model, the same bytes."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if bool(torch.isfinite(half).all()) else tensor


def load_model(source: Path) -> tuple[Network, Recipe]:
    """Load a model folder, or a weights file with its recipe in the header, in evaluation mode.

    Every tensor's name and shape is compared with the recipe before anything is allocated.

    Raises:
        WeightsError: a file is missing or damaged, or weights and recipe do not fit.
        ConfigError: the recipe is not valid.
    """
    recipe = read_recipe(source)
    path = weights_path(source)
    model = blueprint(recipe.model)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = file.keys()
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            _compare(shapes, model, path)
            tensors = {name: _loaded(file.get_tensor(name)) for name in shapes}
    except FileNotFoundError:
        raise WeightsError(f"{source} has no {WEIGHTS_FILE}") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or is not a weights file: {error}") from None
    for name, wanted in model.state_dict().items():
        if tensors[name].dtype != wanted.dtype:
            raise WeightsError(f"{path}: {name} is {tensors[name].dtype}, not {wanted.dtype}")
    model.load_state_dict(tensors, assign=True)
    if isinstance(model, DRSVG):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval(), recipe


def blueprint(config: AnyModel) -> Network:
    """Build a model without memory for its weights, to know their names and shapes.

    Raises:
        ConfigError: they are more than `LARGEST_MODEL`.
    """
    with torch.device("meta"):
        model = DRSVG(config) if isinstance(config, ModelConfig) else build_network(config)
    weights = sum(parameter.numel() for parameter in model.parameters())
    if weights > LARGEST_MODEL:
        raise ConfigError(
            f"the recipe asks for a model of {weights:,} weights; the most is {LARGEST_MODEL:,}: "
            "choose a smaller model.width, or smaller hidden sizes"
        )
    return model


def _loaded(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _compare(shapes: dict[str, tuple[int, ...]], model: Network, path: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, shape in wanted.items():
        if name not in shapes:
            raise WeightsError(f"{path} lacks the tensor {name} that its recipe asks for")
        if shapes[name] != shape:
            raise WeightsError(f"{path}: {name} is {shapes[name]}, its recipe asks for {shape}")
    for name in shapes.keys() - wanted.keys():
        raise WeightsError(f"{path} has a tensor {name} that its recipe does not know")


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write training state: nested dicts and lists of tensors, numbers and strings."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, lambda part: part.write_bytes(buffer.getbuffer()))


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; nothing in the file is executed.

    Raises:
        WeightsError: the file is missing, damaged or holds more than that.
    """
    try:
        with opened(path) as file:
            _check_sizes(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"it holds a {type(state).__name__}")
    except FileNotFoundError:
        raise WeightsError(f"there is no training state at {path}") from None
    except _DAMAGES as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]
        raise WeightsError(
            f"{path} is damaged: {reason}; it cannot be gone on from, start anew"
        ) from None
    return state


_DAMAGES = (
    *(OSError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError),
    *(ValueError, TypeError, LookupError, AttributeError, AssertionError, OverflowError),
)
"""What PyTorch raises where a byte of a state is another one."""


def _check_sizes(file: BinaryIO) -> None:
    """Refuse a state whose parts would take more memory than the file has bytes.

    Raises:
        ValueError: they would.
    """
    with zipfile.ZipFile(file) as packed:
        parts = packed.infolist()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    packs = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if packs or sum(part.file_size for part in parts) > size:
        raise ValueError("its parts are larger than the file")
    if any(part.filename.endswith(".pkl") and part.file_size > LARGEST_INDEX for part in parts):
        raise ValueError(f"its index has more than {LARGEST_INDEX:,} bytes")
