"""Windows of clips to measure predictors on: observed frames, and those that really followed."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from drsvg_cli.errors import VideoError
from drsvg_cli.frames import Frames, resize
from drsvg_cli.video.reading import read_frames

LONGEST = 40
"""Seconds read of a clip, from its beginning."""
SHORTEST_CONTEXT = 5
"""Observed frames that every window has, if so many are asked for."""
CUT = 45.0
"""Mean difference of neighbouring frames, in levels, that is taken for a cut."""


@dataclass(frozen=True)
class WindowCutter:
    """Cuts windows from clips: up to `context` frames, and the `horizon` that follow them."""

    context: int
    horizon: int
    rate: Fraction
    """Frames a second, about: a clip is thinned to its own rate divided by a whole number."""
    shape: Callable[[Frames], Frames]
    """Brings a frame `(H, W, 3)` to the size that is measured."""
    each: int = 1
    """Windows of a clip: a single one is of its middle."""

    def cut(self, path: Path) -> list[Frames]:
        """Read a clip and cut its windows, uint8 `(T, H, W, 3)`; those with a cut are left out.

        Raises:
            VideoError: it cannot be read, is too short, or there is a cut in all of its windows.
        """
        most = round(LONGEST * self.rate)
        frames = [self.shape(frame) for frame in islice(read_frames(path, rate=self.rate), most)]
        least, last = min(self.context, SHORTEST_CONTEXT), len(frames) - self.horizon
        if last < least:
            raise VideoError(
                f"{path} has {len(frames)} frames at about {float(self.rate):g} a second; "
                f"{least + self.horizon} are needed"
            )
        begins = {min(last, max(least, len(frames) // 2))}
        if self.each > 1:
            first = min(self.context, last)
            begins = set(np.linspace(first, last, self.each).round().astype(int).tolist())
        windows = [
            np.stack(frames[max(0, begin - self.context) : begin + self.horizon])
            for begin in sorted(begins)
            if not self._has_cut(frames[max(0, begin - least) : begin + self.horizon])
        ]
        if not windows:
            raise VideoError(f"{path}: there is a cut where it would be predicted")
        return windows

    def _has_cut(self, frames: list[Frames]) -> bool:
        changes = np.abs(np.diff(np.stack(frames).astype(np.int16), axis=0)).mean((1, 2, 3))
        return bool(changes.max(initial=0) > CUT)


def shrink(frame: Frames, *, side: int) -> Frames:
    """Bring the whole of a frame to `side` pixels along its shorter side."""
    height, width = frame.shape[:2]
    scale = side / min(height, width)
    return resize(frame, width=round(width * scale), height=round(height * scale))
