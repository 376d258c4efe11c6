"""The folder of a run on disk: its state, its log, and the facts that a resumed run must share."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from drsvg_cli.config import Recipe, training_facts
from drsvg_cli.errors import ResourceError, TrainingError, WeightsError
from drsvg_cli.storage import read_own, writable, write_atomically
from drsvg_cli.weights.files import load_state

STATE_FILE = Path("training", "state.pt")
LOG_FILE = Path("training", "log.jsonl")
LARGEST_LOG = 2**26
"""Bytes; a validation has some hundreds."""
_KINDS: dict[str, type] = {
    **{"learner": dict, "facts": dict, "origin": dict, "history": list, "start": str},
    **{"number": int, "stale": int, "best": float, "seconds": float},
}


def checked_state(folder: Path, recipe: Recipe, origin: dict[str, str]) -> dict[str, Any]:
    """Load the state of a run that used the same recipe and the same clips.

    Raises:
        WeightsError: there is none, or it is not one of this version of drsvg.
        TrainingError: recipe or clips are others.
    """
    state = load_state(folder / STATE_FILE)
    wrong = [name for name, kind in _KINDS.items() if not isinstance(state.get(name), kind)]
    try:
        json.dumps([state.get(name) for name in ("origin", "facts", "history")])
    except (TypeError, ValueError, RecursionError):  # a tensor, say, among the words and numbers
        wrong = ["what it was made from"]
    if wrong:
        raise WeightsError(
            f"{folder / STATE_FILE} is not a training state of this drsvg version: {wrong[0]} is "
            "missing or of the wrong type; begin a new run in another folder"
        )
    for difference in _differences(state["origin"], origin):
        raise TrainingError(
            f"{folder} was trained on other clips: {difference}; resume with the same clips, or "
            "start a new folder"
        )
    # A key that is newer than the run had its default.
    before, now = training_facts(Recipe("")) | state["facts"], training_facts(recipe)
    for key, value in now.items():
        if before.get(key, value) != value:
            raise TrainingError(
                f"{folder} was trained with {key} = {before[key]}, not {value}; "
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


@contextmanager
def checkpoint_kept(folder: Path) -> Iterator[None]:
    """Say, where something cannot be saved, what is still there."""
    try:
        yield
    except ResourceError as error:
        if not (folder / STATE_FILE).exists():
            raise
        raise ResourceError(
            f"{error}; the checkpoint before is kept: make room, then go on with --resume"
        ) from None


def append_to_log(folder: Path, line: dict[str, Any]) -> None:
    """Write a line for good: the state, which is written later, must not outlive it.

    Raises:
        ResourceError: it cannot be written.
    """
    path = folder / LOG_FILE
    with writable(path), path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
        log.flush()
        os.fsync(log.fileno())


def rewind_log(folder: Path, *, last: int) -> None:
    """Drop what a killed run wrote after its last checkpoint.

    Args:
        folder: of the run.
        last: the last step that counts; -1 for a run without a validation.

    Raises:
        TrainingError: the log is gone.
    """
    lines = read_log(folder)
    kept = [line for line in lines if line["step"] <= last]
    if last >= 0 and not kept:
        raise TrainingError(
            f"{folder / LOG_FILE} is gone, without which the run cannot go on; begin a new one "
            "from its weights"
        )
    text = "".join(json.dumps(line) + "\n" for line in kept)
    path = folder / LOG_FILE
    if path.exists() and _log(folder) != text:
        write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read a run's validations, from the one before the first step on; what is torn is left out.

    Raises:
        TrainingError: a line that is whole is of something else, or the file cannot be read.
    """
    found = []
    for number, text in enumerate(_log(folder).splitlines(), start=1):
        with suppress(ValueError, RecursionError):
            line = json.loads(text)
            if not _is_validation(line):
                raise TrainingError(
                    f"line {number} of {folder / LOG_FILE} is no validation of drsvg; remove the "
                    "line"
                )
            found.append(line)
    return found


def _log(folder: Path) -> str:
    """Read a run's log; empty where there is none."""
    try:
        return read_own(folder / LOG_FILE, limit=LARGEST_LOG).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise TrainingError(f"cannot read {folder / LOG_FILE}: {error.strerror}") from None


def _is_validation(line: object) -> bool:
    """Tell whether a line of a log has what is read of it: finite numbers."""
    if not isinstance(line, dict) or not isinstance(line.get("step"), int):
        return False
    needed = [line.get("seconds", math.nan), line.get("score", math.nan)]
    return all(isinstance(number, int | float) for number in [*needed, *line.values()]) and all(
        abs(number) < math.inf for number in needed
    )


def load_parts(parts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Load modules and optimisers; of an optimiser the moments, since its settings are the run's.

    Raises:
        RuntimeError, LookupError, TypeError, ValueError, AttributeError: the state does not fit.
    """
    for name, part in parts.items():
        given = state[name]
        if isinstance(part, torch.optim.Optimizer):
            own = part.state_dict()["param_groups"]
            parameters = [each for group in part.param_groups for each in group["params"]]
            for number, moments in given["state"].items():
                for kind, moment in moments.items():
                    if moment.shape not in (parameters[number].shape, torch.Size()):
                        raise ValueError(f"{kind} of the {name} does not fit the model")
            given = {"state": given["state"], "param_groups": own}
        part.load_state_dict(given)
