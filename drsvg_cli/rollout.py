"""Rollouts: futures drawn from the priors, reconstructions and swaps from the posteriors."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.model.drsvg import DRSVG, Scene
from drsvg_cli.model.noise import SeededNoise

LARGEST_BATCH = 128
"""Sequences rolled out at once; more samples are drawn in turns."""
LARGEST_VIEW = 2**23
"""Pixels rendered at once, about 400 MB with all that comes between."""


class Rollout(NamedTuple):
    """Drawn futures: clips, samples, time."""

    frames: Tensor
    """`(N, S, T, C, size, size)` in [0, 1], at the model's own size."""
    views: Tensor | None
    """uint8 `(N, S, T, C, H, W)`: the same frames rendered at the size that was asked for."""


def _render(
    model: DRSVG, outputs: Tensor, scene: Scene, *, step: int, view: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Decode predictor outputs `(S, N, D)` into frames `(S, N, C, ...)` and views, a time's."""
    ahead = torch.full((len(outputs),), float(step), device=outputs.device)
    maps = model.decoder(outputs, scene.prepared, ahead)
    frames = model.head.compose(maps, scene.reference, ahead).unflatten(0, outputs.shape[:2])
    if view is None:
        return frames, None
    enlarged = functional.interpolate(maps.float(), view.shape[-2:], mode="bicubic")
    views = model.head.compose(enlarged, scene.reference._replace(frame=view), ahead)
    levels = (views * 255).round().clamp(0, 255).to(torch.uint8)
    return frames, levels.unflatten(0, outputs.shape[:2])


@torch.inference_mode()
def predict(
    model: DRSVG,
    context: Tensor,
    horizon: int,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
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
        temperature: scales the deviation of the priors; 0 predicts with their means.
        view: the last observed frame of every clip, `(N, C, H, W)` in [0, 1], at any size; the
            futures are rendered from it at that size as well.
        tick: called with the number of frames of each clip that have been predicted since.
    """
    if model.training:
        raise ValueError("predict needs model.eval(): a clip must not depend on its companions")
    clips = len(context)
    pixels = 1 if view is None else view.shape[-1] * view.shape[-2]
    turn = max(1, min(LARGEST_BATCH, LARGEST_VIEW // pixels) // clips)
    features, skips = model.encode(context.transpose(0, 1))
    earlier = context[:, -2] if context.shape[1] > 1 else None
    scene = model.settle(tuple(skip[-clips:] for skip in skips), context[:, -1], earlier)
    observed = model.observe(features).state
    parts = []
    for start in range(0, len(seeds), turn):
        samples = seeds[start : start + turn]
        newest, state = features[-1].repeat(len(samples), 1), observed.tile(len(samples))
        noise = SeededNoise(samples, copies=clips)
        rendered: list[tuple[Tensor, Tensor | None]] = []
        before = context[:, -1].expand(len(samples), *context[:, -1].shape)
        for step in range(1, horizon + 1):
            if rendered:
                newest = model.encode(rendered[-1][0], before).features.flatten(0, 1)
                before = rendered[-1][0]
            outputs, state = model.imagine(newest, state, noise, temperature=temperature)
            each = outputs.unflatten(0, (len(samples), clips))
            rendered.append(_render(model, each, scene, step=step, view=view))
            if tick is not None:
                tick(len(samples))
        parts.append(_stacked(rendered))
    return _joined(parts)


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
        view: the first frame of `content`, `(N, C, H, W)` in [0, 1], at any size; the result is
            rendered from it at that size as well.

    Returns:
        T − 1 frames a sample: the first frame of `content` is not repeated.
    """
    if model.training:
        raise ValueError("swap needs model.eval(): a clip must not depend on its companions")
    if content.shape != pose.shape:
        raise ValueError(f"content {tuple(content.shape)} and pose {tuple(pose.shape)} differ")
    clips, samples = len(content), len(seeds)
    noise = SeededNoise(seeds, copies=clips)
    features, skips = model.encode(content.transpose(0, 1))
    scene = model.settle(tuple(skip[:clips] for skip in skips), content[:, 0])
    givers = [features] * (len(model.latents) - 1)
    givers.append(model.encode(pose.transpose(0, 1)).features)
    drawn = []
    for latent, giver in zip(model.latents, givers, strict=True):
        posterior = latent.observe(giver).posterior.tile(samples)
        steps = [posterior.at(t).sample(noise, temperature=temperature) for t in range(len(giver))]
        drawn.append(torch.stack(steps))
    newest, state = features[0].repeat(samples, 1), None
    rendered: list[tuple[Tensor, Tensor | None]] = []
    before = content[:, 0].expand(samples, *content[:, 0].shape)
    for time in range(1, len(features)):
        if rendered:
            newest = model.encode(rendered[-1][0], before).features.flatten(0, 1)
            before = rendered[-1][0]
        outputs, state = model.advance(newest[None], [z[time : time + 1] for z in drawn], state)
        each = outputs[0].unflatten(0, (samples, clips))
        rendered.append(_render(model, each, scene, step=time, view=view))
    return _joined([_stacked(rendered)])


def _stacked(rendered: list[tuple[Tensor, Tensor | None]]) -> Rollout:
    """Turn a list over time of `(S, N, ...)` into `(N, S, T, ...)`."""
    frames, views = zip(*rendered, strict=True)
    shown = None if views[0] is None else torch.stack(views, dim=2).transpose(0, 1)
    return Rollout(torch.stack(frames, dim=2).transpose(0, 1), shown)


def _joined(parts: list[Rollout]) -> Rollout:
    """Join rollouts of the same clips along their samples."""
    views = [part.views for part in parts if part.views is not None]
    return Rollout(
        torch.cat([part.frames for part in parts], dim=1),
        torch.cat(views, dim=1) if views else None,
    )
