"""Crops of whole clips with their measured optical flow, for the `general` model."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from drsvg_cli.data.clip_cache import CachedClip, CacheFormat
from drsvg_cli.data.clips import ClipSplit, gather
from drsvg_cli.data.dataset import DataPaths, Progress
from drsvg_cli.data.synthetic_motion import move_camera, paste_cutout
from drsvg_cli.data.windows import has_cut
from drsvg_cli.frames import Frames, resize
from drsvg_cli.optical_flow import Flow, measure_evidence, measure_steps, one_thread

CACHED_SIDE = 144
"""Pixels along the shorter side of cached frames."""
NOMINAL_SIDE = 128
"""The shorter side at which crops show frames, before they are zoomed."""
ZOOM = 0.75, 1.3
MOST_EQUAL = 40
"""Clips of a source beyond which it is not drawn from more often."""
REVERSED, DOUBLE_SPEED, MIRRORED, JITTERED, SYNTHETIC = 0.25, 0.12, 0.5, 0.5, 0.15
"""Shares of the sequences."""
ATTEMPTS = 8
"""Windows looked at for one without a camera cut."""


class MotionBatch(NamedTuple):
    """Sequences of T observed and K following frames."""

    frames: Tensor
    """`(T + K, B, 3, S, S)` in [0, 1]."""
    evidence: Tensor
    """Flows from the last observed frame to each of the four before it, `(4, B, 2, S, S)`, (x, y)
    in pixels a frame."""
    steps: Tensor
    """Flows from every frame to the one before it, `(T + K, B, 2, S / 2, S / 2)`, in pixels of
    that size; zero for the first one."""


@dataclass(frozen=True)
class MotionClips:
    """Training batches; each depends on the seed and its index alone, so threads may share them."""

    clips: Sequence[CachedClip]
    """As `gather_motion` finds them."""
    context: int
    horizon: int
    size: int
    """Height and width of a crop, in pixels."""
    batch_size: int
    seed: int
    part: slice = field(default_factory=lambda: slice(None))
    """Which sequences of a batch are wanted."""

    def batch(self, index: int) -> MotionBatch:
        """Draw a batch, and measure how its part moves."""
        rng = random.Random(f"{self.seed}/{index}")
        drawn = [self._sequence(rng) for _ in range(self.batch_size)][self.part]
        with one_thread():
            evidence = [measure_evidence(frames[: self.context]) for frames in drawn]
            steps = [measure_steps(frames) for frames in drawn]
        return MotionBatch(_stacked(drawn).float() / 255, _stacked(evidence), _stacked(steps))

    @cached_property
    def _sources(self) -> list[list[CachedClip]]:
        """Group clips by source, in the order of each source's first clip."""
        sources: dict[str, list[CachedClip]] = {}
        for clip in self.clips:
            sources.setdefault(clip.source, []).append(clip)
        return list(sources.values())

    def _choose(self, rng: random.Random) -> CachedClip:
        weights = [min(len(clips), MOST_EQUAL) ** 0.5 for clips in self._sources]
        return rng.choice(rng.choices(self._sources, weights)[0])

    def _sequence(self, rng: random.Random) -> Frames:
        """Draw a sequence `(T + K, S, S, 3)`."""
        if rng.random() >= SYNTHETIC:
            frames = self._crop(rng)
        elif rng.random() < 0.5:
            frames = move_camera(self._still(rng), self.context + self.horizon, self.size, rng)
        else:
            frames = paste_cutout(self._crop(rng), self._still(rng), rng)
        if rng.random() < MIRRORED:
            frames = frames[:, :, ::-1]
        if rng.random() < JITTERED:
            gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-15, 15)
            levels = (np.arange(256) * gain + offset).round().clip(0, 255).astype(np.uint8)
            frames = levels[frames]
        return np.ascontiguousarray(frames)

    def _still(self, rng: random.Random) -> Frames:
        frames = self._choose(rng).frames()
        return np.asarray(frames[rng.randrange(len(frames))])

    def _crop(self, rng: random.Random) -> Frames:
        """Crop a random square from a window of a clip, forwards or backwards."""
        window = self._window(rng)
        shorter = min(window.shape[1:3])
        nominal = self.size * CACHED_SIDE / NOMINAL_SIDE
        side = min(shorter, round(nominal / rng.uniform(*ZOOM)))
        top, left = (rng.randint(0, extent - side) for extent in window.shape[1:3])
        window = window[:, top : top + side, left : left + side]
        if rng.random() < REVERSED:
            window = window[::-1]
        return np.stack([resize(frame, width=self.size, height=self.size) for frame in window])

    def _window(self, rng: random.Random) -> Frames:
        """Find whole frames `(T + K, H, W, 3)` without a camera cut, unless cuts are everywhere."""
        length = self.context + self.horizon
        for _ in range(ATTEMPTS):
            frames = self._choose(rng).frames()
            stride = 2 if len(frames) >= 2 * length and rng.random() < DOUBLE_SPEED else 1
            reach = (length - 1) * stride + 1
            start = rng.randrange(len(frames) - reach + 1)
            window = frames[start : start + reach : stride]
            if not has_cut(window[:, ::8, ::8]):
                break
        return window


def _stacked(sequences: Sequence[Frames] | Sequence[Flow]) -> Tensor:
    """Stack B arrays `(T, H, W, C)` to `(T, B, C, H, W)`."""
    return torch.from_numpy(np.stack(sequences, axis=1)).movedim(-1, -3).contiguous()


def gather_motion(
    paths: DataPaths, progress: Progress, *, rate: float, length: int, seed: int
) -> ClipSplit:
    """Decode clips as whole frames, and keep some apart for validation.

    Args:
        paths: where the clips are.
        progress: is told of the progress.
        rate: frames a second, about.
        length: frames of a sequence, T + K.
        seed: chooses the clips for validation where none are named.

    Raises:
        DrsvgError: there are no clips, or none is left to train on.
    """
    return gather(paths, progress, cached=CacheFormat(rate, CACHED_SIDE, "crop", length), seed=seed)
