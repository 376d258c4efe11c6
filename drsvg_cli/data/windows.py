"""Sequences cut from clips: squares to train the paper's models on, fixed windows to measure on."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from drsvg_cli.config import DataConfig, ModelConfig
from drsvg_cli.data.clip_cache import CachedClip, CacheFormat
from drsvg_cli.errors import VideoError
from drsvg_cli.frames import Frames, convert_channels, fit, resize, resize_whole, to_tensor
from drsvg_cli.video.reading import read_frames

LONGEST = 40
"""Seconds read of a clip, from its beginning, for an evaluation."""
SHORTEST_CONTEXT = 5
"""Observed frames that every window has, if so many are asked for."""
CUT = 45.0
"""Mean absolute difference of neighbouring frames, in levels, that is taken for a camera cut."""
ALIKE, DETAIL = 0.25, 64.0
"""Correlation of the detail of frames of one scene, at least, and how much detail tells a scene: a
level at each of 64 × 64 places."""


class Windows(NamedTuple):
    """Sequences of whole frames."""

    frames: list[Frames]
    """uint8 `(T, H, W, 3)` each, of its own size."""
    groups: list[str]
    """The clip that each is cut from."""


def windows(clips: Sequence[CachedClip], *, context: int, horizon: int, short_side: int) -> Windows:
    """Cut one window from the middle of every clip in which there is no camera cut.

    Args:
        clips: cached as whole frames, each long enough.
        context: observed frames.
        horizon: frames that follow them.
        short_side: of a window's frames, in pixels; both sides are multiples of 8.
    """
    found = Windows([], [])
    for clip in clips:
        for window in cut_windows(clip.frames(), context=context, horizon=horizon):
            small = [resize_whole(frame, short_side, multiple=8) for frame in window]
            found.frames.append(np.stack(small))
            found.groups.append(str(clip.path))
    return found


def read_windows(
    path: Path,
    *,
    context: int,
    horizon: int,
    rate: Fraction,
    resized: Callable[[Frames], Frames],
    each: int,
) -> list[Frames]:
    """Read a clip and cut windows from it, uint8 `(T, H, W, 3)`.

    Args:
        path: the clip; it is read at its own rate divided by a whole number.
        context: observed frames.
        horizon: frames that follow them.
        rate: frames a second, about.
        resized: brings a frame `(H, W, 3)` to the size of the windows.
        each: how many to cut.

    Raises:
        VideoError: it cannot be read, is too short, or there is a cut in every window.
    """
    read = islice(read_frames(path, rate=rate), round(LONGEST * rate))
    frames = np.stack([resized(frame) for frame in read])
    needed = min(context, SHORTEST_CONTEXT) + horizon
    if len(frames) < needed:
        raise VideoError(
            f"{path} has {len(frames)} frames at about {float(rate):g} a second; "
            f"{needed} are needed"
        )
    found = cut_windows(frames, context=context, horizon=horizon, each=each)
    if not found:
        raise VideoError(f"{path}: there is a camera cut where it would be predicted")
    return found


def cut_windows(frames: Frames, *, context: int, horizon: int, each: int = 1) -> list[Frames]:
    """Cut windows from frames: up to `context` of them, and the `horizon` that follow.

    A single one is cut from the middle, more at even distances. Windows with a camera cut in them
    are left out.
    """
    least, last = min(context, SHORTEST_CONTEXT), len(frames) - horizon
    if last < least:
        return []
    starts = [min(last, max(least, len(frames) // 2))]  # of the frames that follow
    if each > 1:
        starts = np.unique(np.linspace(min(context, last), last, each).round().astype(int)).tolist()
    return [
        frames[max(0, start - context) : start + horizon]
        for start in starts
        if not has_cut(frames[max(0, start - least) : start + horizon])
    ]


def is_cut(before: Frames, after: Frames) -> bool:
    """Tell whether two neighbouring frames `(H, W, 3)` show different scenes.

    Either all has changed at once, or what is left after the lighting, the detail, has nothing to
    do with that before. A change in a part of the frame is no cut.
    """
    if has_cut(np.stack([before, after])):
        return True
    details = []
    for frame in (before, after):
        gray = cv2.resize(frame.mean(2, dtype=np.float32), (64, 64), interpolation=cv2.INTER_AREA)
        details.append((gray - cv2.blur(gray, (9, 9))).ravel())
    lengths = [float(np.linalg.norm(detail)) for detail in details]
    return bool(min(lengths) > DETAIL and details[0] @ details[1] < ALIKE * lengths[0] * lengths[1])


def has_cut(frames: Frames) -> bool:
    """Tell whether there is a camera cut in frames `(T, H, W, 3)`."""
    changes = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean((1, 2, 3))
    return bool(changes.max(initial=0) > CUT)


Item = TypeVar("Item")


def square_format(model: ModelConfig, data: DataConfig) -> CacheFormat:
    """Return how clips are cached for a model of squares: larger where they are cropped."""
    side = 2 * model.size if data.fit == "crop" else model.size
    return CacheFormat(data.frame_rate, side, data.fit, data.context + data.horizon)


@dataclass(frozen=True)
class ClipSequences:
    """Training batches; a batch depends on its seed alone.

    Frames are cropped at random places and scales where `data.fit` is `crop`, and mirrored.
    """

    clips: Sequence[CachedClip]
    model: ModelConfig
    data: DataConfig

    def batch(self, size: int, *, seed: str) -> Tensor:
        """Draw `size` sequences: uint8 `(T, B, C, S, S)`, neighbours of different clips."""
        rng, length = random.Random(seed), self.data.context + self.data.horizon
        weights = [clip.windows(length) ** 0.75 for clip in self.clips]
        chosen = interleave(rng.choices(range(len(self.clips)), weights, k=size))
        drawn = [self._sequence(self.clips[index], length, rng) for index in chosen]
        batch = torch.from_numpy(np.stack(drawn, axis=1)).movedim(-1, -3)
        return convert_channels(batch, self.model.channels).contiguous()

    def _sequence(self, clip: CachedClip, length: int, rng: random.Random) -> Frames:
        """Cut a sequence `(T, S, S, 3)`."""
        size, frames = self.model.size, clip.frames()
        start = rng.randrange(len(frames) - length + 1)
        window = frames[start : start + length]
        if self.data.fit == "crop":
            height, width = window.shape[1:3]
            side = rng.randint(min(size, height, width), min(height, width))
            top, left = rng.randint(0, height - side), rng.randint(0, width - side)
            window = window[:, top : top + side, left : left + side]
        sequence = np.stack([resize(frame, width=size, height=size) for frame in window])
        return sequence[:, :, ::-1] if rng.random() < 0.5 else sequence


def interleave(chosen: list[int]) -> list[int]:
    """Order items so that neighbours differ (Eq. 5), where none makes up more than half of them."""
    ordered = sorted(chosen, key=lambda item: (-chosen.count(item), item))
    half = (len(ordered) + 1) // 2
    mixed = ordered[:]
    mixed[::2], mixed[1::2] = ordered[:half], ordered[half:]
    return mixed


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Choose up to `most` items at even distances, from the first one on."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


def fixed_windows(
    clips: Sequence[CachedClip], *, model: ModelConfig, data: DataConfig, most: int
) -> Tensor:
    """Cut up to `most` sequences, the same number from every clip: float `(N, T, C, S, S)`.

    Of more clips than that some are chosen, spread over all. Frames are fitted as a prediction
    would fit them.
    """
    each, length = max(1, most // len(clips)), data.context + data.horizon
    cut = []
    for clip in spread(clips, most):
        frames = clip.frames()
        for start in spread(range(len(frames) - length + 1), each):
            window = [fit(frame, model.size, how=data.fit) for frame in frames[start:][:length]]
            cut.append(to_tensor(np.stack(window), channels=model.channels))
    return torch.stack(cut)
