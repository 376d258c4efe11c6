"""One step of training the model of `general`."""

import math
import random

import torch
from torch import Tensor, nn

from drsvg_cli.config import MotionConfig, Recipe, TrainingConfig
from drsvg_cli.data.motion_clips import MotionBatch
from drsvg_cli.motion_model.discriminator import PoseDiscriminator
from drsvg_cli.motion_model.network import MotionNetwork, build_network
from drsvg_cli.training import distributed
from drsvg_cli.training.motion_losses import Perceptual, discriminator_loss, motion_losses
from drsvg_cli.training.task import AdversarialLearner

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


class MotionLearner(AdversarialLearner[MotionNetwork, PoseDiscriminator]):
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
            network = build_network(model)
            discriminator = PoseDiscriminator(model.pose_dim + model.whole_dim)
        if start is not None:
            network.load_state_dict(start)
        optimizer = torch.optim.AdamW(
            network.parameters(), betas=(0.9, 0.98), weight_decay=1e-4, fused=True
        )
        opposed = torch.optim.Adam(discriminator.parameters(), fused=True)
        super().__init__(network, optimizer, discriminator, opposed)
        self._recipe, self._perceptual = recipe, perceptual

    def step(self, batch: MotionBatch, number: int) -> dict[str, float]:
        """Take a step with the model and one with the discriminator, and average the weights."""
        training = self._recipe.training
        chance = random.Random(f"{training.seed}/{number}/step")
        self.set_learning_rate(learning_rate(training, number))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(chance.getrandbits(63) + distributed.rank())
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
            distributed.average_gradients(self.model.parameters())
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
            self.optimizer.step()
            opposed = discriminator_loss(self.discriminator, poses, chance)
            self.discriminator_optimizer.zero_grad()
            opposed.backward()
            distributed.average_gradients(self.discriminator.parameters())
            self.discriminator_optimizer.step()
        # Faster at the start of a run.
        self.update_average(min(AVERAGE_DECAY, (1 + number) / (2 + number)))
        values = {"loss": loss, **terms, "discriminator": opposed, "gradient_norm": norm}
        means = distributed.average(torch.stack([*values.values()]).detach())
        return dict(zip(values, means.tolist(), strict=True))


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
