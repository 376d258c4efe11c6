"""Training: a generator of `Step` records over a run folder.

A run folder is a model folder, holding the weights to keep so far, with a `training` folder inside:
the state from which the run resumes, on a CPU bit for bit, and a log with a line a validation.
Batches, noise and context lengths are drawn from the seed and the step's number, so a resumed run
sees what an uninterrupted one would have seen.
"""

import json
import math
import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from drsvg_cli.config import Recipe
from drsvg_cli.data.dataset import Sequences, as_clips
from drsvg_cli.device import usable_cores
from drsvg_cli.errors import ResourceError, TrainingError, WeightsError
from drsvg_cli.evaluation.lpips import LPIPS
from drsvg_cli.evaluation.metrics import CEILING, psnr
from drsvg_cli.evaluation.prediction import Judge, score
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.storage import write_atomically
from drsvg_cli.training.step import Learner, moved
from drsvg_cli.weights.files import load_state, save_model, save_state
from drsvg_cli.weights.model_folder import WEIGHTS_FILE

STATE_FILE = Path("training", "state.pt")
LOG_FILE = Path("training", "log.jsonl")
VALIDATION_SAMPLES = 4
MOST_WORKERS = 6
"""Threads that prepare batches for a GPU."""


class Validation(NamedTuple):
    """Means over held-back sequences, samples and predicted frames."""

    predicted: float
    """PSNR in dB, not of the best sample."""
    copied: float
    """PSNR of the last observed frame, repeated."""
    lpips: float
    """Of the frames at `evaluation.prediction.marks`, like the next one."""
    energy: float
    """The energy score of the samples, lower is better: by it weights are chosen."""


class Step(NamedTuple):
    """What one step of training did."""

    number: int
    """Steps done so far; 0 is the validation before the first one."""
    terms: dict[str, float]
    """The terms of the loss, before their weights; empty for number 0."""
    rate: float
    """Frames a second of computing: without waiting for a batch and how it moves, validating or
    saving. A second view counts once, with the first."""
    validation: Validation | None
    kept: bool
    """Whether the model folder now holds these weights."""


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

    One process at a time may run on a folder: hold `storage.locked(folder)`.
    """
    origin = dict(origin or {})
    learner = Learner(recipe, device, start)
    if resume:
        learner.restore(_checked_state(folder, recipe, origin))
        _rewind_log(folder, learner)
    elif (folder / WEIGHTS_FILE).exists() or (folder / STATE_FILE).exists():
        raise TrainingError(f"{folder} already holds a model; resume it or choose another folder")
    else:
        # At once, so that a run can be resumed from its first moment and a full disk shows early.
        _save(learner, recipe, folder, origin)
    training = recipe.training
    batches = _prefetched(sequences, recipe, learner.step, device)
    try:
        if learner.best == -math.inf:
            yield _validated(learner, recipe, held, folder, Step(0, {}, 0.0, None, False))
        for frames, motion in batches:
            if training.patience and learner.stale >= training.patience:
                _save(learner, recipe, folder, origin)
                return
            began = time.perf_counter()
            terms = learner.learn(frames, motion)
            elapsed = time.perf_counter() - began
            learner.seconds += elapsed
            rate = frames.shape[0] * training.batch / elapsed
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
    if not {"origin", "recipe"} <= state.keys():
        raise WeightsError(f"{folder / STATE_FILE} is no training state of drsvg")
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


def _save(learner: Learner, recipe: Recipe, folder: Path, origin: dict[str, str]) -> None:
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
    sequences: Sequences, recipe: Recipe, done: int, device: torch.device
) -> Generator[tuple[Tensor, Tensor | None], None, None]:
    """Prepare batches for the steps after `done` in the background, and bring them to the device.

    With each comes how it moves, for a model that wants to know (`step.moved`).
    For a GPU by several threads, since it learns faster than one of them draws, and beside what it
    computes. A step must have ended before the next batch is asked for.
    """
    copying = torch.cuda.Stream(device) if device.type == "cuda" else None
    workers = min(MOST_WORKERS, usable_cores()) if copying else 1
    training = recipe.training

    def sent(frames: Tensor) -> Tensor:
        return frames.pin_memory().to(device, non_blocking=True)

    def prepared(step: int) -> tuple[Tensor, Tensor | None, torch.cuda.Event | None]:
        batch = sequences.batch(training.batch, seed=f"{training.seed}/{step}")
        motion = moved(recipe, batch)
        if copying is None:
            return batch, motion, None
        with torch.cuda.stream(copying):
            there = sent(batch), None if motion is None else sent(motion)
            return *there, copying.record_event()

    with ThreadPoolExecutor(workers) as pool:
        steps = iter(range(done, training.steps))
        ahead = deque(pool.submit(prepared, step) for step in islice(steps, workers + 1))
        while ahead:
            batch, motion, copied = ahead.popleft().result()
            ahead.extend(pool.submit(prepared, step) for step in islice(steps, 1))
            if copied is not None:
                copied.wait()
            yield batch.to(device), None if motion is None else motion.to(device)


def _validated(learner: Learner, recipe: Recipe, held: Tensor, folder: Path, step: Step) -> Step:
    """Validate, keep the weights if they are the best so far or the last ones are to be kept."""
    result = validate(learner.average, held, recipe.data.context)
    better = -result.energy > learner.best
    learner.best = max(learner.best, -result.energy)
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
            log.flush()
            os.fsync(log.fileno())  # the state, which is written later, must not outlive it
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}") from None


def _rewind_log(folder: Path, learner: Learner) -> None:
    """Drop what a killed run wrote after its last checkpoint; a run without a validation has none.

    A line that the disk had no room for, or only half of it, goes as well.
    """
    done = learner.step if learner.best > -math.inf else -1
    lines = read_log(folder)
    kept = [line for line in lines if line["step"] <= done]
    if done >= 0 and not kept:
        raise TrainingError(
            f"{folder / LOG_FILE} is gone, without which the run cannot go on; begin a new one "
            "from its weights"
        )
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
    device, horizon = next(model.parameters()).device, held.shape[1] - context
    judge = Judge(LPIPS(device), similarity=False, channels=held.shape[2], device=device)
    scores = score(
        PaperPredictor(model, fit="stretch"),
        as_clips((held * 255).round().to(torch.uint8)),
        horizon=horizon,
        seeds=range(VALIDATION_SAMPLES),
        judge=judge,
    )
    copied = psnr(held[:, context - 1 : context], held[:, context:]).clamp(max=CEILING)
    means = (float(each.mean()) for each in (scores.psnr, copied, scores.lpips, scores.energy))
    return Validation(*means)
