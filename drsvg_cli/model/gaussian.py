"""Diagonal Gaussians: the posteriors and priors of Eq. 3 and Eq. 4."""

from typing import NamedTuple

import torch
from torch import Tensor

from drsvg_cli.model.noise import Noise


class Gaussian(NamedTuple):
    """A diagonal Gaussian over the last dimension; `mean` and `logvar` share a shape `(..., Z)`."""

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Noise, *, temperature: float = 1.0) -> Tensor:
        """Draw with the re-parameterisation trick; `temperature` scales the deviation."""
        deviation = torch.exp(0.5 * self.logvar)
        return self.mean + noise(self.mean) * deviation * temperature

    def kl(self, other: "Gaussian") -> Tensor:
        """Return KL(self || other) in nats, summed over the last dimension: `(...)`."""
        ratio = torch.exp(self.logvar - other.logvar)
        shift = (self.mean - other.mean).square() * torch.exp(-other.logvar)
        return 0.5 * (other.logvar - self.logvar + ratio + shift - 1).sum(-1)

    def at(self, time: int | slice) -> "Gaussian":
        """Select from the first dimension, which is time."""
        return Gaussian(self.mean[time], self.logvar[time])

    def tile(self, times: int) -> "Gaussian":
        """Repeat the whole batch, the dimension before the last, `times` times."""
        before = [1] * (self.mean.dim() - 2)
        return Gaussian(*(part.repeat(*before, times, 1) for part in self))


def standard(like: Tensor) -> Gaussian:
    """Return the standard normal in the shape of `like`."""
    return Gaussian(torch.zeros_like(like), torch.zeros_like(like))


def join(first: Gaussian, then: Gaussian) -> Gaussian:
    """Concatenate two Gaussians in time."""
    return Gaussian(*(torch.cat(pair) for pair in zip(first, then, strict=True)))
