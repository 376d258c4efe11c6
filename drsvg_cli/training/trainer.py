"""The training loop: a generator of `Step` records over a run folder.

A run folder is a model folder, holding the weights to keep so far, with a `training` folder inside:
the state from which the run resumes, on a CPU bit for bit, and a log with a line a validation. The
loop knows nothing of models: `task.Task` says what is trained.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple

import torch

from drsvg_cli import __version__
from drsvg_cli.config import Recipe, digest, training_facts
from drsvg_cli.errors import TrainingError, WeightsError
from drsvg_cli.training import distributed
from drsvg_cli.training.run_folder import (
    STATE_FILE,
    append_to_log,
    checked_state,
    checkpoint_kept,
    rewind_log,
)
from drsvg_cli.training.task import Batch, Task, Validation
from drsvg_cli.weights.files import save_model, save_state
from drsvg_cli.weights.model_folder import WEIGHTS_FILE

Keep = Literal["best", "last"]
"""Which weights a run leaves: those that validated best, or the last ones. Where sequences are
drawn without end nothing can be learned by heart, and the best score is that of an early, cautious
model."""


_KEPT = ("keep", "patience", "start", "history", "number", "best", "stale", "seconds")
"""What a run's state holds beside the learner's."""


class Step(NamedTuple):
    """What one step of training did."""

    number: int
    """Steps done so far; 0 is the validation before the first one."""
    terms: dict[str, float]
    """What the learner reports; empty for number 0."""
    rate: float
    """Sequences a second, without waiting for a batch, validating or saving."""
    validation: Validation | None
    kept: bool
    """Whether the model folder now holds these weights."""


def fit(
    recipe: Recipe,
    task: Task[Batch],
    folder: Path,
    *,
    origin: Mapping[str, str] | None = None,
    start: str = "",
    history: Sequence[Mapping[str, Any]] = (),
    keep: Keep = "last",
    patience: int = 0,
    resume: bool = False,
) -> Generator[Step, None, None]:
    """Train, and yield a record a step; closing the generator saves the state first.

    The weights' header tells how they came to be: `history`, and an entry for this run.

    Args:
        recipe: goes into the model folder, and says how many steps there are, and how often to
            validate and to save.
        task: what is trained.
        folder: the run folder.
        origin: what the sequences are made from, by the name of each clip; a resumed run must have
            the same.
        start: the SHA-256 of the weights that the learner starts from; empty for random ones.
        history: the history of those weights.
        keep: which weights the folder is left with.
        patience: validations without a better score before a run ends early; 0 never ends early.
        resume: continue from the folder's state, with the `start`, `history`, `keep` and `patience`
            that the run began with.

    Raises:
        TrainingError: what the learner reports is not finite, the state does not belong to the
            recipe, or the folder already holds a model and `resume` is not set.
        WeightsError: there is no state to resume from.
        ResourceError: the folder cannot be written to; the last checkpoint is kept.

    One process at a time may run on a folder: hold `storage.locked(folder)`.
    """
    run = _Run(recipe, task, folder, dict(origin or {}), keep, patience, start, [*history])
    training = recipe.training
    if resume:
        run.restore()
    else:
        run.begin()
    batches = _prefetched(task.batch, run.number, training.steps)
    try:
        if run.best == -math.inf:
            yield run.validated(Step(0, {}, 0.0, None, False))
        for batch in batches:
            if run.patience and run.stale >= run.patience:
                run.save()
                return
            began = time.perf_counter()
            terms = task.learner.step(batch, run.number)
            elapsed = time.perf_counter() - began
            _check_finite(terms, run.number)
            run.number += 1
            run.seconds += elapsed
            step = Step(run.number, terms, training.batch / elapsed, None, False)
            if step.number % training.validate_every == 0 or step.number == training.steps:
                step = run.validated(step)
            if step.number % training.checkpoint_every == 0 or step.number == training.steps:
                run.save()
            yield step
    except GeneratorExit:
        run.save()
        raise
    finally:
        batches.close()


@dataclass
class _Run(Generic[Batch]):
    """A run and how far it has come."""

    recipe: Recipe
    task: Task[Batch]
    folder: Path
    origin: dict[str, str]
    keep: Keep
    patience: int
    start: str
    history: list[Mapping[str, Any]]
    number: int = 0
    best: float = -math.inf
    stale: int = 0
    seconds: float = 0.0

    def begin(self) -> None:
        """Save the state at once: it can be resumed from now on, and a full disk shows early."""
        taken = any((self.folder / each).exists() for each in (WEIGHTS_FILE, STATE_FILE))
        if taken and not distributed.rank():
            raise TrainingError(
                f"{self.folder} already holds a model; resume it or choose another folder"
            )
        self.save()

    def save(self) -> None:
        """Write all that is needed to go on, where this is the first process."""
        if distributed.rank():
            return
        state = {name: getattr(self, name) for name in _KEPT}
        state |= {"learner": self.task.learner.state(), "origin": self.origin}
        with checkpoint_kept(self.folder):
            save_state(self.folder / STATE_FILE, state | {"facts": training_facts(self.recipe)})

    def restore(self) -> None:
        """Go on from what was saved."""
        state = checked_state(self.folder, self.recipe, self.origin)
        try:
            self.task.learner.load_state(state["learner"])
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                f"{self.folder / STATE_FILE} is damaged, or of another model ({reason}); begin a "
                "new run in another folder"
            ) from None
        for name in _KEPT:
            setattr(self, name, state[name])
        if not distributed.rank():
            rewind_log(self.folder, last=self.number if self.best > -math.inf else -1)

    def validated(self, step: Step) -> Step:
        """Validate; keep the weights if they are the best, or if the last ones are to be kept."""
        result = Validation(0.0, {}) if distributed.rank() else self.task.validate()
        score = distributed.agreed(result.score)
        better = score > self.best
        self.best = max(self.best, score)
        self.stale = 0 if better else self.stale + 1
        kept = better or self.keep == "last"
        if distributed.rank():
            return step._replace(kept=kept)
        line = {
            "step": step.number,
            "seconds": self.seconds,
            "sequences_per_second": step.rate,
            **step.terms,
            "score": result.score,
            **result.measured,
        }
        with checkpoint_kept(self.folder):
            if kept:
                weights = self.task.learner.export()
                save_model(self.folder, self.recipe, weights, [*self.history, self._entry()])
            append_to_log(self.folder, line)
        return step._replace(validation=result, kept=kept)

    def _entry(self) -> dict[str, Any]:
        """Say what this run did to the weights it started from."""
        return {
            "recipe": digest(self.recipe),
            "steps": self.number,
            "start": self.start,
            "drsvg": __version__,
        }


def _check_finite(terms: dict[str, float], number: int) -> None:
    if not all(map(math.isfinite, terms.values())):
        words = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
        raise TrainingError(
            f"the loss or its gradient is not finite at step {number} ({words}); the last good "
            "weights are kept. Start a new run from them with a lower learning rate"
        )


def _prefetched(
    draw: Callable[[int], Batch], first: int, steps: int
) -> Generator[Batch, None, None]:
    """Yield the batches of the steps from `first` on, drawn up to two ahead."""
    with ThreadPoolExecutor(1) as pool:
        ahead = deque(pool.submit(draw, number) for number in range(first, min(first + 2, steps)))
        for number in range(first + 2, steps + 2):
            batch = ahead.popleft().result()
            if number < steps:
                ahead.append(pool.submit(draw, number))
            yield batch
