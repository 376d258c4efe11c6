"""The whole network of Fig. 2: encoder, latents, frame predictor, decoder, head.

Time comes first inside the model, so that the equations read as slices: `h[:-1]` are the
features a prediction starts from, `h[1:]` those of the frames it is about.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from drsvg_cli.config import ModelConfig
from drsvg_cli.model.backbone import Decoder, Encoder
from drsvg_cli.model.gaussian import Gaussian
from drsvg_cli.model.heads import HEADS, SPEED_GAIN, PixelsHead, Reference, WarpHead
from drsvg_cli.model.latents import ContentLatent, Latents, LatentState, PoseLatent
from drsvg_cli.model.lstm import LSTMState, Recurrent
from drsvg_cli.model.noise import Noise
from drsvg_cli.model.warping import warp
from drsvg_cli.optical_flow import follow, measure

SURPRISE_GAIN = 4.0
"""What motion does not explain is small; this brings it to the scale of a frame."""
GRID = 4
"""Measured motion is averaged over as many rows and columns, for the latents to read."""
MEASURED = 2 * GRID**2
"""So many features of a frame say how it moves; they join those that are learned."""


class Encoded(NamedTuple):
    """What the encoder makes of T frames of B clips."""

    features: Tensor
    """`(T, B, F)`: `feature_dim` numbers, and those of `MEASURED` where motion is measured."""
    skips: tuple[Tensor, ...]
    """`(T B, ...)`, from the finest to the coarsest level."""
    motion: Tensor | None
    """Where each place was a frame earlier, `(T B, 2, S, S)` in half frames, where measured."""


class State(NamedTuple):
    """What the model remembers of a clip; it has consumed every frame but the newest."""

    latents: tuple[LatentState, ...]
    predictor: LSTMState | None

    def tile(self, times: int) -> "State":
        """Repeat the whole batch `times` times: entry `k B + b` continues entry `b`."""
        predictor = None if self.predictor is None else self.predictor.tile(times)
        return State(tuple(latent.tile(times) for latent in self.latents), predictor)


class Observed(NamedTuple):
    """What the model makes of T given frames (teacher forcing).

    Posteriors, priors and drawn latents hold one entry a latent, the pose last, each
    `(T, B, Z)`. `outputs` are the predictor's, `(T - 1, B, D)`, for the frames from the second on.
    """

    posteriors: tuple[Gaussian, ...]
    priors: tuple[Gaussian, ...]
    drawn: tuple[Tensor, ...]
    outputs: Tensor
    state: State


class Scene(NamedTuple):
    """What all frames that follow an observed one are decoded with, one entry a clip."""

    prepared: tuple[Tensor, ...]
    reference: Reference


class _Rows(torch.autograd.Function):
    """Some rows of maps `(B, C, H, W)`, whose gradient is laid out like the maps.

    That of a slice is not, and every layer behind it would work on a layout that is not its own.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, first: int, end: int) -> Tensor:
        ctx.shape, ctx.first, ctx.end = maps.shape, first, end
        return maps[first:end]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        batch, *shape = ctx.shape
        whole = gradient.new_zeros(batch, *shape[1:], shape[0]).movedim(-1, 1)
        whole[ctx.first : ctx.end] = gradient
        return whole, None, None


class DRSVG(nn.Module):
    """DR-SVG and, as configurations of it, SVG-LP and SVG-FP."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the network with random weights from the global generator."""
        super().__init__()
        self.config = config
        self.head: PixelsHead | WarpHead = HEADS[config.head](config)
        moving = self.head.moving
        maps, measured = (2 * config.channels + 2, MEASURED) if moving else (config.channels, 0)
        size, hidden = config.feature_dim + measured, config.latent_hidden
        latents: list[ContentLatent | PoseLatent] = []
        if config.content_dim:
            latents.append(
                ContentLatent(
                    size, config.content_dim, hidden=hidden, rollout=config.content_rollout
                )
            )
        latents.append(
            PoseLatent(
                size,
                config.pose_dim,
                hidden=hidden,
                prior=config.prior,
                prior_hidden=config.prior_hidden or hidden,
            )
        )
        self.latents = Latents(latents)
        self.encoder = Encoder(config, maps)
        self.predictor = Recurrent(
            size + sum(latent.dim for latent in latents),
            config.feature_dim,
            hidden=config.predictor_hidden,
            layers=config.predictor_layers,
        )
        self.shortcut = nn.Linear(size, config.feature_dim) if config.predictor_shortcut else None
        drawn = sum(latent.dim for latent in latents)
        self.bypass = nn.Linear(drawn, config.feature_dim) if config.latent_shortcut else None
        self.decoder = Decoder(config, self.head.maps, moving=moving)
        if moving:
            self.decoder.silence()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(
        self, frames: Tensor, before: Tensor | None = None, motion: Tensor | None = None
    ) -> Encoded:
        """Encode frames `(T, B, C, S, S)` at once; features `(T, B, F)`, skips `(T B, ...)`.

        `before` holds the frame before each, for a model that measures motion. Without it the
        frames follow each other in time, and before the first one nothing moved. Such a model
        sees with every frame how it moves, and what of it that motion does not explain. The motion
        of frames that it made itself is known: `(T B, 2, S, S)`, else it is measured.
        """
        flat = frames.flatten(0, 1)
        if self.head.moving:
            earlier = torch.cat([frames[:1], frames[:-1]]) if before is None else before
            earlier = earlier.flatten(0, 1)
            if motion is None:
                motion = follow(frames) if before is None else measure(flat, earlier)
            surprise = flat - warp(earlier, motion)
            flat = torch.cat([flat, motion / SPEED_GAIN, surprise * SURPRISE_GAIN], dim=1)
        features, skips = self.encoder(flat.contiguous(memory_format=torch.channels_last))
        if motion is not None:
            coarse = functional.adaptive_avg_pool2d(motion / SPEED_GAIN, GRID).flatten(1)
            features = torch.cat([features, torch.asinh(coarse).to(features)], dim=1)
        return Encoded(features.unflatten(0, frames.shape[:2]), skips, motion)

    def observe(
        self,
        features: Tensor,
        noise: Noise | None = None,
        *,
        given: Tensor | None = None,
        posed: Tensor | None = None,
    ) -> Observed:
        """Read features `(T, B, F)`: latents from the posteriors, every step at once (Eq. 7).

        Without `noise` each latent is its posterior's mean. The predictor gets the features
        `given`, of the same shape, in place of those that were read, if there are any, and the
        pose posterior those that are `posed`.
        """
        seen = [latent.observe(features) for latent in self.latents.others]
        seen.append(self.latents.pose.observe(features, posed))
        drawn = tuple(
            each.posterior.mean if noise is None else each.posterior.sample(noise) for each in seen
        )
        outputs, predictor = features[:0, :, : self.config.feature_dim], None
        if len(features) > 1:
            given = features if given is None else given
            outputs, predictor = self.advance(given[:-1], [z[1:] for z in drawn])
        return Observed(
            posteriors=tuple(each.posterior for each in seen),
            priors=tuple(each.prior for each in seen),
            drawn=drawn,
            outputs=outputs,
            state=State(tuple(each.state for each in seen), predictor),
        )

    def imagine(
        self, newest: Tensor, state: State, noise: Noise, *, temperature: float = 1.0
    ) -> tuple[Tensor, State]:
        """Predict the frame after the newest one, latents from the priors (Eq. 9).

        Args:
            newest: features of the newest frame, `(B, F)`.
            state: what has been consumed before it.
            noise: gives standard normals.
            temperature: scales the priors' deviations.

        Returns:
            The predictor's output `(B, D)` and the state that has consumed `newest`.
        """
        drawn, states = [], []
        for latent, before in zip(self.latents, state.latents, strict=True):
            prior, after = latent.imagine(newest, before)
            drawn.append(prior.sample(noise, temperature=temperature)[None])
            states.append(after)
        outputs, predictor = self.advance(newest[None], drawn, state.predictor)
        return outputs[0], State(tuple(states), predictor)

    def settle(self, encoded: Encoded, time: int, frame: Tensor) -> Scene:
        """Prepare to decode what follows frame `time` of those encoded, `(B, C, S, S)`."""
        times, clips = encoded.features.shape[:2]
        first = time % times * clips
        skips = tuple(
            _Rows.apply(skip, first, first + clips)  # type: ignore[no-untyped-call]
            for skip in encoded.skips
        )
        motion = told = None
        if encoded.motion is not None:
            motion = encoded.motion[first : first + clips]
            told = motion / SPEED_GAIN
        return Scene(self.decoder.prepare(skips, told), Reference(frame, motion))

    def refer(self, frames: Tensor) -> Reference:
        """Refer to the last of one or two frames `(B, K, C, H, W)`, at any size.

        It moves as measured between the two; a single one stands still.
        """
        newest = frames[:, -1]
        return Reference(newest, measure(newest, frames[:, 0]) if self.head.moving else None)

    def advance(
        self, features: Tensor, drawn: Sequence[Tensor], state: LSTMState | None = None
    ) -> tuple[Tensor, LSTMState]:
        """Run the frame predictor over features `(T, B, F)`; return outputs `(T, B, D)`, its state.

        `drawn` holds the latents of the frames after each, a tensor `(T, B, Z)` a latent.
        """
        inputs = torch.cat([features, *(z.to(features.dtype) for z in drawn)], dim=-1)
        outputs, after = self.predictor(inputs, state)
        if self.shortcut is not None:
            outputs = outputs + self.shortcut(features)
        if self.bypass is not None:
            outputs = outputs + self.bypass(inputs[..., features.shape[-1] :])
        return torch.tanh(outputs), after
