"""Rollouts: futures drawn from the priors, reconstructions and swaps from the posteriors.

Both are generated a frame at a time, each from the one before it (`batching`); here is where
their latents come from.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from drsvg_cli.inference.batching import Advance, Moment, generate, read
from drsvg_cli.model.drsvg import DRSVG, State
from drsvg_cli.model.gaussian import Gaussian
from drsvg_cli.model.lstm import LSTMState
from drsvg_cli.model.noise import CorrelatedNoise, Noise


class Rollout(NamedTuple):
    """Generated frames: clips, samples, time."""

    frames: Tensor
    """`(N, S, T, C, size, size)` in [0, 1], at the model's own size."""
    views: Tensor | None
    """uint8 `(N, S, T, C, H, W)`: the same frames rendered at the size that was asked for."""


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
    moments = stream(model, context, horizon, seeds=seeds, temperature=temperature, view=view)
    return _collected(moments, context, view, samples=len(seeds), length=horizon, tick=tick)


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

    Memory depends neither on the horizon nor on the number of samples. Where it is used up, a batch
    of samples is begun anew; its frames come again (`batching.generate`).

    Args:
        model: in evaluation mode.
        context: as for `predict`, like all others.
        horizon: frames to predict.
        seeds: one a sample.
        temperature: scales the deviation of the priors; the model's own if left out.
        view: the last observed frames of every clip, at any size.
    """
    _check_mode(model)
    config = model.config
    temperature = config.temperature if temperature is None else temperature
    features, begin = read(model, context, context.shape[1] - 1, view)
    state = model.observe(features).state

    def futures(noise: Noise, samples: int) -> Advance:
        correlated = CorrelatedNoise(
            noise,
            config.noise_correlation,
            period=len(model.latents),  # a draw of each in every frame
        )
        return _Futures(model, state.tile(samples), correlated, temperature)

    yield from generate(model, begin, futures, horizon, seeds=seeds)


class _Futures:
    """What is predicted with latents from the priors (Eq. 9)."""

    def __init__(self, model: DRSVG, state: State, noise: Noise, temperature: float) -> None:
        self._model, self._noise, self._temperature = model, noise, temperature
        self._state = state

    def __call__(self, newest: Tensor) -> Tensor:
        outputs, self._state = self._model.imagine(
            newest, self._state, self._noise, temperature=self._temperature
        )
        return outputs


def swap(
    model: DRSVG,
    content: Tensor,
    pose: Tensor,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    view: Tensor | None = None,
    content_latents: Tensor | None = None,
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
        content_latents: a clip of the same shape whose posterior gives the content latents, for a
            test of what they do; `content` if left out.

    Returns:
        T − 1 frames a sample: the first frame of `content` is not repeated.
    """
    moments = stream_swap(
        model,
        content,
        pose,
        seeds=seeds,
        temperature=temperature,
        view=view,
        content_latents=content_latents,
    )
    length = content.shape[1] - 1
    return _collected(moments, content, view, samples=len(seeds), length=length)


@torch.inference_mode()
def stream_swap(
    model: DRSVG,
    content: Tensor,
    pose: Tensor,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    view: Tensor | None = None,
    content_latents: Tensor | None = None,
) -> Iterator[Moment]:
    """Make the swaps of `swap`, and give each frame away as soon as it is there, as `stream` does.

    Args:
        model: in evaluation mode.
        content: as for `swap`, like all others.
        pose: of the same shape.
        seeds: one a sample.
        temperature: scales the deviation of the posteriors.
        view: the first frame of `content`, at any size.
        content_latents: a clip that gives the content latents; `content` if left out.
    """
    _check_mode(model)
    if content.shape != pose.shape:
        raise ValueError(f"content {tuple(content.shape)} and pose {tuple(pose.shape)} differ")
    if content.shape[1] < 2:
        raise ValueError("a swap needs two frames: it begins after the first one")
    features, begin = read(model, content, 0, view)
    others = features if content_latents is None else read(model, content_latents, 0)[0]
    givers = [others] * (len(model.latents) - 1)
    givers.append(features if pose is content else read(model, pose, 0)[0])
    posteriors = [
        latent.observe(giver).posterior for latent, giver in zip(model.latents, givers, strict=True)
    ]

    def swaps(noise: Noise, samples: int) -> Advance:
        tiled = [posterior.tile(samples) for posterior in posteriors]
        return _Swaps(model, tiled, noise, temperature)

    yield from generate(model, begin, swaps, len(features) - 1, seeds=seeds)


class _Swaps:
    """What follows with latents from posteriors `(T, B, Z)`, those of the second frame first."""

    def __init__(
        self, model: DRSVG, posteriors: Sequence[Gaussian], noise: Noise, temperature: float
    ) -> None:
        self._model, self._time = model, 0
        self._state: LSTMState | None = None
        self._drawn = [
            torch.stack(
                [
                    posterior.at(time).sample(noise, temperature=temperature)
                    for time in range(len(posterior.mean))
                ]
            )
            for posterior in posteriors
        ]

    def __call__(self, newest: Tensor) -> Tensor:
        self._time += 1
        drawn = [z[self._time : self._time + 1] for z in self._drawn]
        outputs, self._state = self._model.advance(newest[None], drawn, self._state)
        return outputs[0]


def _check_mode(model: DRSVG) -> None:
    if model.training:
        raise ValueError("a rollout needs model.eval(): a clip must not depend on its companions")


def _collected(
    moments: Iterator[Moment],
    like: Tensor,
    view: Tensor | None,
    *,
    samples: int,
    length: int,
    tick: Callable[[int], object] | None = None,
) -> Rollout:
    """Put moments where they belong; clips and sizes are those of `like` and of `view`."""
    shape = len(like), samples, length
    frames = like.new_empty(*shape, *like.shape[2:])
    views = None if view is None else view.new_empty(*shape, *view.shape[2:], dtype=torch.uint8)
    for moment in moments:
        chosen = slice(moment.samples.start, moment.samples.stop)
        frames[:, chosen, moment.time] = moment.frames
        if views is not None and moment.views is not None:
            views[:, chosen, moment.time] = moment.views
        if tick is not None:
            tick(len(moment.samples))
    return Rollout(frames, views)
