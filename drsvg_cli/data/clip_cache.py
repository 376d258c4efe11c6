"""Clips decoded once into raw files, which training maps into memory.

A file holds uint8 RGB frames one after the other; its name tells their number and size.
"""

import errno
import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from drsvg_cli.config import Fit
from drsvg_cli.errors import TrainingError, VideoError
from drsvg_cli.frames import Frames, fit, resize_whole
from drsvg_cli.storage import sha256, writable
from drsvg_cli.video.clip import ClipInfo
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import grid_rate, read_frames

CACHE_LIMIT = 2**34
"""Bytes of all decoded clips together; every clip may take an equal share."""
LONGEST_SIDE = 4
"""Times the shorter side; of longer frames the middle is kept."""


@dataclass(frozen=True)
class CacheFormat:
    """How clips are decoded."""

    rate: float
    """Frames a second, about: a clip's own rate divided by a whole number."""
    side: int
    """Pixels along the shorter side of a frame."""
    fit: Fit
    """`crop` keeps whole frames, from which squares are cropped later; the others make squares."""
    length: int
    """Frames of a sequence; a shorter clip is rejected."""
    picture_rate: Fraction | None = None
    """How many are a second of pictures in a folder."""

    def apply(self, frame: Frames) -> Frames:
        """Resize one frame `(H, W, 3)`; whole frames get sides that are multiples of 8."""
        if self.fit == "crop":
            height, width = frame.shape[:2]
            most = LONGEST_SIDE * min(height, width)
            top, left = max(0, height - most) // 2, max(0, width - most) // 2
            frame = frame[top : height - top, left : width - left]
            return resize_whole(frame, self.side, multiple=8)
        return fit(frame, self.side, how=self.fit)


@dataclass(frozen=True)
class CachedClip:
    """A decoded clip, or a part of one."""

    path: Path
    """Where the clip itself is."""
    source: str
    """Where it comes from; clips of one source look alike."""
    file: Path
    """Holds the frames."""
    shape: tuple[int, int, int, int]
    """Of the frames in the file, `(T, H, W, 3)`."""
    rate: Fraction
    begin: int = 0
    """First frame of the part."""
    end: int = 0
    """Frame after its last one."""

    def frames(self) -> Frames:
        """Map the frames of the part, without reading them yet.

        Raises:
            TrainingError: the file is gone or damaged.
        """
        try:
            frames = np.memmap(self.file, np.uint8, "r", shape=self.shape)
        except (OSError, ValueError) as error:  # ValueError: the file is too short
            if isinstance(error, OSError) and error.errno == errno.ENOMEM:
                raise MemoryError from None
            raise TrainingError(
                f"the decoded frames of {self.path} are gone or damaged ({self.file}: {error}); "
                "go on with --resume, which decodes them anew"
            ) from None
        return frames[self.begin : self.end]

    def __len__(self) -> int:
        """Count the frames of the part."""
        return self.end - self.begin

    def windows(self, length: int) -> int:
        """Count the sequences of `length` frames."""
        return max(0, len(self) - length + 1)

    @property
    def seconds(self) -> float:
        """Return how long the part lasts."""
        return len(self) / float(self.rate)


def decode_clips(
    sources: Mapping[Path, str], folder: Path, *, cached: CacheFormat
) -> Iterator[CachedClip | str]:
    """Decode clips into a folder, one result a path; a clip that is there already is kept.

    Yields:
        A clip, or why a file cannot be used.

    Args:
        sources: every clip's path, and its source.
        folder: made if need be.
        cached: what the frames become.
    """
    limit = CACHE_LIMIT // max(1, len(sources))
    for path, source in sources.items():
        try:
            clip = _find_or_decode(path, source, folder, cached=cached, limit=limit)
        except VideoError as error:
            yield str(error)
            continue
        if clip.windows(cached.length):
            yield clip
        else:
            needed = cached.length / float(clip.rate)
            yield f"{path}: {clip.seconds:.2f} s is too short; {needed:.2f} s are needed"


def _find_or_decode(
    path: Path, source: str, folder: Path, *, cached: CacheFormat, limit: int
) -> CachedClip:
    """Find a clip in the cache by its content, wherever it lies, or decode it."""
    info = probe(path, rate=cached.picture_rate)
    rate = grid_rate(info.rate, Fraction(cached.rate).limit_denominator(1001))
    files = info.pictures or (path,)
    try:
        before = _stamp(files)
        digest = "".join(map(sha256, files)) + f"@{info.rate}" * bool(info.pictures)
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror or error}") from None
    key = (digest, rate, cached.side, cached.fit, limit)
    stem = folder / hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    with writable(folder):
        kept = filter(_is_whole, folder.glob(f"{stem.name}-*.frames"))
        file = next(kept, None) or _decode(info, stem, rate, cached=cached, limit=limit)
    after = _stamp(files)
    if after != before:
        file.unlink(missing_ok=True)
        what = "changed" if after else "vanished"
        raise VideoError(f"{path} {what} while it was read; try again when it is complete")
    length, height, width = _shape(file)
    return CachedClip(path, source, file, (length, height, width, 3), rate, 0, length)


def _stamp(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Return what changes when a file is written to; nothing where one is gone."""
    try:
        return [(now.st_size, now.st_mtime_ns) for now in map(Path.stat, files)]
    except OSError:
        return []


def _shape(file: Path) -> tuple[int, ...]:
    """Read the shape of cached frames from the name of their file; empty where there is none."""
    match = re.fullmatch(r"\w+-(\d+)x(\d+)x(\d+)", file.stem)
    return tuple(map(int, match.groups())) if match else ()


def _is_whole(file: Path) -> bool:
    """Tell a complete file from one that a crash of the machine cut short."""
    shape = _shape(file)
    return bool(shape) and file.stat().st_size == math.prod(shape) * 3


def _decode(info: ClipInfo, stem: Path, rate: Fraction, *, cached: CacheFormat, limit: int) -> Path:
    """Write a clip's frames, `limit` bytes at most and at least one sequence."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    part = stem.with_name(f"{stem.name}.{os.getpid()}.part")
    length, shape = 0, ""
    try:
        with part.open("wb") as file:
            for frame in read_frames(info.path, rate=rate, info=info):
                small = cached.apply(frame)
                file.write(small.tobytes())
                length, shape = length + 1, f"{small.shape[0]}x{small.shape[1]}"
                if length >= max(cached.length, limit // small.nbytes):
                    break
        return part.replace(stem.with_name(f"{stem.name}-{length}x{shape}.frames"))
    finally:
        part.unlink(missing_ok=True)
