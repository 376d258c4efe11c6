"""What training minimises: Eq. 4, 5 and 6.

All terms are means over frames and sequences, so their weights do not depend on a batch's shape.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.drsvg import DRSVG, Observed
from drsvg_cli.model.noise import Noise


class LossTerms(NamedTuple):
    """The terms of the model's loss, each a scalar."""

    reconstruction: Tensor
    """The likelihood of Eq. 4, scaled: the mean squared error of a pixel in [0, 1]."""
    content_kl: Tensor
    """Nats a frame; zero for the baselines."""
    pose_kl: Tensor
    """Nats a frame."""
    adversarial: Tensor
    """Eq. 6: how sure the discriminator is, in nats."""

    def total(self, *, beta: float, adversarial: float) -> Tensor:
        """Weigh and add the terms."""
        kl = self.content_kl + self.pose_kl
        return self.reconstruction + beta * kl + adversarial * self.adversarial


def model_loss(
    model: DRSVG,
    frames: Tensor,
    *,
    context: int,
    noise: Noise,
    discriminator: PoseDiscriminator,
    order: Sequence[int] | None = None,
) -> tuple[LossTerms, Tensor]:
    """Evaluate the model's loss on a batch, with teacher forcing and no loop over time.

    Args:
        model: in training mode.
        frames: `(T, B, C, S, S)` in [0, 1].
        context: how many frames are observed; the rest is predicted, with the skip maps of the
            last observed frame. Only predicted frames are decoded, where Eq. 4 sums over all; the
            KL terms are of all frames.
        noise: gives standard normals.
        discriminator: judges the pose latents; its weights get no gradient.
        order: T indices, for every frame the one whose features and skip maps the predictor
            and the decoder get in its place; its own if left out. Latents are of the frames as
            they are.

    Returns:
        The terms, and the drawn pose latents `(T, B, Z)` without their gradient.
    """
    encoded = model.encode(frames)
    given, start = encoded.features, context - 1
    if order is not None:
        given, start = given[list(order)], order[start]
    observed = model.observe(encoded.features, noise, given=given)
    prepared = model.decoder.prepare(encoded.skips_at(start))
    predicted = model.decoder(observed.outputs[context - 1 :], prepared)
    content_kl, pose_kl = _divergences(observed)
    pose = observed.drawn[-1]
    terms = LossTerms(
        functional.mse_loss(predicted, frames[context:]),
        content_kl,
        pose_kl,
        adversarial_loss(discriminator, pose),
    )
    return terms, pose.detach()


def _divergences(observed: Observed) -> tuple[Tensor, Tensor]:
    pairs = zip(observed.posteriors, observed.priors, strict=True)
    *content, pose = [posterior.kl(prior).mean() for posterior, prior in pairs]
    return sum(content, torch.zeros_like(pose)), pose


def adversarial_loss(discriminator: PoseDiscriminator, pose: Tensor) -> Tensor:
    """Reward pose latents `(T, B, Z)` that leave the discriminator at one half (Eq. 6)."""
    discriminator.requires_grad_(False)
    with torch.autocast(pose.device.type, enabled=False):  # log 2 needs more than eight bits
        logits = discriminator(pose[:1].expand_as(pose[1:]), pose[1:])
    discriminator.requires_grad_(True)
    return -0.5 * (functional.logsigmoid(logits) + functional.logsigmoid(-logits)).mean()


def discriminator_loss(discriminator: PoseDiscriminator, pose: Tensor) -> Tensor:
    """Tell latents of one clip from those of two (Eq. 5); pose `(T, B, Z)` with B ≥ 2.

    The other clip is the neighbour in the batch, so neighbours should be of different clips.
    """
    first = pose[:1].expand_as(pose[1:])
    same = discriminator(first, pose[1:])
    other = discriminator(first, pose[1:].roll(1, dims=1))
    return -(functional.logsigmoid(same) + functional.logsigmoid(-other)).mean()
