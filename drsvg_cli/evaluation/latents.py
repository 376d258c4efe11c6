"""Are the latents of a model alive? What they cost, and what changes without them.

A latent that has collapsed onto its prior has a KL of nearly zero, and what is predicted does not
change when it is set to zero or taken from another clip.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from drsvg_cli.evaluation.disentanglement import partners
from drsvg_cli.frames import Frames
from drsvg_cli.inference.motion import MotionPredictor
from drsvg_cli.model.drsvg import DRSVG

CLIPS_AT_ONCE = 8


class LatentUse(NamedTuple):
    """How much a model uses one of its latents."""

    divergence: float
    """KL of posterior and prior, in nats a frame."""
    zeroed: float
    """Mean change of the predicted frames, in levels of 255, with zeros in its place."""
    exchanged: float
    """The same with that of another clip."""


@torch.inference_mode()
def latent_use(network: DRSVG, clips: Tensor, *, context: int) -> dict[str, LatentUse]:
    """Measure how much a network uses its latents, with teacher forcing and posterior means.

    Args:
        network: in evaluation mode.
        clips: two or more, `(N, T, C, S, S)` in [0, 1], of the network's size.
        context: observed frames; those after them are compared.

    Returns:
        `content`, where the network has one, and `pose`.
    """
    device, parts = next(network.parameters()).device, clips.split(CLIPS_AT_ONCE)
    frames = [part.transpose(0, 1).to(device) for part in parts]
    observed = [network.observe(network.encode(each).features) for each in frames]
    pairs = [*zip(frames, observed, strict=True)]
    before = [_predicted(network, some, given.drawn, context=context) for some, given in pairs]
    others, numbers = partners(len(clips)).to(device), sum(each.numel() for each in before)
    found = {}
    for index, name in enumerate(("content", "pose")[-len(network.latents) :]):
        means = torch.cat([each.posteriors[index].mean for each in observed], dim=1)
        divergences = [each.posteriors[index].kl(each.priors[index]) for each in observed]
        divergence = float(torch.cat(divergences, dim=1).mean())
        changes = []
        for replacement in (torch.zeros_like(means), means[:, others]):
            total, new = 0.0, replacement.split(CLIPS_AT_ONCE, dim=1)
            for number, (some, given) in enumerate(pairs):
                drawn = [*given.drawn[:index], new[number], *given.drawn[index + 1 :]]
                after = _predicted(network, some, drawn, context=context)
                total += float((after - before[number]).abs().sum())
            changes.append(255 * total / numbers)
        found[name] = LatentUse(divergence, *changes)
    return found


def motion_latent_use(
    predictor: MotionPredictor, clips: Sequence[Frames], *, horizon: int
) -> dict[str, LatentUse]:
    """Measure the same of a motion model, from clips `(T, H, W, 3)` of one shape, two or more."""
    inferred = [predictor.infer(clip, horizon) for clip in clips]
    changes: dict[str, list[list[float]]] = {"content": [], "pose": []}
    for clip, own, partner in zip(clips, inferred, partners(len(clips)).tolist(), strict=True):
        observed, other = clip[:-horizon], inferred[partner]
        nothing = [pose.zeros() for pose in own.poses]
        before = predictor.replay(observed, own.content, own.poses)
        for name, replaced in (
            ("content", [(own.content.zeros(), own.poses), (other.content, own.poses)]),
            ("pose", [(own.content, nothing), (own.content, other.poses)]),
        ):
            after = [predictor.replay(observed, *latents).astype(np.int16) for latents in replaced]
            changes[name].append([float(np.abs(each - before).mean()) for each in after])
    costs = np.mean([(each.content_kl, each.pose_kl) for each in inferred], axis=0).tolist()
    return {
        name: LatentUse(cost, *np.mean(each, axis=0).tolist())
        for cost, (name, each) in zip(costs, changes.items(), strict=True)
    }


def _predicted(network: DRSVG, frames: Tensor, drawn: Sequence[Tensor], *, context: int) -> Tensor:
    """Predict what follows the first `context` of frames `(T, B, ...)` with given latents."""
    encoded = network.encode(frames)
    outputs, _ = network.advance(encoded.features[:-1], [z[1:] for z in drawn])
    prepared = network.decoder.prepare(encoded.skips_at(context - 1))
    decoded: Tensor = network.decoder(outputs[context - 1 :], prepared)
    return decoded
