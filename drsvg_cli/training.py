"""Training: a generator of `Step` records over a run folder.

A run folder is a model folder, holding the weights to keep so far, with a `training` folder inside:
the state from which the run resumes, on a CPU bit for bit, and a log with a line a validation.
Batches, noise and context lengths are drawn from the seed and the step's number, so a resumed run
sees what an uninterrupted one would have seen.
"""

import json
import math
import random
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from drsvg_cli.checkpoint import blueprint, load_state, save_model, save_state, write_atomically
from drsvg_cli.config import Recipe, TrainingConfig
from drsvg_cli.device import fast_in_half
from drsvg_cli.errors import ResourceError, TrainingError
from drsvg_cli.folder import WEIGHTS_FILE
from drsvg_cli.metrics import CEILING, psnr
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.objective import discriminator_loss, model_loss
from drsvg_cli.rollout import predict
from drsvg_cli.sequences.offers import Sequences

STATE_FILE = Path("training", "state.pt")
LOG_FILE = Path("training", "log.jsonl")
VALIDATION_SAMPLES = 4
VALIDATED_AT_ONCE = 64
"""Sequences rolled out together, one sample after the other."""
EPSILON = 1e-14
"""Adam's: the loss is a mean over pixels, and gradients of the recurrent parts near 1e-10 were
measured. Under the usual 1e-8 such a part hardly moves."""


class Validation(NamedTuple):
    """Mean PSNR in dB over held-back sequences and predicted frames."""

    predicted: float
    """Of the mean sample, not the best one."""
    copied: float
    """Of the last observed frame, repeated."""


class Step(NamedTuple):
    """What one step of training did."""

    number: int
    """Steps done so far; 0 is the validation before the first one."""
    terms: dict[str, float]
    """The terms of the loss, before their weights; empty for number 0."""
    rate: float
    """Frames a second of computing: without waiting for a batch, validating or saving."""
    validation: Validation | None
    kept: bool
    """Whether the model folder now holds these weights."""


_NUMBERS = ("step", "best", "stale", "seconds")


class _Learner:
    """All that changes during training."""

    def __init__(self, recipe: Recipe, device: torch.device, start: dict[str, Tensor] | None):
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
        self.optimizer = _adam(self.model, training)
        self.opponent = _adam(self.discriminator, training)
        self.step = 0
        self.best = -math.inf
        self.stale = 0
        self.seconds = 0.0

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "average": self.average,
            "discriminator": self.discriminator,
            "optimizer": self.optimizer,
            "opponent": self.opponent,
        }

    def state(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {name: part.state_dict() for name, part in self._parts().items()} | numbers

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name in _NUMBERS:
            setattr(self, name, state[name])


def _adam(module: nn.Module, training: TrainingConfig) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=training.learning_rate, eps=EPSILON, fused=True)


def fit(
    recipe: Recipe,
    sequences: Sequences,
    held: Tensor,
    folder: Path,
    *,
    device: torch.device,
    start: dict[str, Tensor] | None = None,
    origin: Mapping[str, str] | None = None,
    resume: bool = False,
) -> Generator[Step, None, None]:
    """Train, and yield a record a step; closing the generator saves the state first.

    Args:
        recipe: what to train and how.
        sequences: gives batches.
        held: fixed sequences `(N, T, C, S, S)` in [0, 1] to validate on.
        folder: the run folder; its model is replaced whenever validation improves, or by the last
            weights (`training.keep`).
        device: where to compute.
        start: weights to start from; random ones if left out.
        origin: what the sequences are made from, by the name of each clip; a resumed run must have
            the same.
        resume: continue from the folder's state.

    Raises:
        ConfigError: the model is larger than this machine could ever hold.
        TrainingError: the loss is not finite, the state does not belong to the recipe, or the
            folder already holds a model and `resume` is not set.
        WeightsError: there is no state to resume from.
        ResourceError: the folder cannot be written to; the last checkpoint is kept.

    One process at a time may run on a folder: hold `lock.claimed(folder)`.
    """
    origin = dict(origin or {})
    learner = _Learner(recipe, device, start)
    if resume:
        learner.restore(_checked_state(folder, recipe, origin))
        _rewind_log(folder, learner)
    elif (folder / WEIGHTS_FILE).exists() or (folder / STATE_FILE).exists():
        raise TrainingError(f"{folder} already holds a model; resume it or choose another folder")
    else:
        # At once, so that a run can be resumed from its first moment and a full disk shows early.
        _save(learner, recipe, folder, origin)
    training = recipe.training
    batches = _prefetched(sequences, training, learner.step)
    try:
        if learner.best == -math.inf:
            yield _validated(learner, recipe, held, folder, Step(0, {}, 0.0, None, False))
        for frames in batches:
            if training.patience and learner.stale >= training.patience:
                _save(learner, recipe, folder, origin)
                return
            began = time.perf_counter()
            terms = _learn(learner, recipe, frames.to(device))
            elapsed = time.perf_counter() - began
            learner.seconds += elapsed
            rate = frames.shape[0] * frames.shape[1] / elapsed
            step = Step(learner.step, terms, rate, None, False)
            if step.number % training.validate_every == 0 or step.number == training.steps:
                step = _validated(learner, recipe, held, folder, step)
            if step.number % training.checkpoint_every == 0 or step.number == training.steps:
                _save(learner, recipe, folder, origin)
            yield step
    except GeneratorExit:
        _save(learner, recipe, folder, origin)
        raise
    finally:
        batches.close()


def _checked_state(folder: Path, recipe: Recipe, origin: dict[str, str]) -> dict[str, Any]:
    state = load_state(folder / STATE_FILE)
    for difference in _differences(state["origin"], origin):
        raise TrainingError(
            f"{folder} was trained on other clips: {difference}; resume with the same clips, or "
            "start a new folder"
        )
    # A setting that is newer than the run had its default.
    before, now = _comparable(Recipe("")) | state["recipe"], _comparable(recipe)
    for key in now:
        if before[key] != now[key]:
            raise TrainingError(
                f"{folder} was trained with {key} = {before[key]}, not {now[key]}; "
                "resume with the same recipe, or start a new folder"
            )
    return state


def _differences(before: dict[str, str], now: dict[str, str]) -> Iterable[str]:
    """Name each clip that is not what it was."""
    yield from (f"{name} is missing" for name in before if name not in now)
    yield from (f"{name} is new" for name in now if name not in before)
    for name in before:
        if name in now and before[name] != now[name]:
            yield f"{name} has changed, or is used otherwise"


def _comparable(recipe: Recipe) -> dict[str, Any]:
    """Flatten what must not change between a run and its resumption."""
    tables = {name: asdict(getattr(recipe, name)) for name in ("model", "data", "training")}
    flat = {
        f"{name}.{key}": value for name, table in tables.items() for key, value in table.items()
    }
    for free in ("training.validate_every", "training.checkpoint_every", "training.patience"):
        del flat[free]
    return flat


def _save(learner: _Learner, recipe: Recipe, folder: Path, origin: dict[str, str]) -> None:
    facts = {"recipe": _comparable(recipe), "origin": origin}
    with _explained_loss(folder):
        save_state(folder / STATE_FILE, learner.state() | facts)


@contextmanager
def _explained_loss(folder: Path) -> Iterator[None]:
    """Say, where something cannot be saved, what is still there."""
    try:
        yield
    except ResourceError as error:
        if not (folder / STATE_FILE).exists():
            raise
        raise ResourceError(
            f"{error}; the checkpoint before is kept: make room, then go on with --resume"
        ) from None


def _prefetched(
    sequences: Sequences, training: TrainingConfig, done: int
) -> Generator[Tensor, None, None]:
    """Prepare batches for the steps after `done` in the background, two ahead."""

    def prepared(step: int) -> Tensor:
        return sequences.batch(training.batch, seed=f"{training.seed}/{step}")

    with ThreadPoolExecutor(1) as worker:
        ahead = deque(
            worker.submit(prepared, step) for step in range(done, min(done + 2, training.steps))
        )
        for step in range(done, training.steps):
            batch = ahead.popleft().result()
            if step + 2 < training.steps:
                ahead.append(worker.submit(prepared, step + 2))
            yield batch


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


def _learn(learner: _Learner, recipe: Recipe, batch: Tensor) -> dict[str, float]:
    """Take one step with the model, one with the discriminator, and average the weights."""
    training, data = recipe.training, recipe.data
    frames = batch.float() / 255 if batch.dtype == torch.uint8 else batch
    chance = random.Random(f"{training.seed}/{learner.step}/context")
    context, origins = chance.randint(data.shortest_context, data.context), None
    if training.swapped and chance.random() < training.swapped:
        context, origins = 1, chance.choices(range(len(frames)), k=len(frames))
    predicted = range(len(frames) - context)
    decoded = sorted(
        chance.sample(predicted, min(training.decoded or len(predicted), len(predicted)))
    )
    for optimizer in (learner.optimizer, learner.opponent):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(training, learner.step)
    learner.model.train()
    with torch.autocast(frames.device.type, torch.bfloat16, enabled=fast_in_half(frames.device)):
        terms, pose = model_loss(
            learner.model,
            frames,
            context=context,
            decoded=torch.tensor(decoded, device=frames.device),
            noise=BatchNoise(training.seed * 1_000_003 + learner.step),
            discriminator=learner.discriminator,
            likelihood=training.likelihood,
            shown=_shown(frames, context, training.blind, chance),
            origins=origins,
            autoencoded=learner.step < training.autoencoded_steps,
            closed_loop=training.closed_loop,
            prior_dropout=training.prior_dropout,
        )
    beta = training.beta * kl_share(training, learner.step)
    loss = terms.total(
        beta=beta,
        adversarial=training.adversarial,
        drawing=training.drawing,
        content_kl=training.content_kl,
        matching=training.matching,
        motion=training.motion,
    )
    learner.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(learner.model.parameters(), training.clip)
    # Read together: an accelerator would be waited for with each.
    *values, total, length = torch.stack([*terms, loss, norm]).detach().tolist()
    report = dict(zip(terms._fields, values, strict=True))
    _check_finite(total + length, learner.step, report)
    learner.optimizer.step()
    report["discriminator"] = _oppose(learner, pose)
    learner.step += 1
    _follow(learner, training.average)
    return report


def _shown(frames: Tensor, context: int, blind: float, chance: random.Random) -> Tensor | None:
    """Draw whose features the predictor gets, `(T, B, 1)`: all observed frames', others at times.

    Where it does not see the frame before, it must rely on its latents and on its memory, as in a
    rollout, whose frames it drew itself.
    """
    if not blind:
        return None
    generator = torch.Generator().manual_seed(chance.getrandbits(63))
    drawn = torch.rand(*frames.shape[:2], 1, generator=generator)
    drawn[:context] = 1
    return (drawn >= blind).to(frames)


def _check_finite(value: float, step: int, report: dict[str, float]) -> None:
    if not math.isfinite(value):
        terms = ", ".join(f"{name} {value:.3g}" for name, value in report.items())
        raise TrainingError(
            f"the loss or its gradient is not finite at step {step} ({terms}); the last good "
            "weights are kept. Start a new run from them with a lower learning rate"
        )


def _oppose(learner: _Learner, pose: Tensor) -> float:
    """Take one step with the discriminator (Eq. 5)."""
    if pose.shape[1] < 2:
        return 0.0
    loss = discriminator_loss(learner.discriminator, pose)
    learner.opponent.zero_grad(set_to_none=True)
    loss.backward()
    value = float(loss.detach())
    _check_finite(value, learner.step, {"discriminator": value})
    learner.opponent.step()
    return value


@torch.no_grad()
def _follow(learner: _Learner, decay: float) -> None:
    """Move the averaged weights towards the newest ones; faster at the start of a run."""
    share = 1 - min(decay, (1 + learner.step) / (10 + learner.step))
    pairs = zip(
        learner.average.state_dict().values(), learner.model.state_dict().values(), strict=True
    )
    for average, newest in pairs:
        if average.is_floating_point():
            average.lerp_(newest, share)
        else:
            average.copy_(newest)


def _validated(learner: _Learner, recipe: Recipe, held: Tensor, folder: Path, step: Step) -> Step:
    """Validate, keep the weights if they are the best so far or the last ones are to be kept."""
    result = validate(learner.average, held, recipe.data.context)
    better = result.predicted > learner.best
    learner.best = max(learner.best, result.predicted)
    learner.stale = 0 if better else learner.stale + 1
    kept = better or recipe.training.keep == "last"
    if kept:
        with _explained_loss(folder):
            save_model(folder, recipe, learner.average.state_dict())
    line = {
        "step": step.number,
        "seconds": learner.seconds,
        "frames_per_second": step.rate,
        **step.terms,
        **result._asdict(),
    }
    with _explained_loss(folder):
        _append_to_log(folder, line)
    return step._replace(validation=result, kept=kept)


def _append_to_log(folder: Path, line: dict[str, Any]) -> None:
    path = folder / LOG_FILE
    try:
        with path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}") from None


def _rewind_log(folder: Path, learner: _Learner) -> None:
    """Drop what a killed run wrote after its last checkpoint; a run without a validation has none.

    A line that the disk had no room for, or only half of it, goes as well.
    """
    done = learner.step if learner.best > -math.inf else -1
    lines = read_log(folder)
    kept = [line for line in lines if line["step"] <= done]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    path = folder / LOG_FILE
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read a run's validations, from the one before the first step on; what is torn is left out."""
    try:
        lines = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError):
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict) and "step" in line]


def validate(model: DRSVG, held: Tensor, context: int) -> Validation:
    """Predict held-back sequences `(N, T, C, S, S)` from their first `context` frames."""
    device = next(model.parameters()).device
    observed, truth = held[:, :context].to(device), held[:, context:].to(device)
    predicted = torch.cat(
        [
            predict(model, clip, truth.shape[1], seeds=range(VALIDATION_SAMPLES)).frames
            for clip in observed.split(VALIDATED_AT_ONCE)
        ]
    )
    scores = psnr(predicted, truth[:, None]).clamp(max=CEILING)
    copied = psnr(observed[:, -1:], truth).clamp(max=CEILING)
    return Validation(float(scores.mean()), float(copied.mean()))
