"""One step of training: what is drawn for it, and what the device then computes.

The two are apart, so that a GPU can record the second (`cuda_graph`). What is drawn depends on the
seed and on the step's number alone.
"""

import math
import random
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from drsvg_cli.config import Recipe, TrainingConfig
from drsvg_cli.device import fast_in_half
from drsvg_cli.errors import TrainingError
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.losses import LossTerms, discriminator_loss, model_loss
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.optical_flow import follow
from drsvg_cli.training.cuda_graph import Recorded
from drsvg_cli.weights.files import blueprint

EPSILON = 1e-14
"""Adam's: the loss is a mean over pixels, and gradients of the recurrent parts near 1e-10 were
measured. Under the usual 1e-8 such a part hardly moves."""
_NUMBERS = ("step", "best", "stale", "seconds")


class _Plan(NamedTuple):
    """Which operations a step is made of."""

    context: int
    start: int
    """The frame whose skip maps and reference the predicted ones get."""
    swapped: bool
    """Whether there are `origins`."""
    autoencoded: bool


class _Inputs(NamedTuple):
    """What they are done with, besides noise."""

    frames: Tensor
    """`(T, B, C, S, S)`, uint8 or in [0, 1]."""
    posed: Tensor | None
    """The same in a second view, if there is one."""
    decoded: Tensor
    """Indices `(K,)` of predicted frames."""
    shown: Tensor | None
    """`(T, B, 1)`, whose features the predictor gets; all if left out."""
    origins: Tensor | None
    """`(T,)`, which frames those are of; the own ones if left out."""
    motion: Tensor | None
    """Where each place was a frame earlier, `(T, B, 2, S, S)`, for a model that wants to know."""
    posed_motion: Tensor | None
    """Likewise, of the second view."""
    rate: Tensor
    """The learning rate."""
    beta: Tensor
    share: Tensor
    """How far the averaged weights move towards the newest ones, 0 to 1."""


class Learner:
    """All that changes during training."""

    def __init__(self, recipe: Recipe, device: torch.device, start: dict[str, Tensor] | None):
        """Begin with random weights, or with those of `start`.

        Raises:
            ConfigError: the model is larger than this machine could ever hold.
        """
        config, training = recipe.model, recipe.training
        blueprint(config)  # refuses what would take the machine's memory
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(training.seed)
            self.model = DRSVG(config).to(device)
            self.discriminator = PoseDiscriminator(
                config.pose_dim, hidden=config.discriminator_hidden
            ).to(device)
        if start is not None:
            self.model.load_state_dict(start)
        self.average = deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = _adam(self.model, training, device)
        self.opponent = _adam(self.discriminator, training, device)
        self.step = 0
        self.best = -math.inf
        self.stale = 0
        self.seconds = 0.0
        self._recipe, self._device = recipe, device
        self._noise = BatchNoise(0, device)
        self._update = Recorded[_Plan](self._updated, device, self._noise.generator)

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "average": self.average,
            "discriminator": self.discriminator,
            "optimizer": self.optimizer,
            "opponent": self.opponent,
        }

    def state(self) -> dict[str, Any]:
        """Return all that a run needs to go on."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {name: part.state_dict() for name, part in self._parts().items()} | numbers

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name in _NUMBERS:
            setattr(self, name, state[name])
        for optimizer in (self.optimizer, self.opponent):
            for group in optimizer.param_groups:  # the run may have been another device's
                group["capturable"] = self._device.type == "cuda"
                group["lr"] = torch.as_tensor(group["lr"]).to(self._device)

    def learn(self, batch: Tensor, motion: Tensor | None = None) -> dict[str, float]:
        """Take one step with the model, one with the discriminator, and average the weights.

        Args:
            batch: `(T, B, C, S, S)` on the device, uint8 or in [0, 1]; its second half is the
                second view of the first one, where the recipe has it (`data.second_view`).
            motion: what `moved` tells of it, on the device; found out if left out.

        Returns:
            The terms of the loss, the loss itself, and the discriminator's own.

        Raises:
            TrainingError: they are not finite. The learner is of no more use then.
        """
        training = self._recipe.training
        if motion is None:
            motion = moved(self._recipe, batch)
        plan, inputs = _drawn(self._recipe, self.step, batch, motion)
        self._noise.generator.manual_seed(training.seed * 1_000_003 + self.step)
        # Read together: an accelerator would be waited for with each.
        *values, discriminator, total, length = self._update(plan, inputs).tolist()
        report = dict(zip(LossTerms._fields, values, strict=True))
        self._check_finite(total + length, report)
        report |= {"loss": total, "discriminator": discriminator}
        self._check_finite(discriminator, {"discriminator": discriminator})
        self.step += 1
        return report

    def _check_finite(self, value: float, report: dict[str, float]) -> None:
        if not math.isfinite(value):
            terms = ", ".join(f"{name} {value:.3g}" for name, value in report.items())
            raise TrainingError(
                f"the loss or its gradient is not finite at step {self.step} ({terms}); the last "
                "good weights are kept. Start a new run from them with a lower learning rate"
            )

    def _updated(self, plan: _Plan, tensors: tuple[Tensor | None, ...]) -> Tensor:
        """Do the step; return what it reports, without waiting for it."""
        training, inputs = self._recipe.training, _Inputs(*tensors)  # type: ignore[arg-type]
        frames = _brightness(inputs.frames)
        for optimizer in (self.optimizer, self.opponent):
            for group in optimizer.param_groups:
                group["lr"].copy_(inputs.rate)
        self.model.train()
        half = fast_in_half(frames.device)
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=half):
            terms, pose = model_loss(
                self.model,
                frames,
                context=plan.context,
                decoded=inputs.decoded,
                noise=self._noise,
                discriminator=self.discriminator,
                likelihood=training.likelihood,
                shown=inputs.shown,
                origins=inputs.origins,
                motion=inputs.motion,
                posed=None if inputs.posed is None else _brightness(inputs.posed),
                posed_motion=inputs.posed_motion,
                start=plan.start,
                autoencoded=plan.autoencoded,
                closed_loop=training.closed_loop,
                prior_dropout=training.prior_dropout,
            )
        loss = terms.total(
            beta=inputs.beta,
            adversarial=training.adversarial,
            drawing=training.drawing,
            content_kl=training.content_kl,
            matching=training.matching,
            motion=training.motion,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
        self.optimizer.step()
        opposed = self._opposed(pose)
        self._follow(inputs.share)
        return torch.stack([*terms, opposed, loss, norm]).detach()

    def _opposed(self, pose: Tensor) -> Tensor:
        """Take one step with the discriminator (Eq. 5)."""
        if pose.shape[1] < 2:
            return pose.new_zeros(())
        loss = discriminator_loss(self.discriminator, pose)
        self.opponent.zero_grad(set_to_none=True)
        loss.backward()
        self.opponent.step()
        return loss

    @torch.no_grad()
    def _follow(self, share: Tensor) -> None:
        """Move the averaged weights towards the newest ones."""
        pairs = zip(
            self.average.state_dict().values(), self.model.state_dict().values(), strict=True
        )
        for average, newest in pairs:
            if average.is_floating_point():
                average.lerp_(newest, share)
            else:
                average.copy_(newest)


def _adam(module: nn.Module, training: TrainingConfig, device: torch.device) -> torch.optim.Adam:
    return torch.optim.Adam(
        module.parameters(),
        lr=torch.tensor(training.learning_rate, device=device),
        eps=EPSILON,
        fused=True,
        capturable=device.type == "cuda",
    )


def moved(recipe: Recipe, batch: Tensor) -> Tensor | None:
    """Measure how a batch `(T, B, C, S, S)` moves, for a model that wants to know.

    It takes the CPU, for which no GPU should wait.

    Returns:
        `(T, B, 2, S, S)` on the batch's device, see `optical_flow.follow`.
    """
    if recipe.model.head == "pixels":
        return None
    return follow(_brightness(batch)).unflatten(0, batch.shape[:2])


def _brightness(frames: Tensor) -> Tensor:
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames


def _drawn(
    recipe: Recipe, step: int, frames: Tensor, motion: Tensor | None
) -> tuple[_Plan, _Inputs]:
    """Draw what a step is about."""
    training, data = recipe.training, recipe.data
    device, posed, posed_motion = frames.device, None, None
    if data.second_view:
        frames, posed = frames.chunk(2, dim=1)
        if motion is not None:
            motion, posed_motion = motion.chunk(2, dim=1)
    length, size = frames.shape[:2]
    chance = random.Random(f"{training.seed}/{step}/context")
    context, origins = chance.randint(data.shortest_context, data.context), None
    if training.swapped and chance.random() < training.swapped:
        context, origins = 1, chance.choices(range(length), k=length)
    start = context - 1 if origins is None else origins[context - 1]
    predicted = range(length - context)
    decoded = sorted(
        chance.sample(predicted, min(training.decoded or len(predicted), len(predicted)))
    )
    shown = _shown(length, size, context, training.blind, chance) if training.blind else None
    reached = (2 + step) / (11 + step)  # the average follows faster at the start of a run
    inputs = _Inputs(
        frames=frames,
        posed=posed,
        decoded=torch.tensor(decoded),
        shown=shown,
        origins=None if origins is None else torch.tensor(origins),
        motion=motion,
        posed_motion=posed_motion,
        rate=torch.tensor(learning_rate(training, step)),
        beta=torch.tensor(training.beta * kl_share(training, step)),
        share=torch.tensor(1 - min(training.average, reached)),
    )
    plan = _Plan(context, start, origins is not None, step < training.autoencoded_steps)
    there = [None if given is None else given.to(device) for given in inputs]
    return plan, _Inputs(*there)  # type: ignore[arg-type]


def _shown(length: int, size: int, context: int, blind: float, chance: random.Random) -> Tensor:
    """Draw whose features the predictor gets, `(T, B, 1)`: all observed frames', others at times.

    Where it does not see the frame before, it must rely on its latents and on its memory, as in a
    rollout, whose frames it drew itself.
    """
    generator = torch.Generator().manual_seed(chance.getrandbits(63))
    drawn = torch.rand(length, size, 1, generator=generator)
    drawn[:context] = 1
    return (drawn >= blind).float()


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Rise over the warm-up, then fall along half a cosine to a hundredth at the last step."""
    rise = min(1.0, (step + 1) / max(1, training.warmup))
    fall = 0.5 + 0.5 * math.cos(math.pi * step / training.steps)
    return training.learning_rate * rise * max(fall, 0.01)


def kl_share(training: TrainingConfig, step: int) -> float:
    """Return the share of `beta` in force: none over the warm-up, then as long a linear rise."""
    if not training.kl_warmup:
        return 1.0
    return min(1.0, max(0.0, step / training.kl_warmup - 1))
