"""What the training loop asks of a model, and what learners of both kinds hold."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from drsvg_cli.training.run_folder import load_parts

Batch = TypeVar("Batch")
_Batch = TypeVar("_Batch", contravariant=True)


class Learner(Protocol[_Batch]):
    """All that changes during training: weights, their moving average and optimisers."""

    def step(self, batch: _Batch, number: int) -> dict[str, float]:
        """Take a step on a batch.

        What is drawn for it depends on the seed and on `number`, which counts steps from 0, alone:
        a run that is resumed goes on as if it had not been interrupted.

        Returns:
            What is to be logged: the whole loss as `loss`, the terms it is made of, and whatever
            else must be finite.
        """

    def state(self) -> dict[str, Any]:
        """Return all that a run needs to go on: nested dicts of tensors, numbers and strings."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, on any device."""

    def export(self) -> dict[str, Tensor]:
        """Return the weights to keep: their moving average, by the names of the network."""


class Validation(NamedTuple):
    """What was measured on held-back sequences with the weights that `export` returns."""

    score: float
    """What the best weights are chosen by: higher is better."""
    measured: dict[str, float]
    """Everything, by names for the log and the card, such as `psnr`."""


@dataclass(frozen=True)
class Task(Generic[Batch]):
    """What is trained, on what, and how it is validated."""

    learner: Learner[Batch]
    batch: Callable[[int], Batch]
    """Draws the batch of a step, counted from 0; called ahead of time in another thread."""
    validate: Callable[[], Validation]


Network = TypeVar("Network", bound=nn.Module)
Opponent = TypeVar("Opponent", bound=nn.Module)


class AdversarialLearner(Generic[Network, Opponent]):
    """A network and a discriminator of its poses while they are trained."""

    def __init__(
        self,
        model: Network,
        optimizer: torch.optim.Optimizer,
        discriminator: Opponent,
        discriminator_optimizer: torch.optim.Optimizer,
    ) -> None:
        """Hold a network that has its first weights; the average begins there."""
        self.model, self.optimizer = model, optimizer
        self.average = deepcopy(model).eval().requires_grad_(False)
        self.discriminator = discriminator
        self.discriminator_optimizer = discriminator_optimizer

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "average": self.average,
            "discriminator": self.discriminator,
            "optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def state(self) -> dict[str, Any]:
        """Return all that a run needs to go on."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        load_parts(self._parts(), state)

    def export(self) -> dict[str, Tensor]:
        """Return the averaged weights."""
        return self.average.state_dict()

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of both optimisers."""
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = rate

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the averaged weights towards the newest ones."""
        newest = self.model.state_dict()
        for name, average in self.average.state_dict().items():
            if average.is_floating_point():
                average.lerp_(newest[name], 1 - decay)
            else:
                average.copy_(newest[name])
