"""What every data set is asked for, and what it gives."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from drsvg_cli.config import Recipe
from drsvg_cli.data.download import cache_folder
from drsvg_cli.errors import ConfigError, DataError
from drsvg_cli.frames import Frames

VALIDATION_SEQUENCES = 64
"""Sequences that a run is validated on."""


class Sequences(Protocol):
    """Batches of square sequences to train on."""

    def batch(self, size: int, *, seed: str) -> Tensor:
        """Draw uint8 or float `(T, B, C, S, S)`; the same for the same seed."""


@dataclass(frozen=True)
class DataPaths:
    """Where the files are, as the command line names them."""

    paths: Sequence[Path | str]
    """Clips and folders of clips, or the one folder of a data set; its cache if there is none."""
    cache: Path
    """A folder for decoded clips."""
    validation: Sequence[Path | str] = ()
    """Clips to validate on."""
    validation_share: float = 0.15
    """Share of the clips to validate on where none are named."""
    picture_rate: Fraction | None = None
    """How many are a second of pictures in a folder, which is a clip."""

    def folder(self, name: str, title: str) -> Path:
        """Return the one folder of the data set `name`, called `title` in messages.

        Raises:
            ConfigError: more is named than a folder.
            DataError: it is not there.
        """
        if self.validation:
            raise ConfigError(f"{title} has a part of its own to validate on; omit --validation")
        if len(self.paths) > 1:
            raise ConfigError(f"{title} is read from one folder; give --data once")
        folder = Path(self.paths[0]) if self.paths else cache_folder(name)
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder; fetch {title} with drsvg data {name}, or name a folder "
                "that holds its files with --data"
            )
        return folder


@dataclass(frozen=True)
class Progress:
    """Who is told while files are read."""

    note: Callable[[str], object]
    """Takes a message."""
    update: Callable[[int, int], object]
    """Takes the number of files read so far, and of all."""


class TrainingData(NamedTuple):
    """What a run is trained and validated on."""

    sequences: Sequences
    validation: Tensor
    """Fixed sequences, float `(N, T, C, S, S)` in [0, 1]."""
    fingerprint: Mapping[str, str]
    """What the sequences are made from, by the name of each file or data set."""
    train_description: str
    """For a model card."""
    validation_description: str


PUBLISHED_SAMPLES = 100
"""How many samples published numbers are the best of."""


class Published(NamedTuple):
    """What others have published for a benchmark: the best sample, each metric its own."""

    name: str
    psnr: float
    ssim: float
    """As SRVP defines it."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """Which sequences models are compared on."""

    context: int
    """Observed frames."""
    horizon: int | None = None
    """Predicted frames; those of the data set's own protocol by default."""
    count: int | None = None
    """Sequences at most; those of the data set's own protocol by default."""
    side: int | None = None
    """Pixels along the shorter side of whole frames of clips; without it clips are brought to the
    squares of the recipe's model. A data set has frames of its own."""


class Benchmark(NamedTuple):
    """Fixed sequences that models are compared on."""

    clips: Sequence[Frames]
    """uint8 RGB `(T, H, W, 3)`, each of its own shape: observed frames and those to predict."""
    groups: Sequence[str]
    """The source clip of each: sequences of one are not independent."""
    words: str
    horizons: tuple[int, ...]
    """Numbers of predicted frames that results are quoted for; the last one is all of them."""
    channels: int = 3
    """1 where the frames are gray: three equal channels."""
    labels: Mapping[str, Tensor] = MappingProxyType({})
    """What every sequence shows, `(N,)` class indices an attribute; empty where it is unknown."""
    poses: Mapping[str, Tensor] = MappingProxyType({})
    """What it does in every frame, `(N, T)` class indices an attribute; empty likewise."""
    published: tuple[Published, ...] = ()
    """Of the longest horizon."""

    @property
    def digest(self) -> str:
        """Sum up the sequences: equal digests mean equal frames."""
        digest = hashlib.sha256()
        for clip in self.clips:
            digest.update(str(clip.shape).encode())
            digest.update(clip[..., : self.channels].tobytes())
        return digest.hexdigest()


def as_clips(frames: Tensor) -> list[Frames]:
    """Turn uint8 frames `(N, T, C, S, S)` into RGB clips `(T, S, S, 3)`, without a copy."""
    return list(frames.movedim(2, -1).expand(*[-1] * 4, 3).numpy())


TEST_SEQUENCES = 500
"""Of a data set that is drawn."""


class Drawn(NamedTuple):
    """Sequences of a data set that is drawn, and what they show."""

    frames: Tensor
    """uint8 `(T, B, C, S, S)`."""
    labels: Mapping[str, Tensor]
    """What every sequence shows, `(B,)` class indices an attribute."""
    poses: Mapping[str, Tensor] = MappingProxyType({})
    """What it does in every frame, `(T, B)` class indices an attribute."""


class DrawnSequences(Sequences, Protocol):
    """Sequences that are drawn on the fly.

    The frames of a longer sequence begin with those of a shorter one.
    """

    def draw(self, size: int, *, seed: str) -> Drawn:
        """Draw `size` sequences; the same for the same seed."""

    def batch(self, size: int, *, seed: str) -> Tensor:
        """Draw uint8 `(T, B, C, S, S)`."""
        return self.draw(size, seed=seed).frames


def validation_part(sequences: Sequences) -> Tensor:
    """Draw the fixed sequences that a run is validated on, float `(N, T, C, S, S)` in [0, 1]."""
    return sequences.batch(VALIDATION_SEQUENCES, seed="validation").transpose(0, 1).float() / 255


def drawn_benchmark(
    sequences: DrawnSequences, words: str, horizons: tuple[int, ...], options: BenchmarkOptions
) -> Benchmark:
    """Draw the fixed test set: however many sequences are asked for, they are its first."""
    drawn = sequences.draw(TEST_SEQUENCES, seed="test")
    frames = drawn.frames.transpose(0, 1)[: options.count]
    return Benchmark(
        as_clips(frames),
        [*map(str, range(len(frames)))],
        f"{len(frames)} sequences of {words}",
        horizons,
        frames.shape[2],
        {name: each[: options.count] for name, each in drawn.labels.items()},
        {name: each.T[: options.count] for name, each in drawn.poses.items()},
    )


class ArrayRandom:
    """Arrays of random numbers: the same for the same seed, with every version of NumPy.

    They are made from raw bits, the one stream that NumPy promises to keep.
    """

    def __init__(self, seed: str) -> None:
        self._bits = np.random.PCG64(list(seed.encode()))

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Draw from [0, 1)."""
        draws = np.asarray(self._bits.random_raw(math.prod(shape)), np.uint64) >> np.uint64(11)
        return draws.astype(np.float64).reshape(shape) * 2.0**-53

    def integers(self, least: int, most: int, *shape: int) -> NDArray[np.int64]:
        """Draw whole numbers from `least` to `most`."""
        return least + (self.uniform(*shape) * (most + 1 - least)).astype(np.int64)


class Dataset(Protocol):
    """What the module of a data set has; `registry` says what each is for."""

    def training_data(
        self, recipe: Recipe, paths: DataPaths, progress: Progress, /
    ) -> TrainingData:
        """Gather what a model is trained on."""

    def benchmark(
        self, recipe: Recipe, paths: DataPaths, progress: Progress, options: BenchmarkOptions, /
    ) -> Benchmark:
        """Gather the sequences that models are compared on."""
