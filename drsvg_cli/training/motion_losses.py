"""What the model of `general` is trained by.

Latents from the posteriors must tell what happened (Eq. 4: reconstruction and both KL terms), poses
must not tell whose they are (Eq. 5, 6), the most expected future must be near the truth, and
samples of the prior must be calibrated: their energy score, which is proper, is a loss as well
(Gneiting and Raftery 2007). Distances are of pixels at two scales and of LPIPS features.
"""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.data.motion_clips import MotionBatch
from drsvg_cli.motion_model.discriminator import PoseDiscriminator
from drsvg_cli.motion_model.fields import (
    EARLIER,
    enlarge_path,
    evidence,
    extend,
    features,
    fetch,
    halve,
    halve_flow,
)
from drsvg_cli.motion_model.latents import Latent
from drsvg_cli.motion_model.network import MotionNetwork, Scene, deviate

SAMPLES = 2
"""Samples of the prior, a clip and step."""
STILL_CONTEXTS = 0.2
"""Share of clips whose context is shown as a still: there the pose alone tells of motion."""
_HORIZONS = (0.3, 0.5, 1.0, 1.0)
"""Shares of the horizon that a step goes on for, as likely."""
_POSTERIOR, _EXPECTED, _FIRST = 0, 1, 2
"""Rollouts of a step: with latents of the posteriors, with the means of the priors, and samples."""

Perceptual = Callable[[Tensor], Tensor]
"""Frames `(B, 3, H, W)` in [0, 1] to points whose distances are those of LPIPS."""


class _Read(NamedTuple):
    """What is read of a batch."""

    scene: Scene
    state: Tensor
    contents: Sequence[Latent]
    poses: Sequence[Latent]
    moving: Tensor
    """`(B,)`, 0 where the context is shown as a still."""


def motion_losses(
    network: MotionNetwork,
    discriminator: PoseDiscriminator,
    batch: MotionBatch,
    *,
    context: int,
    perceptual: Perceptual,
    chance: random.Random,
) -> tuple[dict[str, Tensor], Sequence[Latent]]:
    """Return the terms of the loss, before their weights, and the poses' posteriors.

    Args:
        network: in training.
        discriminator: of poses.
        batch: sequences of which the first `context` frames are observed.
        context: T, at least five.
        perceptual: gives points of frames.
        chance: of the step.
    """
    truth = batch.frames[context:]
    horizon = max(1, round(chance.choice(_HORIZONS) * len(truth)))
    read = _read(network, batch, context)
    clips, count = truth.shape[1], 2 + SAMPLES
    content = read.contents[-1]
    drawn = [content.sample(), content.sample(temperature=0)]
    drawn += [content.sample() for _ in range(SAMPLES)]
    contents, state, path = torch.cat(drawn), read.state.repeat(count, 1, 1, 1), None
    last = batch.frames[context - 1].repeat(count, 1, 1, 1)
    judged = _judged_frames(horizon, chance)
    looked_at = chance.choice(judged)
    sums: dict[str, Tensor] = {}
    pose_kl = truth.new_zeros(clips)

    def add(name: str, values: Tensor, share: float, *, of: Tensor | None = None) -> None:
        mean = values.mean() if of is None else (values * of).sum() / of.sum().clamp(min=1)
        sums[name] = sums.get(name, values.new_zeros(())) + share * mean

    for time in range(horizon):
        prior, posterior = network.expect(state), read.poses[context + time]
        pose_kl = pose_kl + posterior.kl(prior.part(slice(clips)))
        pose = torch.cat(
            [
                posterior.sample(),
                prior.part(slice(clips, 2 * clips)).sample(temperature=0),
                prior.part(slice(2 * clips, None)).sample(),
            ]
        )
        state = network.advance(state, pose, contents)
        controls = network.controls(state, pose, read.scene)
        flow = deviate(controls, read.scene.flow, read.scene.others, scale=1.0).flatten(0, 1)
        add("flow", _flow_error(flow[:clips], batch, context + time), 1 / horizon)
        path = extend(path, flow)
        if time not in judged:
            continue
        frames = fetch(last, enlarge_path(path, last.shape[-2:])).unflatten(0, (count, clips))
        share = 1 / len(judged)
        add("reconstruction", _log_error(frames[_POSTERIOR], truth[time]), share)
        add("expected", _log_error(frames[_EXPECTED], truth[time]), share, of=read.moving)
        energy = _energy([frames[_FIRST + n] for n in range(SAMPLES)], truth[time], _far_in_pixels)
        add("energy_pixels", energy, share, of=read.moving)
        if time == looked_at:
            some = slice(0, max(1, clips // 2))
            points = perceptual(torch.cat([truth[time, some], *frames[1:, some]]))
            true, expected, *samples = points.chunk(2 + SAMPLES)
            moving = read.moving[some]
            add("expected_looks", _far(expected, true), 1.0, of=moving)
            add("energy_looks", _energy(samples, true, _far), 1.0, of=moving)
    sums["pose_kl"] = pose_kl.mean() / horizon
    sums["content_kl"] = _content_kl(read.contents)
    sums["adversarial"] = _confusion(discriminator, read.poses, chance)
    return sums, read.poses


def discriminator_loss(
    discriminator: PoseDiscriminator, poses: Sequence[Latent], chance: random.Random
) -> Tensor:
    """Return the discriminator's cross-entropy on pairs of one clip and of two (Eq. 5)."""
    first, second = _pair(poses, chance)
    first, second = first.detach(), second.detach()
    same, other = discriminator(first, second), discriminator(first, second.roll(1, 0))
    return (functional.softplus(-same) + functional.softplus(other)).mean() / 2


def _confusion(
    discriminator: PoseDiscriminator, poses: Sequence[Latent], chance: random.Random
) -> Tensor:
    """Return how far the discriminator is from knowing nothing of pairs of one clip (Eq. 6)."""
    logits = discriminator(*_pair(poses, chance))
    return (functional.softplus(-logits) + functional.softplus(logits)).mean() / 2


def _pair(poses: Sequence[Latent], chance: random.Random) -> tuple[Tensor, Tensor]:
    one, other = chance.sample(range(1, len(poses)), 2)
    return poses[one].sample(), poses[other].sample()


def _read(network: MotionNetwork, batch: MotionBatch, context: int) -> _Read:
    """Encode a batch; some of the contexts are shown as stills."""
    clips = batch.frames.shape[1]
    moving = (torch.rand(clips, device=batch.frames.device) >= STILL_CONTEXTS).float()
    small = halve(batch.frames)
    still = (moving == 0)[:, None, None, None]
    last = small[context - 1]
    observed = torch.where(still, last, small[:context])
    steps = batch.steps[:context] * moving[:, None, None, None]
    flows = halve_flow(batch.evidence) * moving[:, None, None, None]
    seen = features(observed, steps)
    # The frame before the first one to come is the last observed one, still or not.
    ahead = features(small[context - 1 :], batch.steps[context - 1 :])[1:]
    encoded = network.encode(torch.cat([seen, ahead]))
    newest = torch.stack([observed[context - 1 - n] for n in (0, *EARLIER)])
    scene, state = network.look(evidence(newest, flows), flows, encoded[context - 1])
    return _Read(scene, state, network.content(encoded[:context]), network.pose(encoded), moving)


def _judged_frames(horizon: int, chance: random.Random) -> list[int]:
    """Choose up to three frames, the last one among them."""
    third = horizon // 3
    early, late = (
        chance.randrange(third + 1),
        chance.randrange(min(third + 1, horizon - 1), horizon),
    )
    return sorted({early, late, horizon - 1})


def _log_error(frames: Tensor, truth: Tensor) -> Tensor:
    """Return half the logarithm of the mean squared error: a Gaussian of the best deviation."""
    return 0.5 * ((frames - truth).square().mean((1, 2, 3)) + 1e-4).log()


def _flow_error(flow: Tensor, batch: MotionBatch, time: int) -> Tensor:
    """Return how far flows are from those measured afterwards, where these explain the frames."""
    small = halve(batch.frames[time - 1 : time + 1])
    measured = batch.steps[time]
    wrong = (fetch(small[0], measured) - small[1]).abs().mean(1)
    return ((-8 * wrong).exp() * _root((flow - measured).square().sum(1))).mean((1, 2))


def _energy(
    samples: Sequence[Tensor], truth: Tensor, distance: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the energy score of samples, unbiased over pairs, `(B,)`."""
    away = torch.stack([distance(sample, truth) for sample in samples]).mean(0)
    pairs = [(a, b) for n, a in enumerate(samples) for b in samples[:n]]
    return away - torch.stack([distance(a, b) for a, b in pairs]).mean(0) / 2


def _far(points: Tensor, others: Tensor) -> Tensor:
    return _root((points - others).square().sum(1))


def _far_in_pixels(frames: Tensor, others: Tensor) -> Tensor:
    fine = (frames - others).square().mean((1, 2, 3))
    coarse = functional.avg_pool2d(frames - others, 4).square().mean((1, 2, 3))
    return _root(fine) + _root(coarse)


def _root(values: Tensor) -> Tensor:
    return (values + 1e-6).sqrt()


def _content_kl(contents: Sequence[Latent]) -> Tensor:
    """Return the mean KL from each content posterior to the one before (Section 3.2)."""
    total = contents[0].kl(None)
    for before, after in pairwise(contents):
        total = total + after.kl(before)
    return total.mean() / len(contents)
