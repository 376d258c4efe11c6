"""A clip in memory, what is known of one in a file, and what is said where a file is no good."""

import errno
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from drsvg_cli.errors import ResourceError, VideoError


@dataclass(frozen=True)
class Clip:
    """Hold frames that follow each other at a constant rate.

    `frames` is uint8 `(T, H, W, C)` with one or three channels, `rate` is in frames a second and
    `start` is the time of the first frame in its source, in seconds.

    Raises:
        ValueError: The frames have another shape or type, or the rate is not positive.
    """

    frames: NDArray[np.uint8]
    rate: Fraction
    start: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is not a clip."""
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            raise ValueError(f"frames are uint8 (T, H, W, 1 or 3), not {self.frames.dtype} {shape}")
        if 0 in shape:
            raise ValueError(f"a clip has at least one frame and one pixel, not {shape}")
        if self.rate <= 0:
            raise ValueError(f"a rate is positive, not {self.rate}")

    @property
    def times(self) -> list[float]:
        """Give the time of every frame in the source, in seconds."""
        return [self.start + float(index / self.rate) for index in range(len(self.frames))]


@dataclass(frozen=True)
class ClipInfo:
    """Describe a video file: its size as displayed, its average rate, its length if known.

    `duration` and `start`, the time stamp of the first frame, are in seconds. `duration` and
    `frames` are what the header says of the pictures, which may be untrue, and None where it says
    nothing. `pictures` are the files of a sequence, each of which is a frame.
    """

    path: Path
    codec: str
    width: int
    height: int
    rate: Fraction
    duration: float | None
    frames: int | None
    start: Fraction
    pictures: tuple[Path, ...] = ()


class Timed(NamedTuple):
    """Pair a frame with its time in seconds."""

    time: Fraction
    frame: av.VideoFrame


class Damage:
    """What went wrong while frames were decoded, and when; the latest, as there may be much.

    `cut` says why no more can be read, where that is not the clip's end.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.cut = ""
        self._notes: deque[tuple[Fraction | None, str]] = deque(maxlen=1000)

    def note(self, reason: str, time: Fraction | None = None) -> None:
        """Remember damage, and the time of the frame that it hit if known."""
        self._notes.append((time, reason))

    def between(self, begin: Fraction, end: Fraction) -> str:
        """Say what went wrong first in a part of the clip or at an unknown time; empty if nothing.

        Times are as noted, in seconds of the container.
        """
        hit = (what for time, what in self._notes if time is None or begin <= time <= end)
        return next(hit, "")

    def __str__(self) -> str:
        """Say why the clip ended, or else what went wrong first."""
        return self.cut or (self._notes[0][1] if self._notes else "")


def shown(path: Path) -> str:
    """Give a name on one line."""
    return str(path) if str(path).isprintable() else repr(str(path))


@contextmanager
def explained(path: Path, verb: str) -> Iterator[None]:
    """Turn what FFmpeg and the system report into one sentence for the user."""
    try:
        yield
    except (av.FFmpegError, OSError, UnicodeError) as error:
        code = getattr(error, "errno", None)
        reason = getattr(error, "strerror", None) or str(error)
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(f"{shown(path)} cannot be {verb}: the disk is full") from error
        # An encoder is given nothing it could refuse: it fails where it gets no memory.
        starved = code == errno.ENOMEM or isinstance(error, av.error.ExternalError)
        if starved and verb == "written":
            raise ResourceError(f"{shown(path)} cannot be {verb}: memory is used up") from error
        if code == errno.ENOMEM:
            # A size in a damaged header, mostly: the clip is at fault, not the machine.
            message = f"{shown(path)} cannot be read: it asks for more memory than there is"
            raise VideoError(message) from error
        if isinstance(error, FileNotFoundError | NotADirectoryError) and verb == "written":
            parent = shown(path.parent)
            raise VideoError(f"{shown(path)} cannot be written: no folder {parent}") from error
        if verb == "read" and not isinstance(error, PermissionError):
            message = f"{shown(path)} is not a video that can be decoded ({reason})"
            raise VideoError(message) from error
        raise VideoError(f"{shown(path)} cannot be {verb} ({reason})") from error
