"""What learners of both kinds of model hold: a network, its average, its opponent, optimisers."""

from copy import deepcopy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from drsvg_cli.training.run_folder import load_parts

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
