"""One step of training the model of `general`."""

import math
import random
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from drsvg_cli.config import MotionConfig, Recipe, TrainingConfig
from drsvg_cli.data.motion_clips import MotionBatch
from drsvg_cli.motion_model.discriminator import PoseDiscriminator
from drsvg_cli.motion_model.network import build_network
from drsvg_cli.training.motion_losses import Perceptual, discriminator_loss, motion_losses
from drsvg_cli.training.run_folder import load_parts

WEIGHTS = {
    "reconstruction": 0.5,
    "flow": 1.0,
    "expected": 0.5,
    "expected_looks": 2.0,
    "energy_pixels": 3.0,
    "energy_looks": 2.0,
}
"""Of the terms of the loss, beside those that a recipe has."""
WARMUP = 200
LEAST_RATE = 0.02
"""Share of the peak learning rate at the end."""
AVERAGE_DECAY = 0.998
"""Of the moving average of the weights, which is what a run leaves."""
LARGEST_GRADIENT = 1.0


class MotionLearner:
    """A motion network and its discriminator while they are trained."""

    def __init__(
        self, recipe: Recipe, perceptual: Perceptual, start: dict[str, Tensor] | None = None
    ) -> None:
        """Begin with random weights, or with those of `start`.

        Args:
            recipe: of a motion network.
            perceptual: gives points of frames whose distances are those of LPIPS.
            start: weights.
        """
        assert isinstance(recipe.model, MotionConfig)
        model = recipe.model
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(recipe.training.seed)
            self.model = build_network(model)
            self.discriminator = PoseDiscriminator(model.pose_dim + model.whole_dim)
        if start is not None:
            self.model.load_state_dict(start)
        self.average = deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), betas=(0.9, 0.98), weight_decay=1e-4, fused=True
        )
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), fused=True)
        self._recipe, self._perceptual = recipe, perceptual

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

    def step(self, batch: MotionBatch, number: int) -> dict[str, float]:
        """Take a step with the model and one with the discriminator, and average the weights."""
        training = self._recipe.training
        chance = random.Random(f"{training.seed}/{number}/step")
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(training, number)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(chance.getrandbits(63))
            terms, poses = motion_losses(
                self.model,
                self.discriminator,
                batch,
                context=self._recipe.data.context,
                perceptual=self._perceptual,
                chance=chance,
            )
            loss = _total(terms, training)
            self.optimizer.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
            self.optimizer.step()
            opposed = discriminator_loss(self.discriminator, poses, chance)
            self.discriminator_optimizer.zero_grad()
            opposed.backward()
            self.discriminator_optimizer.step()
        self._update_average(number)
        values = {"loss": loss, **terms, "discriminator": opposed, "gradient_norm": norm}
        return {name: float(value.detach()) for name, value in values.items()}

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        """Move the averaged weights towards the newest ones, faster at the start of a run."""
        decay = min(AVERAGE_DECAY, (1 + number) / (2 + number))
        newest = self.model.state_dict()
        for name, average in self.average.state_dict().items():
            average.lerp_(newest[name], 1 - decay)


def _total(terms: dict[str, Tensor], training: TrainingConfig) -> Tensor:
    """Return the loss: the sum of its terms in their weights."""
    beta = {"pose_kl": training.beta, "content_kl": training.beta}
    weights = WEIGHTS | beta | {"adversarial": training.adversarial}
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def learning_rate(training: TrainingConfig, number: int) -> float:
    """Rise over the warm-up, then fall along half a cosine."""
    rise = min(1.0, (number + 1) / max(1, min(WARMUP, training.steps // 10)))
    fall = 0.5 + 0.5 * math.cos(math.pi * number / training.steps)
    return training.learning_rate * rise * (LEAST_RATE + (1 - LEAST_RATE) * fall)
