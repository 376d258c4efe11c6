"""The whole network of Fig. 2: encoder, latents, frame predictor, decoder.

Time comes first inside the model, so that the equations read as slices: `h[:-1]` are the
features a prediction starts from, `h[1:]` those of the frames it is about.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from drsvg_cli.config import ModelConfig
from drsvg_cli.model.backbone import Decoder, Encoder
from drsvg_cli.model.gaussian import Gaussian
from drsvg_cli.model.latents import ContentLatent, Latents, PoseLatent
from drsvg_cli.model.lstm import LSTMState, Recurrent
from drsvg_cli.model.noise import Noise

PREDICTOR_LAYERS = 2  # Section 4.1


class Encoded(NamedTuple):
    """What the encoder makes of T frames of B clips."""

    features: Tensor
    """`(T, B, F)`."""
    skips: tuple[Tensor, ...]
    """`(T, B, ...)`, from the finest to the coarsest level."""

    def skips_at(self, time: int) -> tuple[Tensor, ...]:
        """Return the skip maps of one frame a clip, `(B, ...)`."""
        return tuple(skip[time] for skip in self.skips)


class Observed(NamedTuple):
    """What the model makes of T given frames (teacher forcing).

    Posteriors, priors and drawn latents hold one entry a latent, the pose last, each
    `(T, B, Z)`. `outputs` are the predictor's, `(T - 1, B, D)`, for the frames from the second on.
    The states, one a latent and the predictor's, have consumed every frame but the newest.
    """

    posteriors: tuple[Gaussian, ...]
    priors: tuple[Gaussian, ...]
    drawn: tuple[Tensor, ...]
    outputs: Tensor
    latent_states: tuple[LSTMState | None, ...]
    predictor_state: LSTMState | None


class DRSVG(nn.Module):
    """DR-SVG and, as configurations of it, SVG-LP and SVG-FP."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the network with random weights from the global generator."""
        super().__init__()
        self.config = config
        size, hidden = config.feature_dim, config.hidden
        latents: list[ContentLatent | PoseLatent] = []
        if config.content_dim:
            latents.append(ContentLatent(size, config.content_dim, hidden=hidden))
        latents.append(PoseLatent(size, config.pose_dim, hidden=hidden, prior=config.prior))
        self.latents = Latents(latents)
        self.encoder = Encoder(config)
        self.predictor = Recurrent(
            size + sum(latent.dim for latent in latents),
            size,
            hidden=hidden,
            layers=PREDICTOR_LAYERS,
        )
        self.shortcut = nn.Linear(size, size) if config.predictor_shortcut else None
        self.decoder = Decoder(config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, frames: Tensor) -> Encoded:
        """Encode frames `(T, B, C, S, S)` in [0, 1], all at once."""
        flat = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features, skips = self.encoder(flat)
        shape = frames.shape[:2]
        return Encoded(
            features.unflatten(0, shape), tuple(skip.unflatten(0, shape) for skip in skips)
        )

    def observe(
        self, features: Tensor, noise: Noise | None = None, *, given: Tensor | None = None
    ) -> Observed:
        """Read features `(T, B, F)`: latents from the posteriors, every step at once (Eq. 7).

        Without `noise` each latent is its posterior's mean. The predictor gets the features
        `given`, of the same shape, in place of those that were read, if there are any.
        """
        seen = [latent.observe(features) for latent in self.latents]
        drawn = tuple(
            each.posterior.mean if noise is None else each.posterior.sample(noise) for each in seen
        )
        outputs, state = features[:0], None
        if len(features) > 1:
            inputs = (features if given is None else given)[:-1]
            outputs, state = self.advance(inputs, [z[1:] for z in drawn])
        return Observed(
            posteriors=tuple(each.posterior for each in seen),
            priors=tuple(each.prior for each in seen),
            drawn=drawn,
            outputs=outputs,
            latent_states=tuple(each.state for each in seen),
            predictor_state=state,
        )

    def advance(
        self, features: Tensor, drawn: Sequence[Tensor], state: LSTMState | None = None
    ) -> tuple[Tensor, LSTMState]:
        """Run the frame predictor over features `(T, B, F)`; return outputs `(T, B, D)`, its state.

        `drawn` holds the latents of the frames after each, a tensor `(T, B, Z)` a latent.
        """
        inputs = torch.cat([features, *(z.to(features.dtype) for z in drawn)], dim=-1)
        outputs, state = self.predictor(inputs, state)
        if self.shortcut is not None:
            outputs = outputs + self.shortcut(features)
        return torch.tanh(outputs), state
