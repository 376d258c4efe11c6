"""What the training loop asks of a model: one step, its state, its weights, and a validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from torch import Tensor

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
