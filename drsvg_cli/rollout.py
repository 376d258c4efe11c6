"""Rollouts: futures drawn from the priors, reconstructions and swaps from the posteriors."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.noise import SeededNoise

LARGEST_BATCH = 128
"""Sequences rolled out at once; more samples are drawn in turns, so memory stays flat."""


class Rollout(NamedTuple):
    """Drawn futures."""

    frames: Tensor
    """`(N, S, T, C, H, W)` in [0, 1]: clips, samples, time."""
    seeds: tuple[int, ...]
    """One a sample."""


@torch.inference_mode()
def predict(
    model: DRSVG,
    context: Tensor,
    horizon: int,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
) -> Rollout:
    """Draw futures of N clips, one a seed for each clip (Eq. 9).

    The context is encoded once a clip and read with the posteriors' means; a sample depends on
    its clip and its seed alone, and a longer horizon continues a shorter one.

    Args:
        model: in evaluation mode.
        context: observed frames `(N, T, C, S, S)` in [0, 1].
        horizon: frames to predict.
        seeds: one a sample.
        temperature: scales the deviation of the priors; 0 predicts with their means.
    """
    if model.training:
        raise ValueError("predict needs model.eval(): a clip must not depend on its companions")
    turn = max(1, LARGEST_BATCH // len(context))
    parts = [
        _draw(model, context, horizon, seeds[start : start + turn], temperature)
        for start in range(0, len(seeds), turn)
    ]
    return Rollout(torch.cat(parts, dim=1), tuple(seeds))


def _draw(
    model: DRSVG, context: Tensor, horizon: int, seeds: Sequence[int], temperature: float
) -> Tensor:
    clips, samples = len(context), len(seeds)
    features, skips = model.encode(context.transpose(0, 1))
    prepared = model.decoder.prepare(tuple(skip[-clips:] for skip in skips))
    reference = context[:, -1]
    state = model.observe(features).state.tile(samples)
    newest = features[-1].repeat(samples, 1)
    noise = SeededNoise(seeds, copies=clips)
    frames = []
    for step in range(horizon):
        outputs, state = model.imagine(newest, state, noise, temperature=temperature)
        frames.append(model.decode(outputs.unflatten(0, (samples, clips)), prepared, reference))
        if step + 1 < horizon:
            newest = model.encode(frames[-1]).features.flatten(0, 1)
    return torch.stack(frames, dim=2).transpose(0, 1)


@torch.inference_mode()
def swap(
    model: DRSVG,
    content: Tensor,
    pose: Tensor,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
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

    Returns:
        Frames `(N, S, T, C, S, S)`, the first one the given frame.
    """
    if content.shape != pose.shape:
        raise ValueError(f"content {tuple(content.shape)} and pose {tuple(pose.shape)} differ")
    clips, samples = len(content), len(seeds)
    noise = SeededNoise(seeds, copies=clips)
    features, skips = model.encode(content.transpose(0, 1))
    prepared = model.decoder.prepare(tuple(skip[:clips] for skip in skips))
    reference = content[:, 0]
    givers = [features] * (len(model.latents) - 1)
    givers.append(model.encode(pose.transpose(0, 1)).features)
    drawn = []
    for latent, giver in zip(model.latents, givers, strict=True):
        posterior = latent.observe(giver).posterior.tile(samples)  # type: ignore[operator]
        steps = [posterior.at(t).sample(noise, temperature=temperature) for t in range(len(giver))]
        drawn.append(torch.stack(steps))
    newest, state = features[0].repeat(samples, 1), None
    frames = [reference.expand(samples, *reference.shape)]
    for time in range(1, len(features)):
        outputs, state = model.advance(newest[None], [z[time : time + 1] for z in drawn], state)
        frames.append(model.decode(outputs[0].unflatten(0, (samples, clips)), prepared, reference))
        newest = model.encode(frames[-1]).features.flatten(0, 1)
    return Rollout(torch.stack(frames, dim=2).transpose(0, 1), tuple(seeds))
