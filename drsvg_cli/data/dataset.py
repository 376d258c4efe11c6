"""What is asked of a source of sequences, and what it answers; the words that all of them share."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

from torch import Tensor

from drsvg_cli.config import Recipe
from drsvg_cli.data.download import cache_folder
from drsvg_cli.errors import ConfigError, DataError
from drsvg_cli.frames import Frames

HELD_SEQUENCES = 64
"""Sequences that a run is validated on."""


class Sequences(Protocol):
    """What a run learns from."""

    def batch(self, size: int, *, seed: str) -> Tensor:
        """Draw uint8 or float `(T, B, C, S, S)`; the same for the same seed."""


@dataclass(frozen=True)
class Place:
    """Where the files are, as the command line names them."""

    paths: Sequence[Path | str]
    """Clips and folders of clips, or the one folder of a data set; its cache if there is none."""
    cache: Path
    """A folder for decoded clips."""
    held: Sequence[Path | str] = ()
    """Clips to validate on."""
    share: float = 0.15
    """Share of the clips to validate on where none are named."""

    def folder(self, name: str, title: str) -> Path:
        """Return the one folder of the data set `name`, called `title` in messages.

        Raises:
            ConfigError: more is named than a folder.
            DataError: it is not there.
        """
        if self.held:
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
class Listener:
    """Who is told while files are read."""

    note: Callable[[str], object]
    """Takes a remark in passing."""
    tick: Callable[[int, int], object]
    """Takes how many files are read, and of how many."""


class Material(NamedTuple):
    """What a run learns from and what it is validated on."""

    sequences: Sequences
    held: Tensor
    """Fixed sequences, float `(N, T, C, S, S)` in [0, 1]."""
    origin: Mapping[str, str]
    """What they are made from, and in which state, by the name of each file or data set."""
    learned_words: str
    """What is learned from, as a model card says it."""
    held_words: str


PUBLISHED_SAMPLES = 100
"""How many samples published numbers are the best of."""


class Published(NamedTuple):
    """What others have published for a benchmark: the best sample, each metric its own."""

    name: str
    psnr: float
    ssim: float
    """As SRVP defines it."""


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
    """What every sequence shows, `(N,)` class indices an attribute; empty where nobody knows."""
    poses: Mapping[str, Tensor] = MappingProxyType({})
    """What it does in every frame, `(N, T)` class indices an attribute; empty likewise."""
    published: tuple[Published, ...] = ()
    """Of the longest horizon."""

    @property
    def digest(self) -> str:
        """Sum up the sequences: equal digests mean equal frames."""
        summed = hashlib.sha256()
        for clip in self.clips:
            summed.update(str(clip.shape).encode())
            summed.update(clip[..., : self.channels].tobytes())
        return summed.hexdigest()


def as_clips(frames: Tensor) -> list[Frames]:
    """Show uint8 frames `(N, T, C, S, S)` as RGB clips `(T, S, S, 3)`, without a copy."""
    return list(frames.movedim(2, -1).expand(*[-1] * 4, 3).numpy())


class Offers(Protocol):
    """What the module of a source has; `registry` says what each is for."""

    def material(self, recipe: Recipe, place: Place, listener: Listener, /) -> Material:
        """Gather what a recipe learns from."""

    def benchmark(
        self,
        recipe: Recipe,
        place: Place,
        listener: Listener,
        /,
        *,
        context: int,
        horizon: int | None,
        most: int | None,
        side: int | None,
    ) -> Benchmark:
        """Gather the sequences that models are compared on."""

    def conditions(self, recipe: Recipe, /) -> list[str]:
        """Say what the frames depend on beside their size and colour."""
