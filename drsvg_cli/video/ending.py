"""Whether anything is to be seen where a clip ends, and where there is instead."""

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from drsvg_cli.video.clip import Clip, ClipInfo
from drsvg_cli.video.decoding import last_time_stamp
from drsvg_cli.video.reading import read_clip

_SIDE = 64  # pixels, in which noise is gone and things that move are not
_DARK, _BRIGHT = 32, 224  # nearly all of a black or white frame lies beyond
_STILL = 3  # levels, by which hardly a pixel changes
_RATE = Fraction(8)
_WINDOW = 8  # frames that are looked at together: a second
_CHUNK = 32  # frames that are read at a time
_FARTHEST = 60  # seconds to look back


def dullness(frames: NDArray[np.uint8]) -> str:
    """Say whether frames `(T, H, W, C)` end `black` or `white`, or are all `still`; else nothing.

    A single frame is not still.
    """
    small = np.stack([_small(frame) for frame in frames])[..., 0].astype(np.int16)
    last = small[-1]
    if np.percentile(last, 95) < _DARK:
        return "black"
    if np.percentile(last, 5) > _BRIGHT:
        return "white"
    changes = np.abs(small[:-1] - last)
    still = len(changes) and np.percentile(changes.max(axis=0), 99.5) < _STILL
    return "still" if still else ""


def better_moment(info: ClipInfo, before: float | None = None) -> float | None:
    """Find the last moment with something to see and motion in the second before it.

    Args:
        info: what `probe` says of the clip.
        before: seconds from the first frame to look back from; the clip's end by default.

    Returns:
        Seconds from the first frame; None where there is no such moment in the minute before.

    Raises:
        VideoError: The clip cannot be read.
    """
    end = float(last_time_stamp(info)) if before is None else before
    earliest = max(0.0, end - _FARTHEST)
    while end > earliest:
        clip = _read(info, end)
        for last in range(len(clip.frames), 1, -1):
            if not dullness(clip.frames[max(0, last - _WINDOW) : last]):
                # The motion may lie a second back, and what fades to black is hardly seen any more.
                return max(0.0, clip.times[last - 1] - float(_WINDOW / _RATE))
        end = clip.times[0]
        if len(clip.frames) < _CHUNK:
            break
    return None


def _read(info: ClipInfo, end: float) -> Clip:
    """Read small gray frames up to a moment."""
    return read_clip(
        info.path, _CHUNK, at=end, info=info, rate=_RATE, exact_rate=True, shrink=_small
    )


def _small(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a frame `(H, W, C)` to a small gray one `(side, side, 1)`."""
    small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return small.reshape(_SIDE, _SIDE, -1).mean(axis=2, keepdims=True).astype(np.uint8)
