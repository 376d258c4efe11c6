"""Latents as maps on a coarse grid, with numbers of the whole frame beside them.

The maps say what happens where; the numbers what happens to all of the frame, as when the camera
moves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from drsvg_cli.model.noise import Noise

_LOG_VARIANCES = (-8.0, 4.0)


class Latent(NamedTuple):
    """A diagonal Gaussian over maps and over numbers of the whole frame."""

    maps: tuple[Tensor, Tensor]
    """Mean and log-variance, `(B, Z, h, w)`."""
    whole: tuple[Tensor, Tensor]
    """Mean and log-variance, `(B, W, 1, 1)`; W may be 0."""

    def sample(self, noise: Noise = torch.randn_like, *, temperature: float = 1.0) -> Tensor:
        """Draw `(B, Z + W, h, w)`; the mean where the temperature is 0."""
        size = self.maps[0].shape[-2:]
        parts = []
        for mean, log_variance in self:
            drawn = mean
            if temperature:
                drawn = mean + temperature * (log_variance / 2).exp() * noise(mean)
            parts.append(drawn.expand(-1, -1, *size))
        return torch.cat(parts, 1)

    def zeros(self) -> "Latent":
        """Return a latent of the same shape whose mean is zero."""
        maps, whole = ((torch.zeros_like(mean), spread) for mean, spread in self)
        return Latent(maps, whole)

    def part(self, chosen: slice) -> "Latent":
        """Return the latent of some entries of the batch."""
        (a, b), (c, d) = self
        return Latent((a[chosen], b[chosen]), (c[chosen], d[chosen]))

    def repeat(self, count: int) -> "Latent":
        """Repeat the batch."""
        (a, b), (c, d) = (tuple(x.repeat(count, 1, 1, 1) for x in each) for each in self)
        return Latent((a, b), (c, d))

    def kl(self, prior: "Latent | None") -> Tensor:
        """Return KL(self ‖ prior) in nats, `(B,)`; against N(0, I) where there is no prior."""
        total = self.maps[0].new_zeros(len(self.maps[0]))
        for number, (mean, log_variance) in enumerate(self):
            if prior is None:
                other_mean = other = torch.zeros_like(mean)
            else:
                other_mean, other = prior[number]
            ratio = (log_variance.exp() + (mean - other_mean).square()) / other.exp()
            total = total + 0.5 * (other - log_variance + ratio - 1).sum((1, 2, 3))
        return total


class LatentHead(nn.Module):
    """Features `(B, F, h, w)` to a latent."""

    def __init__(self, features: int, maps: int, whole: int) -> None:
        """Give `maps` maps and `whole` numbers of the whole frame."""
        super().__init__()
        self.maps = nn.Conv2d(features, 2 * maps, 3, padding=1)
        self.whole = nn.Linear(features, 2 * whole)
        with torch.no_grad():
            self.maps.weight.mul_(0.3)
            self.whole.weight.mul_(0.3)

    def forward(self, features: Tensor) -> Latent:
        """Return the latent of every entry of the batch."""
        mean, spread = self.maps(features).chunk(2, 1)
        numbers = self.whole(features.mean((2, 3)))[:, :, None, None]
        number, its_spread = numbers.chunk(2, 1)
        return Latent(
            (mean, spread.clamp(*_LOG_VARIANCES)), (number, its_spread.clamp(*_LOG_VARIANCES))
        )


class ConvGRU(nn.Module):
    """A gated recurrent unit whose state is maps `(B, S, h, w)`."""

    def __init__(self, inputs: int, state: int) -> None:
        """Read `inputs` channels into `state` channels."""
        super().__init__()
        self.gates = nn.Conv2d(inputs + state, 2 * state, 3, padding=1)
        self.candidate = nn.Conv2d(inputs + state, state, 3, padding=1)
        self.channels = state

    def forward(self, inputs: Tensor, state: Tensor) -> Tensor:
        """Return the next state."""
        update, reset = self.gates(torch.cat([inputs, state], 1)).sigmoid().chunk(2, 1)
        candidate = self.candidate(torch.cat([inputs, reset * state], 1)).tanh()
        return state + update * (candidate - state)


class Posterior(nn.Module):
    """Reads features of frames in order, and says what each frame's latent is (Eq. 3)."""

    def __init__(self, features: int, state: int, maps: int, whole: int) -> None:
        """Build the recurrence and its head."""
        super().__init__()
        self.recurrence = ConvGRU(features, state)
        self.head = LatentHead(state, maps, whole)

    def forward(self, features: Tensor) -> Sequence[Latent]:
        """Read `(T, B, F, h, w)`; return a latent a frame."""
        shape = (features.shape[1], self.recurrence.channels, *features.shape[-2:])
        state, latents = features.new_zeros(shape), []
        for each in features:
            state = self.recurrence(each, state)
            latents.append(self.head(state))
        return latents
