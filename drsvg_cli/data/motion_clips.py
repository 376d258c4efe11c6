"""Crops of whole clips with their measured optical flow, for the `general` model.

A part of them shows what few clips show often: a camera that pans, zooms or turns over a still, and
cut-outs that move across in front of others, deform, and uncover what was hidden.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drsvg_cli.data.clip_cache import CachedClip, CacheFormat
from drsvg_cli.data.clips import ClipSplit, gather
from drsvg_cli.data.dataset import DataPaths, Progress
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


MAX_SPEED = 0.05
"""Sides of the frame that something may move by from one frame to the next."""
VIEW = 0.75, 1.2
"""Sides of the camera's view, in pixels of the still to one pixel of the result."""


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


Points = NDArray[np.float32]


def move_camera(still: Frames, length: int, size: int, rng: random.Random) -> Frames:
    """Film a still `(H, W, 3)` with a camera that pans, zooms and turns: `(T, S, S, 3)`."""
    height, width = still.shape[:2]
    views = []
    for _ in range(2):
        side = min(rng.uniform(*VIEW) * size, height, width)
        x, y = (rng.uniform(side / 2, extent - side / 2) for extent in (width, height))
        views.append(np.array([x, y, math.log(side), rng.gauss(0, 0.06)]))
    first, last = views
    travel = float(np.hypot(*(last - first)[:2])) / (MAX_SPEED * size * (length - 1))
    last = first + (last - first) * rng.random() / max(1, travel)
    grid = _grid(size) - (size - 1) / 2
    frames = []
    for share in _progress(length, rng):
        x, y, log_side, angle = first + share * (last - first)
        points = grid @ _rotation(angle, math.exp(log_side) / size).T + (x - 0.5, y - 0.5)
        frames.append(_remap(still, points, cv2.BORDER_REFLECT_101))
    return np.stack(frames)


def paste_cutout(sequence: Frames, picture: Frames, rng: random.Random) -> Frames:
    """Move a round piece of a picture `(H, W, 3)` across a sequence `(T, S, S, 3)`.

    It turns, grows or shrinks, and deforms to and fro.
    """
    length, size = sequence.shape[:2]
    piece = np.dstack([_texture(picture, size, rng), _outline(size, rng)])
    scale, growth = rng.uniform(0.3, 0.9), rng.gauss(0, 0.1)
    angle, turn = rng.uniform(0, 2 * math.pi), rng.choice([0.0, rng.gauss(0, 0.5)])
    start = np.array([rng.uniform(0.1, 0.9) * size for _ in range(2)])
    heading, way = rng.uniform(0, 2 * math.pi), rng.random() * MAX_SPEED * size * (length - 1)
    travel = way * np.array([math.cos(heading), math.sin(heading)])
    field = _smooth_field(size, rng) * rng.choice([0.0, 0.04 * size * rng.random()])
    period, phase = rng.uniform(8, 40), rng.uniform(0, 2 * math.pi)
    middle, grid = (size - 1) / 2, _grid(size)
    frames = []
    for time, share in enumerate(_progress(length, rng)):
        turned = _rotation(angle + share * turn, 1 / (scale * math.exp(share * growth)))
        points = (grid - start - share * travel) @ turned.T + middle
        points += math.sin(2 * math.pi * time / period + phase) * field
        moved = _remap(piece, points, cv2.BORDER_CONSTANT).astype(np.float32)
        alpha = moved[..., 3:] / 255
        frames.append((alpha * moved[..., :3] + (1 - alpha) * sequence[time]).round())
    return np.stack(frames).astype(np.uint8)


def _progress(length: int, rng: random.Random) -> NDArray[np.float64]:
    """Draw which share of its way something has gone in every frame: steadily, or with easing.

    It may stand still at first, and stop before the end.
    """
    begin = rng.choice([0.0, 0.0, rng.uniform(0, 0.7)])
    end = rng.choice([1.0, 1.0, rng.uniform(begin + 0.2, 1)])
    time = ((np.linspace(0, 1, length) - begin) / (end - begin)).clip(0, 1)
    eased = rng.choice([time, time, time * time * (3 - 2 * time), time * (2 - time)])
    return eased * (end - begin)


def _rotation(angle: float, scale: float) -> NDArray[np.float64]:
    sine, cosine = scale * math.sin(angle), scale * math.cos(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _grid(size: int) -> Points:
    """Return the place of every pixel, (x, y): `(S, S, 2)`."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def _remap(picture: Frames, points: NDArray[np.floating], border: int) -> Frames:
    """Fetch every pixel of the result from its point `(S, S, 2)`, (x, y), of a picture."""
    x, y = (np.ascontiguousarray(points[..., axis], np.float32) for axis in range(2))
    fetched = cv2.remap(np.ascontiguousarray(picture), x, y, cv2.INTER_LINEAR, borderMode=border)
    return fetched.astype(np.uint8, copy=False)


def _smooth_field(size: int, rng: random.Random) -> Points:
    """Draw a smooth field of shifts `(S, S, 2)` with a deviation of about one."""
    side = rng.randint(3, 6)
    knots = np.array([rng.gauss(0, 1) for _ in range(2 * side * side)], np.float32)
    field = cv2.resize(knots.reshape(side, side, 2), (size, size), interpolation=cv2.INTER_CUBIC)
    return field.astype(np.float32, copy=False)


def _texture(picture: Frames, size: int, rng: random.Random) -> Frames:
    """Cut a random square from a picture and resize it."""
    height, width = picture.shape[:2]
    side = round(rng.uniform(0.3, 0.9) * min(height, width))
    top, left = rng.randint(0, height - side), rng.randint(0, width - side)
    return resize(picture[top : top + side, left : left + side], width=size, height=size)


def _outline(size: int, rng: random.Random) -> Frames:
    """Draw up to three overlapping ellipses, opaque inside, `(S, S)`."""
    outline = np.zeros((size, size), np.uint8)
    for _ in range(rng.randint(1, 3)):
        center = [round(size * rng.uniform(0.4, 0.6)) for _ in range(2)]
        axes = [round(size * rng.uniform(0.12, 0.36)) for _ in range(2)]
        cv2.ellipse(outline, center, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    return outline
