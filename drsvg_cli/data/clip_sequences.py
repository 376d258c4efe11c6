"""Square sequences cut from cached clips, for the paper's models.

`ClipSequences` draws training batches, `fixed_windows` cuts what a run is validated on.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from drsvg_cli.config import DataConfig, ModelConfig
from drsvg_cli.data.clip_cache import CachedClip, CacheFormat
from drsvg_cli.frames import Frames, convert_channels, fit, resize, to_tensor

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
