"""Sprites: characters put together from sheets of the Liberated Pixel Cup, drawn on the fly.

Content is who: a body with bottomwear, topwear, hair and shoes, one sheet each. Pose is what and
whereto: an action, a direction and how far it has got. Gestures are the eight frames of Li & Mandt
2018. There, a sequence is a single gesture. Here it passes to another one at random moments: pose
must not tell sequences apart (Section 3.2), or the adversary would drive it out.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
Indices = NDArray[np.int64]

GARMENTS = ("body", "bottomwear", "topwear", "hair", "shoes")
"""In the order in which they are put on. Eyes, a few pixels that not every frame shows, are those
of the body."""
DIRECTIONS = ("left", "front", "right")
ACTIONS = ("stand", "walk", "spellcast", "slash")
"""What a frame may show; standing, with which the last two begin, looks the same in both."""
ROWS, COLUMNS, SIZE = 21, 13, 64
"""A sheet's cells, and the pixels of each."""
FIRST_CELLS = {"walk": (117, 130, 143), "spellcast": (13, 26, 39), "slash": (169, 182, 195)}
"""Of a gesture in every direction, counted along the rows of a sheet."""
CYCLES = {
    "walk": (8, 1, 2, 3, 4, 5, 6, 7),
    "spellcast": (0, 1, 2, 3, 4, 5, 4, 6),
    "slash": (0, 1, 2, 3, 4, 5, 4, 0),
}
"""The cells of a gesture, from its first one on, in the order of Li & Mandt's data."""
PHASES = 8
GESTURES = len(CYCLES) * len(DIRECTIONS)
"""An action in a direction, counted direction by direction."""
CHANGE = 1 / 6
"""Chance of another gesture in every frame."""
PARTS = {"training": (0, 0.75), "validation": (0.75, 0.8), "test": (0.8, 1)}
"""Shares of the characters. Every garment is in all parts; no combination is in two."""
LEFT_OUT = "topwear/6.png"
"""A tunic down to the feet: often no more than two pixels tell which bottomwear is below it."""


class Layer(NamedTuple):
    """A garment's sheets, cut into the cells that gestures use."""

    colours: Tensor
    """uint8 `(K, cells, 3, SIZE, SIZE)`, 0 where what is below shows."""
    clear: Tensor
    """uint8 `(K, cells, 1, SIZE, SIZE)`: 255 where what is below shows, 0 where it is hidden.
    There is nothing between: few pixels are half transparent, and bits are quick to put together.
    """


@cache
def _cells() -> tuple[Indices, Indices]:
    """Return the cells of a sheet that are used, and which of them `(gestures, phases)` show."""
    firsts = np.array([FIRST_CELLS[action] for action in CYCLES])[..., None]
    used = firsts + np.array([*CYCLES.values()])[:, None]
    cells, shown = np.unique(used, return_inverse=True)
    return cells, shown.reshape(GESTURES, PHASES)


def read_sheets(folder: Path) -> dict[str, Layer]:
    """Read the sheets of every garment that are used, in the order of their numbers.

    Raises:
        DataError: a garment is missing, or a sheet is damaged or of another size.
    """
    layers = {}
    for garment in GARMENTS:
        found = {*(folder / garment).glob("*.png")} - {folder / LEFT_OUT}
        paths = sorted(found, key=lambda path: (len(path.stem), path))
        if not paths:
            raise DataError(
                f"{folder} has no sheets {garment}/0.png, {garment}/1.png …; fetch them with drsvg "
                "data sprites, or name a folder that holds them with --data"
            )
        layers[garment] = _layer(np.stack([_read_sheet(path) for path in paths]))
    return layers


def _read_sheet(path: Path) -> NDArray[np.uint8]:
    """Read a sheet `(ROWS SIZE, COLUMNS SIZE, 4)`, blue first."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    sheet = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    wanted = (ROWS * SIZE, COLUMNS * SIZE, 4)
    if sheet is None or sheet.shape != wanted or sheet.dtype != np.uint8:
        raise DataError(
            f"{path} is damaged or is no sheet of {wanted[1]}×{wanted[0]} pixels with transparency"
        )
    return sheet.astype(np.uint8, copy=False)


def _layer(sheets: NDArray[np.uint8]) -> Layer:
    """Cut sheets `(K, ROWS SIZE, COLUMNS SIZE, 4)`, blue first, into the cells that are used."""
    cut = sheets.reshape(-1, ROWS, SIZE, COLUMNS, SIZE, 4).transpose(0, 1, 3, 5, 2, 4)
    cut = cut.reshape(-1, ROWS * COLUMNS, 4, SIZE, SIZE)[:, _cells()[0]]
    clear = np.where(cut[:, :, 3:] < 128, np.uint8(255), np.uint8(0))
    return Layer(torch.from_numpy(cut[:, :, 2::-1] & ~clear), torch.from_numpy(clear))


def characters(counts: tuple[int, ...], which: Part) -> Indices:
    """Return the characters of one part of the work: `(N, garments)`, a sheet of each garment."""
    order = np.argsort(ArrayRandom("characters").uniform(math.prod(counts)), kind="stable")
    begin, end = (round(share * len(order)) for share in PARTS[which])
    return np.stack(np.unravel_index(order[begin:end], counts), axis=1)


@dataclass(frozen=True)
class MovingSprites(DrawnSequences):
    """Sequences of characters in motion."""

    layers: Mapping[str, Layer]
    which: Part
    model: ModelConfig
    length: int
    """Frames of a sequence."""

    def __post_init__(self) -> None:
        """Make sure that somebody may appear.

        Raises:
            DataError: the sheets are too few to share their characters out.
        """
        if not len(self.characters):
            raise DataError(
                f"the sheets make {math.prod(self.counts)} characters, and none of them falls to "
                f"the {self.which} part; add sheets: 20 characters are always enough"
            )

    @property
    def counts(self) -> tuple[int, ...]:
        """Count the sheets of each garment."""
        return tuple(len(layer.colours) for layer in self.layers.values())

    @cached_property
    def characters(self) -> Indices:
        """Who may appear."""
        return characters(self.counts, self.which)

    def draw(self, size: int, *, seed: str) -> Drawn:
        """Draw `size` sequences, and what they show.

        The labels are the sheet of each garment, the poses an index of `ACTIONS`, of `DIRECTIONS`
        and the phase of the gesture.
        """
        rng = ArrayRandom(seed)
        who = self.characters[rng.integers(0, len(self.characters) - 1, size)]
        gesture, phase = _perform(size, self.length, rng)
        cells = torch.from_numpy(_cells()[1][gesture, phase])
        drawn = torch.zeros(self.length, size, 3, SIZE, SIZE, dtype=torch.uint8)
        for layer, sheet in zip(self.layers.values(), torch.from_numpy(who).T, strict=True):
            drawn = layer.colours[sheet, cells] | (drawn & layer.clear[sheet, cells])
        action, direction = np.divmod(gesture, len(DIRECTIONS))
        first = np.array(list(CYCLES.values()))[action, phase] == 0
        poses = {"action": np.where(first, 0, 1 + action), "direction": direction, "phase": phase}
        return Drawn(
            fit_batch(drawn, self.model.size, channels=self.model.channels),
            dict(zip(GARMENTS, torch.from_numpy(who).T.contiguous(), strict=True)),
            {name: torch.from_numpy(values) for name, values in poses.items()},
        )


def _perform(size: int, length: int, rng: ArrayRandom) -> tuple[Indices, Indices]:
    """Choose a gesture and a phase of it for every frame, `(T, B)` each."""
    gesture = rng.integers(0, GESTURES - 1, size)
    phase = rng.integers(0, PHASES - 1, size)
    performed = []
    for _ in range(length):
        performed.append((gesture, phase))
        phase = (phase + 1) % PHASES
        changes = rng.uniform(size) < CHANGE
        other = (gesture + rng.integers(1, GESTURES - 1, size)) % GESTURES
        gesture, phase = np.where(changes, other, gesture), np.where(changes, 0, phase)
    chosen, phases = zip(*performed, strict=True)
    return np.stack(chosen), np.stack(phases)


def training_data(recipe: Recipe, paths: DataPaths, _: Progress) -> TrainingData:
    """Draw from the training characters; validate on fixed sequences of others."""
    layers, data = read_sheets(_folder(paths)), recipe.data
    length = data.context + data.horizon
    train, validation = (
        MovingSprites(layers, which, recipe.drsvg, length) for which in ("training", "validation")
    )
    fixed = validation_part(validation)
    summed = hashlib.sha256()
    for part in (each for layer in layers.values() for each in layer):
        summed.update(part.numpy().tobytes())
    return TrainingData(
        train,
        fixed,
        fingerprint={"Sprites": summed.hexdigest()},
        train_description=f"Sprites ({len(train.characters):,} characters)",
        validation_description=f"{len(fixed)} sequences of {len(validation.characters):,} "
        "characters that were kept apart",
    )


def benchmark(
    recipe: Recipe, paths: DataPaths, _: Progress, options: BenchmarkOptions
) -> Benchmark:
    """Draw the fixed test set.

    Its characters are in no training sequence; each of their garments is in many.
    """
    longest = options.horizon or recipe.data.horizon
    layers = read_sheets(_folder(paths))
    moving = MovingSprites(layers, "test", recipe.drsvg, options.context + longest)
    return drawn_benchmark(moving, "Sprites' test characters", (longest,), options)


def _folder(paths: DataPaths) -> Path:
    return paths.folder("sprites", "Sprites")
