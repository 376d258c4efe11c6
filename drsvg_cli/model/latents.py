"""Latents: a posterior and a prior with two verbs, `observe` and `imagine`.

`observe` reads the features of given frames and returns what is inferred (posterior) and what
was expected (prior) at every frame. `imagine` returns what is expected of the frame that nobody
has seen yet. Index t of a Gaussian speaks of frame t; before the first frame nothing is known,
so its prior is the standard normal.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from drsvg_cli.model.gaussian import Gaussian, join, standard
from drsvg_cli.model.lstm import GaussianRecurrent, LSTMState


class LatentState(NamedTuple):
    """What a latent remembers; it has consumed every frame but the newest."""

    recurrent: LSTMState | None
    held: Gaussian | None
    """The last posterior of an observed frame, `(B, Z)`, for a latent that holds it."""

    def tile(self, times: int) -> "LatentState":
        """Repeat the whole batch `times` times: entry `k B + b` continues entry `b`."""
        return LatentState(
            None if self.recurrent is None else self.recurrent.tile(times),
            None if self.held is None else self.held.tile(times),
        )


class Observation(NamedTuple):
    """What a latent makes of T frames: two Gaussians `(T, B, Z)` and the state after them."""

    posterior: Gaussian
    prior: Gaussian
    state: LatentState


class PoseLatent(nn.Module):
    """The sequence-independent latent: a learned prior from the past (Eq. 8), or a fixed one."""

    def __init__(
        self,
        features: int,
        dim: int,
        *,
        hidden: int,
        prior: Literal["learned", "fixed"],
        prior_hidden: int,
    ) -> None:
        """Build the posterior and, if learned, the prior."""
        super().__init__()
        self.posterior = GaussianRecurrent(features, dim, hidden=hidden)
        self.prior = (
            GaussianRecurrent(features, dim, hidden=prior_hidden) if prior == "learned" else None
        )
        self.dim = dim

    def observe(self, features: Tensor, posed: Tensor | None = None) -> Observation:
        """Infer from features `(T, B, F)`; the posterior from `posed`, of that shape, if given."""
        posterior, _ = self.posterior(features if posed is None else posed)
        return Observation(posterior, *self.expect(features))

    def expect(self, features: Tensor) -> tuple[Gaussian, LatentState]:
        """Expect every frame from the features `(T, B, F)` of those before it (Eq. 8)."""
        unknown = standard(features.new_zeros(*features.shape[:2], self.dim, dtype=torch.float32))
        if self.prior is None or len(features) == 1:
            return unknown, LatentState(None, None)
        prior, state = self.prior(features[:-1])
        return join(unknown.at(slice(1)), prior), LatentState(state, None)

    def imagine(self, newest: Tensor, state: LatentState) -> tuple[Gaussian, LatentState]:
        """Expect the next frame after the newest one, whose features are `(B, F)`."""
        if self.prior is None:
            return standard(newest.new_zeros(len(newest), self.dim)), state
        prior, recurrent = self.prior(newest[None], state.recurrent)
        return prior.at(0), LatentState(recurrent, None)


class ContentLatent(nn.Module):
    """The sequence-dependent latent: its prior is its own posterior a frame earlier (Eq. 4)."""

    def __init__(
        self, features: int, dim: int, *, hidden: int, rollout: Literal["update", "hold"]
    ) -> None:
        """Build the posterior."""
        super().__init__()
        self.posterior = GaussianRecurrent(features, dim, hidden=hidden)
        self.rollout = rollout
        self.dim = dim

    def observe(self, features: Tensor) -> Observation:
        """Infer from features `(T, B, F)`."""
        state = None
        if len(features) > 1:
            earlier, state = self.posterior(features[:-1])
        newest, _ = self.posterior(features[-1:], state)
        posterior = newest if state is None else join(earlier, newest)
        first = standard(newest.mean)
        prior = first if state is None else join(first, earlier)
        held = newest.at(0) if self.rollout == "hold" else None
        return Observation(posterior, prior, LatentState(state, held))

    def imagine(self, newest: Tensor, state: LatentState) -> tuple[Gaussian, LatentState]:
        """Expect the next frame after the newest one, whose features are `(B, F)`."""
        if state.held is not None:
            return state.held, state
        posterior, recurrent = self.posterior(newest[None], state.recurrent)
        return posterior.at(0), LatentState(recurrent, None)


class Latents(nn.ModuleList):
    """The latents of a model, the pose last."""

    def __iter__(self) -> Iterator[ContentLatent | PoseLatent]:
        """Yield them in order."""
        for latent in super().__iter__():
            assert isinstance(latent, ContentLatent | PoseLatent)
            yield latent

    @property
    def others(self) -> list[ContentLatent | PoseLatent]:
        """All but the pose."""
        return [*self][:-1]

    @property
    def pose(self) -> PoseLatent:
        """The last one."""
        *_, pose = self
        assert isinstance(pose, PoseLatent)
        return pose
