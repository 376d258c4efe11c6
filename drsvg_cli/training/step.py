"""One step of training DR-SVG: Eq. 4 and Eq. 6 for the model, Eq. 5 for the discriminator."""

import math
import random

import torch
from torch import Tensor, nn

from drsvg_cli.config import Recipe, TrainingConfig
from drsvg_cli.device import fast_in_half
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.losses import LossTerms, discriminator_loss, model_loss
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.training import distributed
from drsvg_cli.training.task import AdversarialLearner
from drsvg_cli.weights.files import blueprint

WARMUP = 200
"""Steps over which the learning rate rises, but at most a tenth of a run."""
EPSILON = 1e-14
"""Adam's. The loss is a mean over pixels, so gradients of the recurrent parts are near 1e-10;
under the usual 1e-8 such a part hardly moves."""
LARGEST_GRADIENT = 1.0
"""Norm that the gradient is clipped to."""
AVERAGE_DECAY = 0.999
"""Of the moving average of the weights, which is what a run leaves."""


class DRSVGLearner(AdversarialLearner[DRSVG, PoseDiscriminator]):
    """A DR-SVG network and its discriminator while they are trained."""

    def __init__(
        self, recipe: Recipe, device: torch.device, start: dict[str, Tensor] | None = None
    ) -> None:
        """Begin with random weights, or with those of `start`.

        Raises:
            ConfigError: the model is larger than this machine could ever hold.
        """
        blueprint(recipe.model)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(recipe.training.seed)
            network = DRSVG(recipe.drsvg).to(device)
            discriminator = PoseDiscriminator(recipe.drsvg.pose_dim).to(device)
        distributed.share_norms(network)
        if start is not None:
            network.load_state_dict(start)
        super().__init__(network, _adam(network), discriminator, _adam(discriminator))
        self._recipe, self._device = recipe, device

    def step(self, batch: Tensor, number: int) -> dict[str, float]:
        """Take a step with the model and one with the discriminator, and average the weights.

        Args:
            batch: `(T, B, C, S, S)`, uint8 or in [0, 1].
            number: of the step, from 0.
        """
        training, device = self._recipe.training, self._device
        frames = batch.to(device)
        frames = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        context, order = _drawn(self._recipe, number, len(frames))
        noise = distributed.shared(BatchNoise(training.seed * 1_000_003 + number, device))
        self.set_learning_rate(learning_rate(training, number))

        self.model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_in_half(device)):
            terms, pose = model_loss(
                self.model,
                frames,
                context=context,
                noise=noise,
                discriminator=self.discriminator,
                order=order,
            )
        loss = terms.total(beta=training.beta, adversarial=training.adversarial)
        self.optimizer.zero_grad()
        loss.backward()
        distributed.average_gradients(self.model.parameters())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()

        opposed = self._discriminate(distributed.gather(pose))
        # Faster at the start of a run.
        self.update_average(min(AVERAGE_DECAY, (2 + number) / (11 + number)))
        names = ("loss", *LossTerms._fields, "discriminator", "gradient_norm")
        values = distributed.average(torch.stack([loss, *terms, opposed, norm]).detach())
        return dict(zip(names, values.tolist(), strict=True))  # one wait for a GPU, not many

    def _discriminate(self, pose: Tensor) -> Tensor:
        """Take one step with the discriminator (Eq. 5)."""
        if pose.shape[1] < 2:
            return pose.new_zeros(())
        loss = discriminator_loss(self.discriminator, pose)
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()
        return loss


def _adam(module: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), eps=EPSILON, fused=True)


def _drawn(recipe: Recipe, number: int, length: int) -> tuple[int, list[int] | None]:
    """Draw how many frames a step observes, and whose features the predictor gets if not theirs."""
    chance = random.Random(f"{recipe.training.seed}/{number}/context")
    context = chance.randint(recipe.data.min_context, recipe.data.context)
    share = recipe.training.shuffled_features
    if share and chance.random() < share:
        return 1, chance.choices(range(length), k=length)
    return context, None


def learning_rate(training: TrainingConfig, number: int) -> float:
    """Rise over the warm-up, then fall along half a cosine to a hundredth at the last step."""
    rise = min(1.0, (number + 1) / max(1, min(WARMUP, training.steps // 10)))
    fall = 0.5 + 0.5 * math.cos(math.pi * number / training.steps)
    return training.learning_rate * rise * max(fall, 0.01)
