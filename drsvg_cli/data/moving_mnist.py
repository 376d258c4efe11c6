"""Moving MNIST: two handwritten digits that bounce inside a square, drawn on the fly.

`read_digits` reads the idx files of MNIST, `part` keeps the digits of training, validation and
test apart, `MovingDigits` draws. There are two data sets, each as its authors' code has it:

- `moving-mnist`, stochastic walls: SM-MNIST of SVG's code. Digits of 32 pixels at whole-number
  speeds; at a wall both axes get a fresh random speed; where digits overlap they are added.
- `moving-mnist-deterministic`, deterministic walls: Srivastava et al. Digits of 28 pixels at one
  speed; a wall reflects; where digits overlap the brighter pixel shows.
"""

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drsvg_cli.config import ModelConfig, Recipe
from drsvg_cli.data.dataset import (
    ArrayRandom,
    Benchmark,
    BenchmarkOptions,
    DataPaths,
    Drawn,
    DrawnSequences,
    Progress,
    TrainingData,
    drawn_benchmark,
    validation_part,
)
from drsvg_cli.errors import DataError
from drsvg_cli.frames import fit_batch

Part = Literal["training", "validation", "test"]
Walls = Literal["stochastic", "deterministic"]
Bytes = NDArray[np.uint8]

SIZE = 64
"""Height and width of a frame as it is drawn, in pixels."""
HELD = 5000
"""The last training digits, kept for validation: neither learned from nor tested on."""
FASTEST = 4
"""Pixels a frame, along each axis (stochastic walls)."""
STEP = 3.6
"""Pixels a frame, in any direction (deterministic walls): a tenth of the way that is free."""
PAIRS = tuple(combinations_with_replacement(range(10), 2))
"""What a frame may show: two digits, the smaller one first."""
_LARGEST_FILE = 2**26


class Digits(NamedTuple):
    """Handwritten digits: images `(N, 28, 28)` and what they are, `(N,)`."""

    images: Bytes
    labels: Bytes


def read_digits(folder: Path, name: Literal["train", "t10k"]) -> Digits:
    """Read the images and labels of one half of MNIST, packed by gzip or not.

    Raises:
        DataError: a file is missing or damaged, or the two do not belong together.
    """
    images = _read_idx(folder, f"{name}-images-idx3-ubyte", (None, 28, 28))
    labels = _read_idx(folder, f"{name}-labels-idx1-ubyte", (None,))
    if len(images) != len(labels):
        raise DataError(f"{folder}: {len(images)} images of {name} but {len(labels)} labels")
    if not len(images) or labels.max() > 9:
        raise DataError(f"{folder}: the labels of {name} are not those of digits")
    return Digits(images, labels)


def _read_idx(folder: Path, name: str, shape: tuple[int | None, ...]) -> Bytes:
    """Read an idx file of bytes: a magic number, the lengths of its dimensions, its values."""
    path = _find(folder, name)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_LARGEST_FILE)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cannot be read: {error}") from None
    header = 4 * (1 + len(shape))
    if len(data) < header or data[:4] != bytes([0, 0, 8, len(shape)]):
        raise DataError(f"{path} is damaged: it is no idx file of {len(shape)} dimension(s)")
    lengths = np.frombuffer(data, ">u4", len(shape), offset=4).tolist()
    if any(want not in (None, have) for want, have in zip(shape, lengths, strict=True)):
        raise DataError(f"{path} has images of {lengths[1:]} pixels, not 28×28")
    if len(data) - header != math.prod(lengths):
        raise DataError(
            f"{path} is damaged: it should hold {math.prod(lengths)} values and holds "
            f"{len(data) - header}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(lengths)


def _find(folder: Path, name: str) -> Path:
    """Find a file under the names that it is passed around with."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (folder / f"{spelling}.gz", folder / spelling):
            if path.is_file():
                return path
    raise DataError(
        f"{folder} has no {name}, packed as .gz or not; fetch MNIST with drsvg data mnist, or "
        "name a folder that holds its four files with --data"
    )


def part(folder: Path, which: Part) -> Digits:
    """Return the digits that one part of the work may see; no digit is in two parts.

    Raises:
        DataError: MNIST is not in `folder`, or is damaged.
    """
    if which == "test":
        return read_digits(folder, "t10k")
    images, labels = read_digits(folder, "train")
    held = min(HELD, len(images) // 2)
    chosen = slice(-held, None) if which == "validation" else slice(0, -held)
    return Digits(images[chosen], labels[chosen])


@dataclass(frozen=True)
class MovingDigits(DrawnSequences):
    """Sequences of two moving digits."""

    digits: Digits
    model: ModelConfig
    length: int
    """Frames of a sequence."""
    walls: Walls

    def draw(self, size: int, *, seed: str) -> Drawn:
        """Draw `size` sequences, and which of PAIRS each shows: `digits`."""
        rng = ArrayRandom(seed)
        chosen = rng.integers(0, len(self.digits.labels) - 1, size, 2)
        images, labels = self.digits.images[chosen], np.sort(self.digits.labels[chosen])
        if self.walls == "stochastic":
            corners, side = _wander(size, self.length, rng), 32
        else:
            corners, side = _reflect(size, self.length, rng), 28
        first, second = np.moveaxis(_placed(_enlarged(images, side), corners), 2, 0)
        if self.walls == "stochastic":
            frames = first + np.minimum(second, 255 - first)
        else:
            frames = np.maximum(first, second)
        pairs = [PAIRS.index((int(low), int(high))) for low, high in labels]
        drawn = torch.from_numpy(frames)[:, :, None]
        drawn = fit_batch(drawn, self.model.size, channels=self.model.channels)
        return Drawn(drawn, {"digits": torch.tensor(pairs)})


def _wander(size: int, length: int, rng: ArrayRandom) -> NDArray[np.int64]:
    """Return top left corners `(T, B, 2 digits, 2 axes)` with stochastic walls."""
    far = SIZE - 32 - 1
    corner = rng.integers(0, far, size, 2, 2)
    speed = rng.integers(-FASTEST, FASTEST, size, 2, 2)
    corners = np.empty((length, *corner.shape), np.int64)
    for time in range(length):
        for axis in (0, 1):
            low, high = corner[..., axis] < 0, corner[..., axis] > far
            away = rng.integers(1, FASTEST, size, 2)
            along = rng.integers(-FASTEST, FASTEST, size, 2)
            ahead, across = speed[..., axis], speed[..., 1 - axis]
            speed[..., axis] = np.where(low, away, np.where(high, -away, ahead))
            speed[..., 1 - axis] = np.where(low | high, along, across)
        corners[time] = corner = corner.clip(0, far)
        corner = corner + speed
    return corners


def _reflect(size: int, length: int, rng: ArrayRandom) -> NDArray[np.int64]:
    """Return top left corners `(T, B, 2 digits, 2 axes)` with deterministic walls."""
    far = SIZE - 28
    corner = rng.uniform(size, 2, 2) * far
    angle = rng.uniform(size, 2) * 2 * np.pi
    speed = STEP * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    corners = np.empty((length, *corner.shape), np.int64)
    for time in range(length):
        corner = corner + speed
        speed = np.where((corner <= 0) | (corner >= far), -speed, speed)
        corner = corner.clip(0, far)
        corners[time] = corner.astype(np.int64)
    return corners


def _enlarged(images: Bytes, side: int) -> Bytes:
    """Resize digits `(B, 2, 28, 28)`."""
    if side == images.shape[-1]:
        return images
    flat = [cv2.resize(image, (side, side)) for image in images.reshape(-1, 28, 28)]
    return np.stack(flat).astype(np.uint8, copy=False).reshape(*images.shape[:2], side, side)


def _placed(images: Bytes, corners: NDArray[np.int64]) -> Bytes:
    """Put each digit into a frame of its own: `(T, B, 2, SIZE, SIZE)`.

    A frame is a window on the digit with a margin around it, so no digit is copied in a loop.
    """
    room = SIZE - images.shape[-1]
    margin = ((0, 0), (0, 0), (room, room), (room, room))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(images, margin), (SIZE, SIZE), axis=(2, 3)
    )
    sequence, digit = np.ogrid[: images.shape[0], : images.shape[1]]
    top, left = np.moveaxis(room - corners, -1, 0)
    return windows[sequence, digit, top, left]


def training_data(recipe: Recipe, paths: DataPaths, _: Progress) -> TrainingData:
    """Draw from the training digits; validate on fixed sequences of those that are held back."""
    folder, data = _folder(paths), recipe.data
    train, validation = (
        MovingDigits(part(folder, which), recipe.drsvg, data.context + data.horizon, _walls(recipe))
        for which in ("training", "validation")
    )
    fixed = validation_part(validation)
    images = train.digits.images
    return TrainingData(
        train,
        fixed,
        fingerprint={"Moving MNIST": hashlib.sha256(images.tobytes()).hexdigest()},
        train_description=f"Moving MNIST ({_walls(recipe)} walls, {len(images):,} digits)",
        validation_description=f"{len(fixed)} sequences of {len(validation.digits.images):,} "
        "digits that were kept apart",
    )


def benchmark(
    recipe: Recipe, paths: DataPaths, _: Progress, options: BenchmarkOptions
) -> Benchmark:
    """Draw the fixed test set of unseen digits.

    The paper shows 25 predicted frames (Fig. 3), SVG's and SRVP's tables average over 20.
    """
    digits = part(_folder(paths), "test")
    longest = options.horizon or 25
    moving = MovingDigits(digits, recipe.drsvg, options.context + longest, _walls(recipe))
    horizons = sorted({number for number in (10, 20) if number < longest} | {longest})
    words = f"Moving MNIST's test digits, {_walls(recipe)} walls"
    return drawn_benchmark(moving, words, tuple(horizons), options)


def _walls(recipe: Recipe) -> Walls:
    return "deterministic" if recipe.data.source.endswith("deterministic") else "stochastic"


def _folder(paths: DataPaths) -> Path:
    return paths.folder("mnist", "Moving MNIST")
