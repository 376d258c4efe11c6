"""Rollouts: futures drawn from the priors, reconstructions and swaps from the posteriors."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from drsvg_cli.device import is_used_up, side_by_side
from drsvg_cli.model.drsvg import DRSVG, Scene, State
from drsvg_cli.model.noise import CorrelatedNoise, SeededNoise
from drsvg_cli.model.rendering import Reference, Travel

BATCH = 64
"""Sequences, samples times clips, rolled out together at most, if a sample of every clip is not
more."""
MOST_WORKERS = 8
"""Batches that a CPU rolls out side by side: between operations they wait for Python's lock."""
FEWEST = 4
"""Sequences that a batch is filled up to: smaller ones are summed in another order (measured), and
the last bits of a sample would depend on how many are drawn."""
LARGEST_MAPS = 2**25
"""Numbers in the widest maps of all sequences that are rolled out at the same time; of larger
models fewer fit."""
ON_ACCELERATORS = 16
"""Times as many sequences, where the device is an accelerator: it takes more to be filled."""
LARGEST_VIEWS = 2**25
"""Numbers in the views of one frame of all sequences of a batch."""
OBSERVED_AT_ONCE = 32
"""Frames of the context encoded in one call."""


class Rollout(NamedTuple):
    """Drawn futures: clips, samples, time."""

    frames: Tensor
    """`(N, S, T, C, size, size)` in [0, 1], at the model's own size."""
    views: Tensor | None
    """uint8 `(N, S, T, C, H, W)`: the same frames rendered at the size that was asked for."""


class Moment(NamedTuple):
    """One frame of some samples."""

    samples: range
    """Which samples, counted from 0."""
    time: int
    """Which predicted frame, counted from 0."""
    frames: Tensor
    """`(N, S, C, size, size)` in [0, 1], at the model's own size."""
    views: Tensor | None
    """uint8 `(N, S, C, H, W)`: rendered at the size that was asked for."""


class _Rendered(NamedTuple):
    frames: Tensor
    """`(S, N, C, size, size)`."""
    views: Tensor | None
    """uint8 `(S, N, C, H, W)`."""
    travel: Travel | None
    """What the next frame's motion adds to."""


class _Beginning(NamedTuple):
    """What the futures of all samples begin with, an entry a clip."""

    features: Tensor
    """Of the last observed frame, `(N, F)`."""
    state: State
    frame: Tensor
    """The last observed one, `(N, C, S, S)`."""
    scene: Scene
    view: Reference | None


def _render(
    model: DRSVG,
    outputs: Tensor,
    scene: Scene,
    *,
    step: int,
    since: Travel | None,
    view: Reference | None,
    shown: int,
) -> _Rendered:
    """Decode outputs `(S, N, D)`, `step` frames ahead, into frames and views.

    Views are rendered of the first `shown` samples, one after the other: it is as fast, and the
    size of a view is not multiplied.
    """
    ahead = torch.full((1,), float(step), device=outputs.device)
    maps = model.decoder(outputs.flatten(0, 1)[None], scene.prepared, ahead)
    travel = model.head.travel(maps, scene.reference, ahead, since)
    frames = model.head.compose(maps, scene.reference, ahead, travel)
    frames = frames.unflatten(0, outputs.shape[:2])
    if view is None:
        return _Rendered(frames, None, travel)
    clips = len(view.frame)
    views = []
    for sample in range(shown):
        chosen = slice(sample * clips, (sample + 1) * clips)
        moved = travel and travel._replace(times=travel.times[chosen], shift=travel.shift[chosen])
        composed = model.head.compose(maps[chosen], view, ahead, moved)
        views.append(composed.mul_(255).round_().to(torch.uint8))
    return _Rendered(frames, torch.stack(views), travel)


def predict(
    model: DRSVG,
    context: Tensor,
    horizon: int,
    *,
    seeds: Sequence[int],
    temperature: float | None = None,
    view: Tensor | None = None,
    tick: Callable[[int], object] | None = None,
) -> Rollout:
    """Draw futures of N clips, one a seed for each clip (Eq. 9).

    The context is encoded once a clip and read with the posteriors' means; a sample depends on
    its clip and its seed alone, and a longer horizon continues a shorter one.

    Args:
        model: in evaluation mode.
        context: observed frames `(N, T, C, S, S)` in [0, 1].
        horizon: frames to predict.
        seeds: one a sample.
        temperature: scales the deviation of the priors; 0 predicts with their means. The model's
            own if left out.
        view: the last observed frame of every clip, or the last two, `(N, K, C, H, W)` in [0, 1],
            at any size; the futures are rendered from them at that size as well.
        tick: called with the number of frames of each clip that have been predicted since.
    """
    shape = len(context), len(seeds), horizon
    frames = context.new_empty(*shape, *context.shape[2:])
    views = None if view is None else view.new_empty(*shape, *view.shape[2:], dtype=torch.uint8)
    for moment in stream(model, context, horizon, seeds=seeds, temperature=temperature, view=view):
        chosen = slice(moment.samples.start, moment.samples.stop)
        frames[:, chosen, moment.time] = moment.frames
        if views is not None and moment.views is not None:
            views[:, chosen, moment.time] = moment.views
        if tick is not None:
            tick(len(moment.samples))
    return Rollout(frames, views)


@torch.inference_mode()
def stream(
    model: DRSVG,
    context: Tensor,
    horizon: int,
    *,
    seeds: Sequence[int],
    temperature: float | None = None,
    view: Tensor | None = None,
) -> Iterator[Moment]:
    """Draw the futures of `predict`, and give each frame away as soon as it is there.

    Nothing is kept but the newest frames of what is being drawn, so memory depends neither on the
    horizon nor on the number of samples. Samples come in batches, on a CPU one a core side by
    side; the frames of a batch in order. Where memory is used up, a batch is begun anew
    with half as many samples; its frames come again.

    Args:
        model: in evaluation mode.
        context: as for `predict`, like all others.
        horizon: frames to predict.
        seeds: one a sample.
        temperature: scales the deviation of the priors; the model's own if left out.
        view: the last observed frames of every clip, at any size.
    """
    if model.training:
        raise ValueError("predict needs model.eval(): a clip must not depend on its companions")
    if temperature is None:
        temperature = model.config.temperature
    features, scene = _read(model, context)
    begin = _Beginning(
        features[-1],
        model.observe(features).state,
        context[:, -1],
        scene,
        None if view is None else model.refer(view),
    )
    cpu = context.device.type == "cpu"
    workers = min(torch.get_num_threads(), MOST_WORKERS) if cpu else 1
    batches = [
        _drawn(model, begin, horizon, samples, seeds=seeds, temperature=temperature)
        for samples in _shared_out(len(seeds), workers, _most(model, context, view, workers))
    ]
    yield from chain(*batches) if workers == 1 else side_by_side(batches, workers)


def _most(model: DRSVG, context: Tensor, view: Tensor | None, workers: int) -> int:
    """Return how many samples of every clip may be rolled out together by each of the workers."""
    config = model.config
    sequences = min(BATCH, LARGEST_MAPS // workers // (config.width * config.size**2))
    if context.device.type != "cpu":
        sequences *= ON_ACCELERATORS
    if view is not None:
        sequences = min(sequences, LARGEST_VIEWS // view[0, 0].numel())
    return max(1, sequences // len(context))


def _shared_out(count: int, workers: int, most: int) -> list[range]:
    """Divide samples into batches of nearly equal size, as many for each worker."""
    parts = min(count, workers * math.ceil(count / (workers * most)))
    edges = [count * part // max(1, parts) for part in range(parts + 1)]
    return [range(start, stop) for start, stop in pairwise(edges)]


def _read(model: DRSVG, context: Tensor) -> tuple[Tensor, Scene]:
    """Encode a context `(N, T, C, S, S)`: features `(T, N, F)`, and what decoding needs of it."""
    frames = context.transpose(0, 1)
    before = torch.cat([frames[:1], frames[:-1]])
    parts = []
    for part, earlier in zip(
        frames.split(OBSERVED_AT_ONCE), before.split(OBSERVED_AT_ONCE), strict=True
    ):
        encoded = model.encode(part, earlier)
        parts.append(encoded.features)
    return torch.cat(parts), model.settle(encoded, -1, frames[-1])


def _drawn(
    model: DRSVG,
    begin: _Beginning,
    horizon: int,
    samples: range,
    *,
    seeds: Sequence[int],
    temperature: float,
    fewest: int = FEWEST,
) -> Iterator[Moment]:
    """Roll out one batch; where memory is used up, one half of it after the other."""
    settings: dict[str, Any] = {"seeds": seeds, "temperature": temperature}
    try:
        yield from _rolled_out(model, begin, horizon, samples, fewest=fewest, **settings)
        return
    except (MemoryError, RuntimeError) as error:
        if max(len(samples), fewest) == 1 or not is_used_up(error):
            raise
    half = len(samples) // 2
    for part in filter(len, (samples[:half], samples[half:])):
        yield from _drawn(model, begin, horizon, part, fewest=1, **settings)


@torch.inference_mode()
def _rolled_out(
    model: DRSVG,
    begin: _Beginning,
    horizon: int,
    samples: range,
    *,
    seeds: Sequence[int],
    temperature: float,
    fewest: int,
) -> Iterator[Moment]:
    clips, wanted = len(begin.frame), len(samples)
    spare = max(0, math.ceil(fewest / clips) - wanted)
    chosen = [seeds[sample] for sample in samples]
    noise = CorrelatedNoise(
        SeededNoise([*chosen, *chosen[-1:] * spare], copies=clips),
        model.config.noise_correlation,
        period=len(model.latents),  # a draw of each in every frame
    )
    shape = wanted + spare, clips
    newest, state, travel = begin.features.repeat(shape[0], 1), begin.state.tile(shape[0]), None
    before = begin.frame.expand(shape[0], *begin.frame.shape)
    for time in range(horizon):
        outputs, state = model.imagine(newest, state, noise, temperature=temperature)
        frames, views, travel = _render(
            model,
            outputs.unflatten(0, shape),
            begin.scene,
            step=time + 1,
            since=travel,
            view=begin.view,
            shown=wanted,
        )
        seen = None if views is None else views.transpose(0, 1)
        yield Moment(samples, time, frames[:wanted].transpose(0, 1), seen)
        if time + 1 < horizon:
            newest = model.encode(frames, before, travel and travel.speed).features.flatten(0, 1)
            before = frames


@torch.inference_mode()
def swap(
    model: DRSVG,
    content: Tensor,
    pose: Tensor,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    view: Tensor | None = None,
) -> Rollout:
    """Show what is in one clip moving as another one does (Section 4.3).

    Content latents come from the posterior of `content`, pose latents from the posterior of
    `pose`, and every new frame is generated from the new frame before it, beginning with the
    first frame of `content`. With the same clip twice this is a reconstruction.

    Args:
        model: in evaluation mode.
        content: `(N, T, C, S, S)` in [0, 1].
        pose: of the same shape.
        seeds: one a sample.
        temperature: scales the deviation of the posteriors; 0 takes their means.
        view: the first frame of `content`, `(N, 1, C, H, W)` in [0, 1], at any size; the result
            is rendered from it at that size as well.

    Returns:
        T − 1 frames a sample: the first frame of `content` is not repeated.
    """
    if model.training:
        raise ValueError("swap needs model.eval(): a clip must not depend on its companions")
    if content.shape != pose.shape:
        raise ValueError(f"content {tuple(content.shape)} and pose {tuple(pose.shape)} differ")
    if content.shape[1] < 2:
        raise ValueError("a swap needs two frames: it begins after the first one")
    clips, samples = len(content), len(seeds)
    noise = SeededNoise(seeds, copies=clips)
    encoded = model.encode(content.transpose(0, 1))
    features = encoded.features
    scene = model.settle(encoded, 0, content[:, 0])
    givers = [features] * (len(model.latents) - 1)
    givers.append(model.encode(pose.transpose(0, 1)).features)
    drawn = []
    for latent, giver in zip(model.latents, givers, strict=True):
        posterior = latent.observe(giver).posterior.tile(samples)
        steps = [posterior.at(t).sample(noise, temperature=temperature) for t in range(len(giver))]
        drawn.append(torch.stack(steps))
    newest, state, travel = features[0].repeat(samples, 1), None, None
    seen = None if view is None else model.refer(view)
    before = content[:, 0].expand(samples, *content[:, 0].shape)
    made, shown = [], []
    for time in range(1, len(features)):
        outputs, state = model.advance(newest[None], [z[time : time + 1] for z in drawn], state)
        frames, views, travel = _render(
            model,
            outputs[0].unflatten(0, (samples, clips)),
            scene,
            step=time,
            since=travel,
            view=seen,
            shown=samples,
        )
        made.append(frames)
        if views is not None:
            shown.append(views)
        if time + 1 < len(features):
            newest = model.encode(frames, before, travel and travel.speed).features.flatten(0, 1)
            before = frames
    return Rollout(_clips_first(made), _clips_first(shown) if shown else None)


def _clips_first(steps: list[Tensor]) -> Tensor:
    """Turn a list over time of `(S, N, ...)` into `(N, S, T, ...)`."""
    return torch.stack(steps, dim=2).transpose(0, 1)
