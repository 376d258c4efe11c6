"""Several processes that train one model: those that torchrun started join, and share every batch.

Process r of N gets the sequences r B / N to (r + 1) B / N of every batch of B, and the noise that
belongs to them. Gradients and the statistics of batch normalisation are those of the whole batch,
so all processes hold the same weights, which are those that one process would have, but for the
order in which numbers are added.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from drsvg_cli.errors import ConfigError, TrainingError
from drsvg_cli.model.noise import Noise

LONGEST = timedelta(days=1)
"""That others wait for the first process, while it reads clips, validates or saves. A process that
dies is noticed at once, by its connection or by torchrun."""
_VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes if torchrun started this one; NCCL speaks for GPUs, gloo for CPUs.

    Raises:
        TrainingError: they cannot be reached.
    """
    if not os.environ.keys() >= _VARIABLES or int(os.environ["WORLD_SIZE"]) < 2:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        distributed.init_process_group(timeout=LONGEST)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the other processes cannot be reached: {error}") from None
    try:
        yield
    finally:
        distributed.destroy_process_group()


def size() -> int:
    """Return how many processes train."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return which of them this is: 0 is the one that writes, prints and validates."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process do what is inside alone, then the others: they find what it made."""
    if rank():
        agreed(0.0)
    yield
    if not rank():
        agreed(0.0)


def agreed(value: float) -> float:
    """Return the sum of what all processes say."""
    return float(_add(torch.tensor(value, dtype=torch.float64)))


def part(batch: int) -> slice:
    """Return which of `batch` sequences are this process's.

    Raises:
        ConfigError: the processes would get unequal shares.
    """
    if batch % size():
        raise ConfigError(f"a batch of {batch} cannot be shared equally by {size()} processes")
    return slice(rank() * batch // size(), (rank() + 1) * batch // size())


def shared(noise: Noise) -> Noise:
    """Return noise of which this process gets the part that belongs to its sequences."""
    if size() == 1:
        return noise

    def own(like: Tensor) -> Tensor:
        whole = noise(_widened(like))
        return whole[:, part(whole.shape[1])]

    return own


def gather(own: Tensor) -> Tensor:
    """Put the parts `(T, B / N, ...)` of all processes together; gradients end here."""
    whole = _widened(own)
    whole[:, part(whole.shape[1])] = own.detach()
    return _add(whole)


def _widened(own: Tensor) -> Tensor:
    return own.new_zeros(len(own), size() * own.shape[1], *own.shape[2:])


def average(values: Tensor) -> Tensor:
    """Average over the processes, in place."""
    return _add(values).div_(size())


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of losses that are means over each process's sequences."""
    if size() > 1:
        gradients = [each.grad for each in parameters if each.grad is not None]
        flat = average(torch.cat([each.flatten() for each in gradients]))
        for each, part in zip(
            gradients, flat.split([each.numel() for each in gradients]), strict=True
        ):
            each.copy_(part.view_as(each))


def _add(values: Tensor) -> Tensor:
    """Add up over the processes, in place.

    Raises:
        TrainingError: one of them has ended.
    """
    if size() > 1:
        try:
            distributed.all_reduce(values)
        except RuntimeError as error:
            raise TrainingError(
                "another process of this run has ended; what it says is above or in its own log. "
                "The last checkpoint is whole: go on with --resume"
            ) from error
    return values


class _Sum(torch.autograd.Function):
    """A sum over the processes whose gradient is one, too."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return _add(values.clone())

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _add(gradients[0].clone())


def _mean(maps: Tensor) -> Tensor:
    """Average `(B / N, C, H, W)` over all but channels, of all processes."""
    total: Tensor = _Sum.apply(maps.mean((0, 2, 3)))  # type: ignore[no-untyped-call]
    return total / size()


class _SharedNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch."""

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps)
        mean, momentum = _mean(maps.float()), self.momentum
        centred = maps.float() - mean[:, None, None]
        variance = _mean(centred.square())
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and momentum is not None
        with torch.no_grad():
            count = size() * maps.numel() / len(mean)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(maps.dtype)


def share_norms(network: nn.Module) -> None:
    """Let every batch normalisation of a network take the statistics of the whole batch."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d and size() > 1:
            module.__class__ = _SharedNorm
