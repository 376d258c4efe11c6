"""What a command says, as records for a program that shows it: `drsvg serve`."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import RenderableType
from rich.progress import Progress, TaskID

from drsvg_cli.commands.console import Reporter, one_line

Tell = Callable[[dict[str, Any]], None]
OFTEN = 0.1
"""Seconds between two records of the same bar."""


class Events(Reporter):
    """Tells of notes and of progress as records, and prints nothing.

    A note is `{"note": text}`, a bar `{"text": its description, "share": 0 to 1 or None}`.
    """

    def __init__(self, tell: Tell) -> None:
        """Take whom to tell."""
        super().__init__(as_json=False, quiet=False)
        self._tell = tell
        logging.getLogger("drsvg_cli").addHandler(_Notes(self))

    def note(self, text: str) -> None:
        """Say something in passing."""
        self._tell({"note": one_line(text)})

    def result(self, record: dict[str, Any], *lines: RenderableType) -> None:
        """Say nothing: results are files."""

    @contextmanager
    def progress(self, *, in_bytes: bool = False) -> Iterator[Progress]:
        """Tell of bars instead of drawing them."""
        yield _Bars(self._tell)


class _Bars(Progress):
    """Bars that are told, not drawn."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(disable=True)
        self._tell, self._said, self._last = tell, "", 0.0

    def add_task(self, description: str, *args: Any, **fields: Any) -> TaskID:
        """Add a bar."""
        task = super().add_task(description, *args, **fields)
        self._tell_of(task)
        return task

    def update(self, task_id: TaskID, *args: Any, **fields: Any) -> None:
        """Change a bar."""
        super().update(task_id, *args, **fields)
        self._tell_of(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Move a bar on."""
        super().advance(task_id, advance)
        self._tell_of(task_id)

    def _tell_of(self, task_id: TaskID) -> None:
        task = next(task for task in self.tasks if task.id == task_id)
        now = time.monotonic()
        if task.description != self._said or now - self._last > OFTEN or task.finished:
            self._said, self._last = task.description, now
            share = task.completed / task.total if task.total else None
            self._tell({"text": task.description, "share": share})


class _Notes(logging.Handler):
    """Makes notes of what the library warns of."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one message on."""
        self._reporter.note(f"warning: {record.getMessage()}")
