"""The folder of a run on disk: its state, its log, and the facts that a resumed run must share."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from drsvg_cli.config import Recipe, training_facts
from drsvg_cli.errors import ResourceError, TrainingError, WeightsError
from drsvg_cli.storage import write_atomically
from drsvg_cli.weights.files import load_state

STATE_FILE = Path("training", "state.pt")
LOG_FILE = Path("training", "log.jsonl")


def checked_state(folder: Path, recipe: Recipe, origin: dict[str, str]) -> dict[str, Any]:
    """Load the state of a run that used the same recipe and the same clips.

    Raises:
        WeightsError: there is none, or it is not one of this version of drsvg.
        TrainingError: recipe or clips are others.
    """
    state = load_state(folder / STATE_FILE)
    if not {"learner", "facts", "origin", "history"} <= state.keys():
        raise WeightsError(f"{folder / STATE_FILE} is not a training state of this drsvg version")
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
    try:
        with path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
            log.flush()
            os.fsync(log.fileno())
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}") from None


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
