"""Frames generated one from the other, in batches of samples, side by side on the cores of a CPU.

`read` encodes what is given, `generate` goes on from it. Which latents a frame is predicted with is
the caller's business (`rollout`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from drsvg_cli.device import is_used_up, side_by_side
from drsvg_cli.model.drsvg import DRSVG, Scene
from drsvg_cli.model.heads import Reference, Travel
from drsvg_cli.model.noise import Noise, SeededNoise

BATCH = 64
"""Sequences, samples times clips, generated together at most, if a sample of every clip is not
more."""
MOST_WORKERS = 8
"""Batches that a CPU generates side by side: between operations they wait for Python's lock."""
FEWEST = 4
"""Sequences that a batch is filled up to: smaller ones are summed in another order (measured), and
the last bits of a sample would depend on how many are drawn."""
LARGEST_MAPS = 2**25
"""Numbers in the widest maps of all sequences that are generated at the same time; of larger
models fewer fit."""
ON_ACCELERATORS = 16
"""Times as many sequences, where the device is an accelerator: it takes more to be filled."""
LARGEST_VIEWS = 2**25
"""Numbers in the views of one frame of all sequences of a batch."""
READ_AT_ONCE = 32
"""Given frames encoded in one call."""

Advance = Callable[[Tensor], Tensor]
"""Takes the features `(B, F)` of the newest frame of each sequence of a batch, frame after frame;
returns the predictor's outputs `(B, D)` for the next one. Sequence `k N + n` is sample `k` of clip
`n`."""
Begin = Callable[[Noise, int], Advance]
"""Begins a batch, from the noise of its samples and how many they are."""


class Moment(NamedTuple):
    """One frame of some samples."""

    samples: range
    """Which samples, counted from 0."""
    time: int
    """Which generated frame, counted from 0."""
    frames: Tensor
    """`(N, S, C, size, size)` in [0, 1], at the model's own size."""
    views: Tensor | None
    """uint8 `(N, S, C, H, W)`: rendered at the size that was asked for."""


class Beginning(NamedTuple):
    """The given frame that all samples go on from, an entry a clip."""

    features: Tensor
    """`(N, F)`."""
    frame: Tensor
    """`(N, C, S, S)`."""
    scene: Scene
    view: Reference | None
    """What views are rendered from, if any are asked for."""


class _Rendered(NamedTuple):
    frames: Tensor
    """`(S, N, C, size, size)`."""
    views: Tensor | None
    """uint8 `(S, N, C, H, W)`."""
    travel: Travel | None
    """What the next frame's motion adds to."""


def read(
    model: DRSVG, clips: Tensor, time: int, view: Tensor | None = None
) -> tuple[Tensor, Beginning]:
    """Encode clips; return all features `(T, N, F)` and what begins with frame `time`.

    Args:
        model: in evaluation mode.
        clips: `(N, T, C, S, S)` in [0, 1].
        time: which frame the generated ones follow.
        view: that frame, or it and the one before, `(N, K, C, H, W)` in [0, 1], at any size.
    """
    frames = clips.transpose(0, 1)
    before = torch.cat([frames[:1], frames[:-1]])
    parts = []
    for first in range(0, len(frames), READ_AT_ONCE):
        chosen = slice(first, first + READ_AT_ONCE)
        encoded = model.encode(frames[chosen], before[chosen])
        parts.append(encoded.features)
        if first <= time < first + READ_AT_ONCE:
            scene = model.settle(encoded, time - first, frames[time])
    features = torch.cat(parts)
    seen = None if view is None else model.refer(view)
    return features, Beginning(features[time], frames[time], scene, seen)


def generate(
    model: DRSVG, beginning: Beginning, begin: Begin, length: int, *, seeds: Sequence[int]
) -> Iterator[Moment]:
    """Generate `length` frames of a sample a seed; give each away as soon as it is there.

    Nothing is kept but the newest frames of what is being generated, so memory depends neither on
    the length nor on the number of samples. Samples come in batches, on a CPU one a core side
    by side, if there are enough to fill them; the frames of a batch in order. Where memory is used
    up, a batch is begun anew with half as many samples; its frames come again.
    """
    clips, cpu = len(beginning.frame), beginning.frame.device.type == "cpu"
    workers = min(torch.get_num_threads(), MOST_WORKERS) if cpu else 1
    workers = max(1, min(workers, math.ceil(len(seeds) * clips / FEWEST)))
    work = _Work(model, beginning, begin, length, seeds)
    most = _most(model, beginning, workers)
    batches = [work.batch(samples) for samples in _shared_out(len(seeds), workers, most)]
    workers = min(workers, len(batches))
    yield from chain(*batches) if workers < 2 else side_by_side(batches, workers)


def _most(model: DRSVG, beginning: Beginning, workers: int) -> int:
    """Return how many samples of every clip may be generated together by each of the workers."""
    config, clips = model.config, len(beginning.frame)
    sequences = min(BATCH, LARGEST_MAPS // workers // (config.width * config.size**2))
    if beginning.frame.device.type != "cpu":
        sequences *= ON_ACCELERATORS
    if beginning.view is not None:
        sequences = min(sequences, LARGEST_VIEWS // beginning.view.frame[0].numel())
    return max(1, sequences // clips)


def _shared_out(count: int, workers: int, most: int) -> list[range]:
    """Divide samples into batches of nearly equal size, as many for each worker."""
    parts = min(count, workers * math.ceil(count / (workers * most)))
    edges = [count * part // max(1, parts) for part in range(parts + 1)]
    return [range(start, stop) for start, stop in pairwise(edges)]


class _Work(NamedTuple):
    """What all batches of samples have in common."""

    model: DRSVG
    beginning: Beginning
    begin: Begin
    length: int
    seeds: Sequence[int]

    def batch(self, samples: range, fewest: int = FEWEST) -> Iterator[Moment]:
        """Generate one batch; where memory is used up, one half of it after the other."""
        try:
            yield from self._together(samples, fewest)
            return
        except (MemoryError, RuntimeError) as error:
            if max(len(samples), fewest) == 1 or not is_used_up(error):
                raise
        half = len(samples) // 2
        for part in filter(len, (samples[:half], samples[half:])):
            yield from self.batch(part, fewest=1)

    @torch.inference_mode()
    def _together(self, samples: range, fewest: int) -> Iterator[Moment]:
        """Generate one batch, filled up to `fewest` sequences."""
        first = self.beginning.frame
        clips, wanted = len(first), len(samples)
        drawn = wanted + max(0, math.ceil(fewest / clips) - wanted)
        chosen = [self.seeds[sample] for sample in samples]
        chosen += chosen[-1:] * (drawn - wanted)
        advance = self.begin(SeededNoise(chosen, copies=clips), drawn)
        newest, travel = self.beginning.features.repeat(drawn, 1), None
        before = first.expand(drawn, *first.shape)
        for time in range(self.length):
            outputs = advance(newest).unflatten(0, (drawn, clips))
            frames, views, travel = self._render(outputs, step=time + 1, since=travel, shown=wanted)
            seen = None if views is None else views.transpose(0, 1)
            yield Moment(samples, time, frames[:wanted].transpose(0, 1), seen)
            if time + 1 < self.length:
                speed = None if travel is None else travel.speed
                newest = self.model.encode(frames, before, speed).features.flatten(0, 1)
                before = frames

    def _render(self, outputs: Tensor, *, step: int, since: Travel | None, shown: int) -> _Rendered:
        """Decode outputs `(S, N, D)`, `step` frames ahead, into frames and views.

        Views are rendered of the first `shown` samples, one after the other: it is as fast, and the
        size of a view is not multiplied.
        """
        head, (_, _, scene, view) = self.model.head, self.beginning
        ahead = torch.full((1,), float(step), device=outputs.device)
        maps = self.model.decoder(outputs.flatten(0, 1)[None], scene.prepared, ahead)
        travel = head.travel(maps, scene.reference, ahead, since)
        frames = head.compose(maps, scene.reference, ahead, travel)
        frames = frames.unflatten(0, outputs.shape[:2])
        if view is None:
            return _Rendered(frames, None, travel)
        clips = len(view.frame)
        views = []
        for sample in range(shown):
            chosen = slice(sample * clips, (sample + 1) * clips)
            moved = travel and travel._replace(
                times=travel.times[chosen], shift=travel.shift[chosen]
            )
            composed = head.compose(maps[chosen], view, ahead, moved)
            views.append(composed.mul_(255).round_().to(torch.uint8))
        return _Rendered(frames, torch.stack(views), travel)
