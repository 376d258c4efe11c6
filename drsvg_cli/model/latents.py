"""Latents: a posterior and a prior with two verbs, `observe` and `imagine`.

`observe` reads the features of given frames and returns the posterior and the prior of every
frame. `imagine` returns the prior of the next frame, which nobody has seen yet. Index t of a
Gaussian is about frame t; before the first frame nothing is known, so its prior is the standard
normal.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from drsvg_cli.model.gaussian import Gaussian, join, standard
from drsvg_cli.model.lstm import GaussianRecurrent, LSTMState


class Observation(NamedTuple):
    """What a latent makes of T frames: two Gaussians `(T, B, Z)` and the state after them.

    The state has consumed every frame but the newest.
    """

    posterior: Gaussian
    prior: Gaussian
    state: LSTMState | None


class PoseLatent(nn.Module):
    """The sequence-independent latent: a learned prior from the past (Eq. 8), or a fixed one."""

    def __init__(
        self, features: int, dim: int, *, hidden: int, prior: Literal["learned", "fixed"]
    ) -> None:
        """Build the posterior and, if learned, the prior."""
        super().__init__()
        self.posterior = GaussianRecurrent(features, dim, hidden=hidden)
        self.prior = GaussianRecurrent(features, dim, hidden=hidden) if prior == "learned" else None
        self.dim = dim

    def observe(self, features: Tensor) -> Observation:
        """Infer from features `(T, B, F)`."""
        posterior, _ = self.posterior(features)
        unknown = standard(torch.zeros_like(posterior.mean))
        if self.prior is None or len(features) == 1:
            return Observation(posterior, unknown, None)
        prior, state = self.prior(features[:-1])
        return Observation(posterior, join(unknown.at(slice(1)), prior), state)

    def imagine(self, newest: Tensor, state: LSTMState | None) -> tuple[Gaussian, LSTMState | None]:
        """Return the prior of the frame after the newest one, whose features are `(B, F)`."""
        if self.prior is None:
            return standard(newest.new_zeros(len(newest), self.dim)), None
        prior, state = self.prior(newest[None], state)
        return prior.at(0), state


class ContentLatent(nn.Module):
    """The sequence-dependent latent: its prior is its own posterior a frame earlier (Eq. 4)."""

    def __init__(self, features: int, dim: int, *, hidden: int) -> None:
        """Build the posterior."""
        super().__init__()
        self.posterior = GaussianRecurrent(features, dim, hidden=hidden)
        self.dim = dim

    def observe(self, features: Tensor) -> Observation:
        """Infer from features `(T, B, F)`."""
        if len(features) == 1:
            posterior, _ = self.posterior(features)
            return Observation(posterior, standard(posterior.mean), None)
        earlier, state = self.posterior(features[:-1])
        newest, _ = self.posterior(features[-1:], state)
        return Observation(join(earlier, newest), join(standard(newest.mean), earlier), state)

    def imagine(self, newest: Tensor, state: LSTMState | None) -> tuple[Gaussian, LSTMState | None]:
        """Return the prior of the frame after the newest one, whose features are `(B, F)`."""
        posterior, state = self.posterior(newest[None], state)
        return posterior.at(0), state


class Latents(nn.ModuleList):
    """The latents of a model, the pose last."""

    def __iter__(self) -> Iterator[ContentLatent | PoseLatent]:
        """Yield them in order."""
        for latent in super().__iter__():
            assert isinstance(latent, ContentLatent | PoseLatent)
            yield latent
