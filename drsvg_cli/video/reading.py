"""Frames of clips, sampled by their times.

Promises: no frame is decoded that is not needed, and no more than the frames asked for are kept.
"""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drsvg_cli.errors import VideoError
from drsvg_cli.video.clip import Clip, ClipInfo, Damage, Timed, shown
from drsvg_cli.video.colour import to_rgb
from drsvg_cli.video.decoding import decode, last_time_stamp, probe

logger = logging.getLogger(__name__)

# Seconds before the first frame wanted from which decoding begins, one after the other while frames
# come out damaged; in the end at the start.
_SEEK_MARGINS = (Fraction(0), Fraction(10), Fraction(60))


class _Sample(NamedTuple):
    """Hold the frames found on a grid, the time of the clip's last frame if reached, and damage."""

    frames: list[NDArray[np.uint8]]
    last: Fraction | None
    damage: str


def grid_rate(source: Fraction, rate: Fraction | None, *, exact: bool = False) -> Fraction:
    """Choose the rate at which a clip is sampled, in frames a second.

    It is `source` divided by a whole number, so that motion does not judder: the one nearest to
    `source / rate`, so that it is about `rate`. `exact` gives `rate` itself.
    """
    if rate is None or exact:
        return rate or source
    return source / max(1, round(source / rate))


def measure_length(info: ClipInfo) -> float:
    """Measure how many seconds a clip lasts, up to the end of its last frame.

    Raises:
        VideoError: The clip cannot be read.
    """
    grid = [last_time_stamp(info)]
    last = _sample(info, grid, shrink=None, to_the_end=True).last
    assert last is not None
    return float(last + 1 / info.rate)


def read_clip(
    path: Path,
    count: int,
    *,
    after: int = 0,
    at: float | None = None,
    info: ClipInfo | None = None,
    rate: Fraction | None = None,
    exact_rate: bool = False,
    shrink: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> Clip:
    """Read `count` frames up to and including the moment `at`, and `after` frames beyond it.

    `at` is in seconds from the first frame; None reads the end of the clip. Frames are sampled by
    time stamp on the grid of `grid_rate`. Where the clip begins too late for `count` frames, fewer
    come back, but at least the one at `at`. Frames are RGB, upright, with square pixels; `shrink`
    is applied to each as it is read, for frames too large to keep. `info` is what `probe` has said
    already, if it was asked.

    Raises:
        VideoError: The clip cannot be read, `at` lies outside it, or it ends before `after` frames.
        ValueError: `count` is not positive, or `after` is negative.
    """
    if count < 1 or after < 0:
        raise ValueError(f"count is at least 1 and after at least 0, not {count} and {after}")
    if at is not None and not 0 <= at < float("inf"):
        raise VideoError(f"a moment in a clip is 0 seconds or later, not {at:g}")
    info = info or probe(path)
    step = 1 / grid_rate(info.rate, rate, exact=exact_rate)
    if at is None:
        end = last_time_stamp(info)
    else:
        end = round(Fraction(at) * info.rate) / info.rate
        if abs(end - Fraction(at)) > step / 2:  # a mean of what varies: no frame need be there
            end = Fraction(at)
        end += after * step
    grid = _grid(info, end, step=step, count=count + after)
    sample = _sample(info, grid, shrink=shrink, to_the_end=at is None)
    tail = sample.damage if at is None else ""
    if at is None and info.duration and sample.last is not None:
        _warn_of_a_cut(info, sample.last)
    missed = sample.last != end if at is None else len(sample.frames) < len(grid)
    if missed and sample.last is not None:
        if at is not None:
            _check_reach(info, at, after=after, step=step, last=sample.last)
        grid = _grid(info, sample.last, step=step, count=count + after)
        sample = _sample(info, grid, shrink=shrink, to_the_end=False)
    if len(sample.frames) <= after:
        raise VideoError(
            f"{shown(path)} is too short: {after} frames after the context want at least "
            f"{after + 1} at {float(1 / step):.4g} a second, and it has {len(sample.frames)}"
        )
    _warn_of_damage(path, tail or sample.damage)
    return Clip(np.stack(sample.frames), 1 / step, start=max(0.0, float(grid[0])))


def read_frames(
    path: Path, *, rate: Fraction | None = None, info: ClipInfo | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Yield every frame of a clip, uint8 `(H, W, 3)`, at `grid_rate(info.rate, rate)`.

    Only one frame at a time is held. `info` is what `probe` says, with `rate` if it is left out.

    Raises:
        VideoError: The clip cannot be read.
    """
    info = info or probe(path, rate=rate)
    step = 1 / grid_rate(info.rate, rate)
    damage, told = Damage(), False
    with closing(decode(info, None, damage)) as frames:
        for picked in _nearest(frames, (index * step for index in itertools.count()), info.rate):
            told = told or _warn_of_damage(path, str(damage))
            yield to_rgb(picked.frame, info)
    if not told:
        _warn_of_damage(path, str(damage))


def _grid(info: ClipInfo, end: Fraction, *, step: Fraction, count: int) -> list[Fraction]:
    """List up to `count` moments that end at `end`, none before the clip's first frame."""
    moments = [end - index * step for index in reversed(range(count))]
    early = min(1 / info.rate, step) / 2
    return [moment for moment in moments if moment >= -early]


def _nearest(
    frames: Iterable[Timed], moments: Iterable[Fraction], rate: Fraction
) -> Iterator[Timed]:
    """Yield the frame nearest to each moment; end with the last frame's own time."""
    waiting = iter(moments)
    moment = next(waiting, None)
    previous = None
    for current in frames:
        while moment is not None and moment <= current.time:
            early = previous is not None and moment - previous.time <= current.time - moment
            yield previous if early and previous is not None else current
            moment = next(waiting, None)
        if moment is None:
            return
        previous = current
    while previous is not None and moment is not None and moment <= previous.time + 1 / (2 * rate):
        yield previous
        moment = next(waiting, None)


def _sample(
    info: ClipInfo,
    grid: list[Fraction],
    *,
    shrink: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None,
    to_the_end: bool,
) -> _Sample:
    """Decode the frames nearest to the moments of `grid`; `to_the_end` goes on to the last one.

    Where frames come out damaged after a seek, decoding begins earlier, as they may be whole.
    """
    begins = [grid[0] - margin for margin in _SEEK_MARGINS if grid[0] > margin]
    for begin in (*begins, None):
        damage = Damage()
        with closing(decode(info, begin, damage)) as decoded:
            first = next(decoded, None)
            # Some containers land behind the moment asked for, or behind the last packet, and some
            # take for a key frame what is none.
            late = first is None or first.time > grid[0] + 1 / (2 * info.rate)
            if first is None or (begin is not None and (late or not first.frame.key_frame)):
                continue
            seen = _Seen(grid[0] + 1 / (2 * info.rate))
            frames = seen.noting(itertools.chain([first], decoded))
            pictures = (to_rgb(near.frame, info) for near in _nearest(frames, grid, info.rate))
            picked = [shrink(picture) if shrink else picture for picture in pictures]
            ended = len(picked) < len(grid) or to_the_end
            if to_the_end:
                deque(frames, maxlen=0)
            # What lies before the last key frame reaches no frame that is used.
            harm = damage.between(seen.key, Fraction(10**9) if ended else seen.last)
            if begin is None or not harm:
                return _Sample(picked, seen.last if ended else None, harm or damage.cut)
    raise VideoError(f"{shown(info.path)}: no frame that can be decoded")


def _check_reach(info: ClipInfo, at: float, *, after: int, step: Fraction, last: Fraction) -> None:
    """Refuse a moment beyond the end of a clip, or one with less than `after` frames beyond it.

    The end is uncertain by half a frame, as time stamps may be rounded.
    """
    length = float(last + 1 / info.rate)
    if at > length + float(1 / info.rate) / 2:
        raise VideoError(f"{shown(info.path)} lasts {length:.3f} s: there is no frame at {at:g} s")
    if after:
        raise VideoError(
            f"{shown(info.path)} lasts {length:.3f} s: {after} frames beyond {at:g} s end at "
            f"{at + float(after * step):.3f} s; choose an earlier moment"
        )


def _warn_of_a_cut(info: ClipInfo, last: Fraction) -> None:
    """Warn of a clip that ends well before its header says so."""
    length, promised = float(last + 1 / info.rate), info.duration or 0.0
    if promised - length > max(1.0, 0.1 * promised):
        logger.warning(
            "%s ends after %.1f s, though its header says %.1f s: it may be cut short",
            shown(info.path),
            length,
            promised,
        )


def _warn_of_damage(path: Path, damage: str) -> bool:
    """Warn of damage if there is any; tell whether there is."""
    if damage:
        logger.warning("%s is damaged: %s", shown(path), damage)
    return bool(damage)


class _Seen:
    """The times of frames that pass: of the last, and of the last key frame up to a moment."""

    def __init__(self, moment: Fraction) -> None:
        """Begin before all frames."""
        self._moment = moment
        self.last = self.key = Fraction(-(10**9))

    def noting(self, frames: Iterable[Timed]) -> Iterator[Timed]:
        """Pass frames on and note their times."""
        for timed in frames:
            self.last = timed.time
            if timed.frame.key_frame and timed.time <= self._moment:
                self.key = timed.time
            yield timed
