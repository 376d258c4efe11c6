"""What training minimises: Eq. 4, 5 and 6, and three terms that are not in the paper.

All terms are means over frames and sequences, so their weights do not depend on a batch's shape.
"""

from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.config import Likelihood
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.drsvg import DRSVG, Encoded, Observed, Scene
from drsvg_cli.model.heads import SPEED_GAIN, Travel, WarpHead
from drsvg_cli.model.noise import Noise

TYPICAL = 5e-3
"""Squared error of a typical prediction; it brings an adaptive error to the usual scale."""
EXACT = 2e-4
"""Squared error below which an adaptive error hardly falls, 37 dB: the easiest frames would else
make its gradient noisy."""


class LossTerms(NamedTuple):
    """The terms of the model's loss, each a scalar."""

    reconstruction: Tensor
    """The likelihood of Eq. 4, scaled: mean squared error of a pixel in [0, 1], or another."""
    content_kl: Tensor
    """Nats a frame; zero for the baselines."""
    pose_kl: Tensor
    """Nats a frame."""
    confusion: Tensor
    """Eq. 6: how sure the discriminator is, in nats."""
    drawn: Tensor
    """Share of the picture that a warp head draws instead of warping; zero for other heads."""
    mismatch: Tensor
    """Mean squared distance of predicted features from those of the frames themselves."""
    astray: Tensor
    """Mean distance of a warp's speeds from the motion measured between the frames, in units of
    `heads.SPEED_GAIN`; zero for other heads."""

    def total(
        self,
        *,
        beta: float | Tensor,
        adversarial: float,
        drawing: float,
        content_kl: float = 1.0,
        matching: float = 0.0,
        motion: float = 0.0,
    ) -> Tensor:
        """Weigh and add the terms; `content_kl` is a share of `beta`."""
        kl = content_kl * self.content_kl + self.pose_kl
        extras = adversarial * self.confusion + drawing * self.drawn + matching * self.mismatch
        return self.reconstruction + beta * kl + extras + motion * self.astray


def model_loss(
    model: DRSVG,
    frames: Tensor,
    *,
    context: int,
    decoded: Tensor,
    noise: Noise,
    discriminator: PoseDiscriminator,
    likelihood: Likelihood = "gaussian",
    shown: Tensor | None = None,
    origins: Tensor | None = None,
    motion: Tensor | None = None,
    posed: Tensor | None = None,
    posed_motion: Tensor | None = None,
    start: int | None = None,
    autoencoded: bool = False,
    closed_loop: bool = False,
    prior_dropout: float = 0.0,
) -> tuple[LossTerms, Tensor]:
    """Evaluate the model's loss on a batch, with teacher forcing and no loop over time.

    Args:
        model: in training mode.
        frames: `(T, B, C, S, S)` in [0, 1].
        context: how many frames are observed; the rest is predicted, its skip maps and its
            reference taken from the last observed frame. Only predicted frames are decoded, where
            Eq. 4 sums over all; the KL terms are of all frames.
        decoded: int64 `(K,)`, rising: indices of the frames to decode, from 0 for the first
            predicted one.
        noise: gives standard normals.
        discriminator: judges the pose latents; its weights get no gradient.
        likelihood: of a pixel, see `reconstruction_error`.
        shown: `(T, B, 1)`, 1 or 0: which features the predictor gets; all of them if left out. In
            place of the others it gets zeros.
        origins: int64 `(T,)`, for every frame the one whose features the predictor gets in place of
            its own; its own if left out. Latents are of the frames as they are.
        motion: where each place was a frame earlier, `(T, B, 2, S, S)`, for a model that wants to
            know; measured if left out.
        posed: the same sequences in another view, of the shape of `frames`, from which the pose
            posterior reads; it reads `frames` if left out. It counts for batch normalisation too.
        posed_motion: as `motion`, of that view.
        start: the frame whose skip maps and reference are taken, in place of the last observed one;
            that one's origin, where there are any.
        autoencoded: decode every frame from its own features and not from what was predicted.
        closed_loop: let the pose prior read, after the context, the frames that were predicted, as
            in a rollout, and not the true ones; all of them must be decoded.
        prior_dropout: share of the features that the pose prior goes without, 0 to below 1, drawn
            for every sequence.

    Returns:
        The terms, and the drawn pose latents `(T, B, Z)` without their gradient.
    """
    encoded = _encoded(model, frames, motion)
    given, start = encoded.features, context - 1 if start is None else start
    if origins is not None:
        given = given.index_select(0, origins)
    if shown is not None:
        given = given * shown.to(given.dtype)
    other = None if posed is None else _encoded(model, posed, posed_motion).features
    observed = model.observe(encoded.features, noise, given=given, posed=other)
    scene = model.settle(encoded, start, frames[start])
    own = encoded.features[1:, :, : model.config.feature_dim]
    outputs = (own if autoencoded else observed.outputs)[context - 1 :].index_select(0, decoded)
    ahead = decoded + 1.0
    maps = model.decoder(outputs, scene.prepared, ahead)
    travel = model.head.travel(maps, scene.reference, ahead)
    predicted = model.head.compose(maps, scene.reference, ahead, travel)
    predicted = predicted.unflatten(0, outputs.shape[:2])
    reconstruction = reconstruction_error(
        predicted, frames[context:].index_select(0, decoded), likelihood=likelihood
    )
    seen = encoded.features
    if closed_loop:
        seen = torch.cat([seen[:context], _read_again(model, predicted, scene, travel)])
    if closed_loop or prior_dropout:
        prior, _ = model.latents.pose.expect(_dropped(seen, prior_dropout, noise))
        observed = observed._replace(priors=(*observed.priors[:-1], prior))
    content_kl, pose_kl = _divergences(observed)
    pose = observed.drawn[-1]
    terms = LossTerms(
        reconstruction,
        content_kl,
        pose_kl,
        confusion(discriminator, pose),
        model.head.drawn(maps, ahead),
        (observed.outputs - own.detach()).square().mean(),
        _astray(model, travel, encoded, start, decoded),
    )
    return terms, pose.detach()


def _encoded(model: DRSVG, frames: Tensor, motion: Tensor | None) -> Encoded:
    return model.encode(frames, motion=None if motion is None else motion.flatten(0, 1))


@torch.no_grad()
def _read_again(model: DRSVG, predicted: Tensor, scene: Scene, travel: Travel | None) -> Tensor:
    """Encode predicted frames `(K, B, C, S, S)` as a rollout would: features `(K, B, F)`."""
    before = torch.cat([scene.reference.frame[None], predicted[:-1]])
    model.encoder.eval()  # as a rollout would; nor may they count for the statistics of frames
    features = model.encode(predicted, before, travel and travel.speed).features
    model.encoder.train()
    return features


def _dropped(features: Tensor, share: float, noise: Noise) -> Tensor:
    """Zero a share of the features `(T, B, F)`, the same ones in all frames of a sequence."""
    if not share:
        return features
    kept = noise(features[:1]) > NormalDist().inv_cdf(share)
    return features * kept / (1 - share)


def _astray(
    model: DRSVG, travel: Travel | None, encoded: Encoded, start: int, decoded: Tensor
) -> Tensor:
    """Compare the speeds that a warp was told with the motion measured after the reference."""
    if travel is None or encoded.motion is None:
        return encoded.features.new_zeros(())
    assert isinstance(model.head, WarpHead)
    measured = encoded.motion.unflatten(0, encoded.features.shape[:2])[start + 1 :]
    aim, known = (each.index_select(0, decoded) for each in model.head.aim(measured))
    astray = travel.told.unflatten(0, aim.shape[:2]) - aim
    return (astray.abs() * known).mean() / SPEED_GAIN


def reconstruction_error(predicted: Tensor, truth: Tensor, *, likelihood: Likelihood) -> Tensor:
    """Return the mean error of a pixel, the first term of Eq. 4 up to a factor.

    `gaussian` is the paper's squared error, `laplace` the absolute one. `adaptive` is a Gaussian
    whose variance is not fixed, but for every frame the one that fits it best: the logarithm of
    the squared error. Else clips that nobody can predict outweigh those that can be predicted
    well.

    Args:
        predicted: `(K, B, C, S, S)`.
        truth: of the same shape.
        likelihood: of a pixel.
    """
    if likelihood == "laplace":
        return functional.l1_loss(predicted, truth)
    error = (predicted - truth).square().mean((2, 3, 4))
    if likelihood == "gaussian":
        return error.mean()
    return TYPICAL * torch.log((error + EXACT) / TYPICAL).mean()


def _divergences(observed: Observed) -> tuple[Tensor, Tensor]:
    pairs = zip(observed.posteriors, observed.priors, strict=True)
    *content, pose = [posterior.kl(prior).mean() for posterior, prior in pairs]
    return sum(content, torch.zeros_like(pose)), pose


def confusion(discriminator: PoseDiscriminator, pose: Tensor) -> Tensor:
    """Reward pose latents `(T, B, Z)` that leave the discriminator at one half (Eq. 6)."""
    discriminator.requires_grad_(False)
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
