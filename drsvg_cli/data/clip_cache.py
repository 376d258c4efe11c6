"""Clips decoded once into raw files, from which training cuts its sequences.

`scan` decodes, and says which clips cannot be used.
"""

import errno
import hashlib
import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from drsvg_cli.config import DataConfig, Fit, ModelConfig
from drsvg_cli.errors import ResourceError, TrainingError, VideoError
from drsvg_cli.frames import Frames, fit, resize
from drsvg_cli.storage import sha256
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import grid_rate, read_frames

SPARE = 2.0
"""The cache is this much larger than the model's frames, which leaves room for moving crops. Where
clips are padded or stretched there are none."""
RATES = 2, 3, 5, 7, 1
"""The cache keeps about so many times the model's rate, for slower and faster sequences: the first
of these that keeps every frame which a prediction would take."""
LONGEST_SIDE = 4
"""Times the shorter side; the middle is cached of frames that are longer."""
LONGEST = 3000
"""Frames cached of one clip, from its beginning."""


@dataclass(frozen=True)
class CachedClip:
    """A clip decoded into one raw file of uint8 frames `(T, H, W, 3)`."""

    path: Path
    """Where the clip itself is."""
    cache: Path
    shape: tuple[int, int, int, int]
    rate: Fraction
    begin: int = 0
    """First frame that may be used."""
    end: int = 0
    """Frame after the last one that may be used."""

    def frames(self) -> Frames:
        """Map the frames that may be used, without reading them yet.

        Raises:
            TrainingError: the file is gone or damaged.
        """
        try:
            frames = np.memmap(self.cache, np.uint8, "r", shape=self.shape)
        except (OSError, ValueError) as error:  # ValueError: the file is too short
            if isinstance(error, OSError) and error.errno == errno.ENOMEM:
                raise MemoryError from None
            raise TrainingError(
                f"the decoded frames of {self.path} are gone or damaged ({self.cache}: {error}); "
                "go on with --resume, which decodes them anew"
            ) from None
        return frames[self.begin : self.end]

    def __len__(self) -> int:
        """Count the frames that may be used."""
        return self.end - self.begin

    def stride(self, data: DataConfig, speed: float = 1.0) -> int:
        """Return how many cached frames one frame of a sequence is apart from the next."""
        return max(1, round(float(self.rate) / data.rate * speed))

    def windows(self, data: DataConfig) -> int:
        """Count the sequences that fit at the model's own rate."""
        return max(0, len(self) - (data.context + data.horizon - 1) * self.stride(data))


@dataclass(frozen=True)
class Rejected:
    """A file that cannot be used, and why."""

    path: Path
    reason: str


def scan(
    paths: Sequence[Path], cache: Path, *, model: ModelConfig, data: DataConfig
) -> Iterator[CachedClip | Rejected]:
    """Decode clips into the folder `cache`, one result a path; a clip already there is kept."""
    for path in paths:
        try:
            clip = _cached(path, cache, model, data)
        except VideoError as error:
            yield Rejected(path, str(error))
            continue
        if clip.windows(data):
            yield clip
        else:
            frames = (data.context + data.horizon - 1) * clip.stride(data) + 1
            have, needed = (count / float(clip.rate) for count in (len(clip), frames))
            yield Rejected(path, f"{path}: {have:.2f} s is too short; {needed:.2f} s are needed")


def _cached(path: Path, cache: Path, model: ModelConfig, data: DataConfig) -> CachedClip:
    """Find a clip in the cache, by what it is made from, or decode it.

    A clip is what its bytes are, not when or where they were copied to.
    """
    source = probe(path).rate
    wanted = _wanted(source, data)
    try:
        stamp, digest = _stamp(path), sha256(path)
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror or error}") from None
    origin = (digest, wanted, model.size, data.fit)
    name = hashlib.sha256(repr(origin).encode()).hexdigest()[:16]
    try:
        file = next(filter(_is_whole, cache.glob(f"{name}-*.frames")), None) or _decode(
            path, cache / name, wanted, size=model.size, how=data.fit
        )
    except OSError as error:
        raise ResourceError(f"cannot write to {cache}: {error.strerror or error}") from None
    now = _stamp(path)
    if now != stamp:
        file.unlink(missing_ok=True)
        what = "changed" if now else "vanished"
        raise VideoError(f"{path} {what} while it was read; try again when it is complete")
    length, height, width = _shape(file)
    shape = length, height, width, 3
    return CachedClip(path, file, shape, grid_rate(source, wanted), 0, length)


def _wanted(source: Fraction, data: DataConfig) -> Fraction:
    """Choose about which rate a clip is cached at: a prediction's frames are among those cached."""
    asked = Fraction(data.rate).limit_denominator(1001)
    predicted = grid_rate(source, asked)
    rates = (asked * times for times in RATES)
    return next(rate for rate in rates if (grid_rate(source, rate) / predicted).denominator == 1)


def _stamp(path: Path) -> tuple[int, ...]:
    """Tell a file from what it was a moment ago; empty where it is gone."""
    try:
        now = path.stat()
    except OSError:
        return ()
    return now.st_size, now.st_mtime_ns


def _shape(file: Path) -> tuple[int, ...]:
    """Read the shape of cached frames from the name of their file; empty where there is none."""
    match = re.fullmatch(r"\w+-(\d+)x(\d+)x(\d+)", file.stem)
    return tuple(map(int, match.groups())) if match else ()


def _is_whole(file: Path) -> bool:
    """Tell a file of the cache from what a crash of the machine may leave of one."""
    shape = _shape(file)
    return bool(shape) and file.stat().st_size == math.prod(shape) * 3


def _decode(path: Path, stem: Path, wanted: Fraction, *, size: int, how: Fit) -> Path:
    """Write a clip's frames to a file whose name, beginning with `stem`, tells their shape."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    part = stem.with_name(f"{stem.name}.{os.getpid()}.part")
    length, shape = 0, ""
    try:
        with part.open("wb") as file:
            frames = read_frames(path, rate=wanted)
            for frame in itertools.islice(frames, LONGEST):
                small = _shrink(frame, size, how)
                file.write(small.tobytes())
                length, shape = length + 1, f"{small.shape[0]}x{small.shape[1]}"
        return part.replace(stem.with_name(f"{stem.name}-{length}x{shape}.frames"))
    finally:
        part.unlink(missing_ok=True)


def _shrink(frame: Frames, size: int, how: Fit) -> Frames:
    """Bring a frame to its size in the cache: whole, with room to spare, where it is cropped."""
    if how != "crop":
        return fit(frame, size, how=how)
    spare = round(size * SPARE)
    height, width = frame.shape[:2]
    most = LONGEST_SIDE * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    frame = frame[top : height - top, left : width - left]
    height, width = frame.shape[:2]
    scale = spare / min(height, width)
    return resize(
        frame, width=max(spare, round(width * scale)), height=max(spare, round(height * scale))
    )
