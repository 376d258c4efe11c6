"""Rollouts: samples with latents from the priors, reconstructions and swaps from the posteriors.

Each frame is predicted from the one before it. Where its latents come from is all that tells a
prediction from a swap.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from drsvg_cli.inference.batching import Moment, in_batches
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.lstm import LSTMState
from drsvg_cli.model.noise import SeededNoise

READ_AT_ONCE = 32
"""Given frames encoded in one call."""

LatentSource = Callable[[int, Tensor], list[Tensor]]
"""Takes the number of a frame, from 0 for the first one that is generated, and the features
`(B, F)` of the frame before it; returns the frame's latents, each `(B, Z)`."""


class Rollout(NamedTuple):
    """Generated frames: clips, samples, time."""

    frames: Tensor
    """`(N, S, T, C, size, size)` in [0, 1]."""


def predict(
    model: DRSVG,
    context: Tensor,
    horizon: int,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
) -> Rollout:
    """Draw samples of the future of N clips, one a seed for each clip (Eq. 9).

    The context is encoded once a clip and read with the posteriors' means. A sample depends on
    its clip and its seed alone, up to rounding, and a longer horizon continues a shorter one.

    Args:
        model: in evaluation mode.
        context: observed frames `(N, T, C, S, S)` in [0, 1].
        horizon: frames to predict.
        seeds: one a sample.
        temperature: scales the deviation of the priors; 0 predicts with their means.
    """
    moments = stream(model, context, horizon, seeds=seeds, temperature=temperature)
    return _collected(moments, context, samples=len(seeds), length=horizon)


@torch.inference_mode()
def stream(
    model: DRSVG,
    context: Tensor,
    horizon: int,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
) -> Iterator[Moment]:
    """Draw the samples of `predict`, and give each frame away as soon as it is there.

    Memory depends neither on the horizon nor on the number of samples. Where it is used up, a batch
    of samples is begun anew; its frames come again.
    """
    _check_mode(model)
    clips = len(context)
    features = _read(model, context)
    observed = model.observe(features)
    prepared = _prepared(model, context[:, -1])

    def generate(samples: range) -> Iterator[Moment]:
        noise = SeededNoise([seeds[sample] for sample in samples], copies=clips)
        states = [_tiled(state, len(samples)) for state in observed.latent_states]

        def latents(_time: int, newest: Tensor) -> list[Tensor]:
            drawn = []
            for number, latent in enumerate(model.latents):
                prior, states[number] = latent.imagine(newest, states[number])
                drawn.append(prior.sample(noise, temperature=temperature))
            return drawn

        state = _tiled(observed.predictor_state, len(samples))
        return _generated(model, features[-1], prepared, latents, horizon, samples, state)

    yield from in_batches(generate, range(len(seeds)), clips=clips)


def swap(
    model: DRSVG,
    content: Tensor,
    pose: Tensor,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
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
        content_latents=content_latents,
    )
    return _collected(moments, content, samples=len(seeds), length=content.shape[1] - 1)


@torch.inference_mode()
def stream_swap(
    model: DRSVG,
    content: Tensor,
    pose: Tensor,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    content_latents: Tensor | None = None,
) -> Iterator[Moment]:
    """Make the swaps of `swap`, and give each frame away as soon as it is there, as `stream`."""
    _check_mode(model)
    if content.shape != pose.shape:
        raise ValueError(f"content {tuple(content.shape)} and pose {tuple(pose.shape)} differ")
    clips, length = content.shape[0], content.shape[1] - 1
    if length < 1:
        raise ValueError("a swap needs two frames: it begins after the first one")
    others = _read(model, content if content_latents is None else content_latents)
    givers = [others] * (len(model.latents) - 1) + [_read(model, pose)]
    posteriors = [
        latent.observe(giver).posterior for latent, giver in zip(model.latents, givers, strict=True)
    ]
    first, prepared = _read(model, content[:, :1])[0], _prepared(model, content[:, 0])

    def generate(samples: range) -> Iterator[Moment]:
        noise = SeededNoise([seeds[sample] for sample in samples], copies=clips)

        def latents(time: int, _newest: Tensor) -> list[Tensor]:
            return [
                posterior.at(time + 1).tile(len(samples)).sample(noise, temperature=temperature)
                for posterior in posteriors
            ]

        return _generated(model, first, prepared, latents, length, samples, None)

    yield from in_batches(generate, range(len(seeds)), clips=clips)


@torch.inference_mode()
def _generated(
    model: DRSVG,
    first: Tensor,
    prepared: tuple[Tensor, ...],
    latents: LatentSource,
    length: int,
    samples: range,
    state: LSTMState | None,
) -> Iterator[Moment]:
    """Generate frames one from the other, for a batch: entry `k N + n` is sample `k` of clip `n`.

    Args:
        model: in evaluation mode.
        first: features of the frame that all samples go on from, `(N, F)`.
        prepared: what the decoder makes of the skip maps of that frame.
        latents: gives those of each frame.
        length: frames to generate.
        samples: which samples the batch is of.
        state: of the predictor, for the whole batch.
    """
    newest = first.repeat(len(samples), 1)
    for time in range(length):
        drawn = [z[None] for z in latents(time, newest)]
        outputs, state = model.advance(newest[None], drawn, state)
        frames = model.decoder(outputs[0].unflatten(0, (len(samples), -1)), prepared)
        yield Moment(samples, time, frames.transpose(0, 1))
        newest = model.encode(frames).features.flatten(0, 1)


def _read(model: DRSVG, clips: Tensor) -> Tensor:
    """Encode clips `(N, T, C, S, S)`; return their features `(T, N, F)`."""
    parts = clips.transpose(0, 1).split(READ_AT_ONCE)
    return torch.cat([model.encode(part).features for part in parts])


def _prepared(model: DRSVG, frame: Tensor) -> tuple[Tensor, ...]:
    """Compute what the decoder makes of the skip maps of a frame a clip, `(N, C, S, S)`."""
    return model.decoder.prepare(model.encode(frame[None]).skips_at(0))


def _tiled(state: LSTMState | None, times: int) -> LSTMState | None:
    return None if state is None else state.tile(times)


def _check_mode(model: DRSVG) -> None:
    if model.training:
        raise ValueError("a rollout needs model.eval(): a clip must not depend on its companions")


def _collected(moments: Iterator[Moment], like: Tensor, *, samples: int, length: int) -> Rollout:
    """Put moments where they belong; clips and sizes are those of `like`."""
    frames = like.new_empty(len(like), samples, length, *like.shape[2:])
    for moment in moments:
        frames[:, moment.samples.start : moment.samples.stop, moment.time] = moment.frames
    return Rollout(frames)
