"""Sequences cut from any folder of clips, and augmented on the fly.

`split` keeps whole clips apart for validation, `ClipSequences` draws training batches and `windows`
cuts the fixed ones that a run is judged by.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from drsvg_cli.config import DataConfig, ModelConfig
from drsvg_cli.data.augmentation import STRENGTHS, Strength, bend, paste
from drsvg_cli.data.clip_cache import CachedClip
from drsvg_cli.frames import Frames, convert_channels, fit, resize, to_tensor

MOST_PIECES = 3
"""Pieces of other clips that move across a sequence."""
Item = TypeVar("Item")


def split(
    clips: Sequence[CachedClip], data: DataConfig, *, share: float, seed: int
) -> tuple[list[CachedClip], list[CachedClip]]:
    """Keep a share of the clips, at least one, apart for validation.

    A single clip is cut in two where that leaves sequences on both sides; else it serves as both.
    """
    if len(clips) > 1:
        order = list(clips)
        random.Random(seed).shuffle(order)
        held = min(max(1, round(share * len(order))), len(order) - 1)
        return order[held:], order[:held]
    (clip,) = clips
    cut = clip.begin + round(len(clip) * (1 - share))
    parts = replace(clip, end=cut), replace(clip, begin=cut)
    if not all(part.windows(data) for part in parts):
        parts = clip, clip
    return [parts[0]], [parts[1]]


@dataclass(frozen=True)
class ClipSequences:
    """Training batches; a batch depends on its seed alone."""

    clips: Sequence[CachedClip]
    model: ModelConfig
    data: DataConfig
    strength: Strength | None = None
    """How much sequences are changed; what `data.augmentation` stands for if left out."""

    def batch(self, size: int, *, seed: str) -> Tensor:
        """Draw `size` sequences: uint8 `(T, B, C, S, S)`, neighbours of different clips."""
        chance = random.Random(seed)
        weights = [clip.windows(self.data) ** 0.75 for clip in self.clips]
        chosen = _apart(chance.choices(range(len(self.clips)), weights, k=size))
        sequences = np.stack([self._sequence(self.clips[i], chance) for i in chosen], axis=1)
        batch = torch.from_numpy(sequences).movedim(-1, -3)
        return convert_channels(batch, self.model.channels).contiguous()

    @property
    def _strength(self) -> Strength:
        return self.strength or STRENGTHS[self.data.augmentation]

    def _sequence(self, clip: CachedClip, chance: random.Random) -> Frames:
        """Cut `(T, S, S, 3)`: any speed, place, size and direction, sometimes a moving camera."""
        window = self._window(clip, chance)
        strength = self._strength
        if chance.random() < strength.still:
            window = np.broadcast_to(window[:1], window.shape)
        if strength.reversed > chance.random():
            window = window[::-1]
        boxes = self._boxes(window.shape, chance)
        size = self.model.size
        sequence = np.stack(
            [
                resize(frame[top : top + side, left : left + side], width=size, height=size)
                for frame, (top, left, side) in zip(window, boxes, strict=True)
            ]
        )
        if chance.random() < 0.5:
            sequence = sequence[:, :, ::-1]
        if chance.random() < strength.bent:
            sequence = bend(sequence, chance)
        for _ in range(MOST_PIECES):
            if chance.random() >= strength.pasted:
                break
            other = chance.choice(self.clips).frames()
            sequence = paste(sequence, other[chance.randrange(len(other))], chance)
        return _tint(sequence, chance, strength.tint)

    def _window(self, clip: CachedClip, chance: random.Random) -> Frames:
        """Cut a window `(T, H, W, 3)`; of two, half of the time, the one that moves more."""
        length = self.data.context + self.data.horizon
        frames = clip.frames()
        candidates = []
        for _ in range(2 if chance.random() < 0.5 else 1):
            speed = chance.uniform(*self._strength.speed)
            stride = min(clip.stride(self.data, speed), (len(frames) - 1) // (length - 1))
            start = chance.randint(0, len(frames) - 1 - (length - 1) * stride)
            candidates.append(frames[start : start + (length - 1) * stride + 1 : stride])
        return max(candidates, key=_motion)

    def _boxes(self, shape: tuple[int, ...], chance: random.Random) -> list[tuple[int, int, int]]:
        """Choose a square (top, left, side) a frame: one place, or a straight camera move."""
        length, height, width, _ = shape
        first = last = self._box(height, width, chance)
        if chance.random() < self._strength.camera:
            # The camera covers a part of the way, so that slow moves are as common as fast ones.
            far, part = self._box(height, width, chance), chance.random() ** 2
            last = tuple(a + part * (b - a) for a, b in zip(first, far, strict=True))
        steps = np.linspace(np.array(first), np.array(last), length).round().astype(int)
        return [(int(top), int(left), int(side)) for top, left, side in steps]

    def _box(self, height: int, width: int, chance: random.Random) -> tuple[float, ...]:
        longest = min(height, width)
        if self.data.fit != "crop":
            return 0, 0, longest
        side = chance.uniform(self.model.size, longest)
        return chance.uniform(0, height - side), chance.uniform(0, width - side), side


def _apart(chosen: list[int]) -> list[int]:
    """Order clips so that neighbours differ, where no clip makes up more than half of them."""
    ordered = sorted(chosen, key=lambda clip: (-chosen.count(clip), clip))
    half = (len(ordered) + 1) // 2
    mixed = ordered[:]
    mixed[::2], mixed[1::2] = ordered[:half], ordered[half:]
    return mixed


def _motion(window: Frames) -> float:
    middle = len(window) // 2
    return float(
        cv2.absdiff(np.ascontiguousarray(window[0]), np.ascontiguousarray(window[middle])).mean()
    )


def _tint(sequence: Frames, chance: random.Random, strength: float) -> Frames:
    """Change gain and gamma of the colours of a whole sequence."""
    if not strength:
        return np.ascontiguousarray(sequence)
    levels = np.linspace(0, 1, 256)
    table = np.empty((1, 256, 3), np.uint8)
    shared = chance.uniform(-strength, strength)
    for channel in range(3):
        gamma = 2 ** (shared + 0.5 * chance.uniform(-strength, strength))
        curve = levels**gamma * (1 + 0.5 * chance.uniform(-strength, strength))
        table[0, :, channel] = (curve.clip(0, 1) * 255).round()
    return np.stack([cv2.LUT(np.ascontiguousarray(frame), table) for frame in sequence])


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Choose up to `most` items at even distances, from the first one on."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


def windows(
    clips: Sequence[CachedClip], *, model: ModelConfig, data: DataConfig, most: int
) -> Tensor:
    """Cut up to `most` fixed sequences, the same number from every clip: float `(N, T, C, S, S)`.

    Of more clips than that some are chosen, spread over all. Sequences are fitted as a prediction
    would fit them, at the model's own rate.
    """
    each = max(1, most // len(clips))
    length = data.context + data.horizon
    cut = []
    for clip in spread(clips, most):
        frames, stride = clip.frames(), clip.stride(data)
        last = len(frames) - 1 - (length - 1) * stride
        for start in np.unique(np.linspace(0, last, min(each, last + 1)).round().astype(int)):
            window = frames[start : start + (length - 1) * stride + 1 : stride]
            fitted = np.stack([fit(frame, model.size, how=data.fit) for frame in window])
            cut.append(to_tensor(fitted, channels=model.channels))
    return torch.stack(cut)
