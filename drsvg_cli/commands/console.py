"""What a command says: to a person or a program, or as records to `drsvg serve`."""

import json
import logging
import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from drsvg_cli.network import Tick

JOINERS = "\u200c\u200d"
"""Signs without a width that some scripts, and emoji, are written with."""
WIDEST = 10_000
"""Columns of a table in a file or a pipe, at most."""
Tell = Callable[[dict[str, Any]], None]
OFTEN = 0.1
"""Seconds between two records of the same bar."""


def one_line(text: str) -> str:
    """Escape what a file name may hold and a terminal obeys: line breaks, control characters.

    Spaces of all kinds stay, or a command that is printed would name another file.
    """
    return "".join(
        sign
        if sign.isprintable() or unicodedata.category(sign) == "Zs" or sign in JOINERS
        else sign.encode("unicode_escape").decode()
        for sign in text
    )


class _Escaping(Console):
    """Prints no control character of a name, in whatever it is: a table, a line, a bar."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Escape what is text; what moves the cursor or colours is kept apart from it."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                lines = map(one_line, segment.text.split("\n"))
                yield segment._replace(text="\n".join(lines))


def _console(*, stderr: bool) -> Console:
    """Speak to a stream; where it is no terminal, tables are as wide as they need."""
    console = _Escaping(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDEST
    return console


class Reporter:
    """Speaks to a person, to a program (`--json`), or not at all (`--quiet`)."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        """Choose how to speak."""
        self.as_json = as_json
        self._quiet = quiet
        self._drawing = False
        self._out, self._err = _console(stderr=False), _console(stderr=True)
        # The library warns of a damaged clip, say, which is no more than a note.
        logging.getLogger("drsvg_cli").setLevel(logging.ERROR if quiet else logging.WARNING)

    def result(self, record: dict[str, Any], *lines: RenderableType) -> None:
        """Print a result: the record for a program, the lines for a person."""
        if self.as_json:
            # Not through rich, which would wrap and colour.
            self._out.file.write(json.dumps(record) + "\n")
            self._out.file.flush()  # here, where a closed pipe ends the command and is no traceback
        elif not self._quiet:
            for line in lines:
                escaped = one_line(line) if isinstance(line, str) else line
                self._shown.print(escaped, markup=False)

    def table(self, table: RenderableType) -> None:
        """Print a rich table or another renderable."""
        if not (self.as_json or self._quiet):
            self._shown.print(table)

    @property
    def _shown(self) -> Console:
        """Where results go: above a progress bar, on a terminal that shows one."""
        return self._err if self._drawing and self._out.file.isatty() else self._out

    def note(self, text: str) -> None:
        """Say something in passing, as plain text."""
        if not self._quiet:
            self._err.print(Text(one_line(text), style="dim"))

    def error(self, text: str) -> None:
        """Say what went wrong, as plain text."""
        self._err.print(Text.assemble(("error:", "bold red"), " ", one_line(text)))

    @contextmanager
    def downloads(self) -> Iterator[Tick]:
        """Show a bar a file that is downloaded."""
        tasks: dict[str, TaskID] = {}
        with self.progress(in_bytes=True) as progress:

            def tick(file: str, received: int, size: int | None) -> None:
                if file not in tasks:
                    tasks[file] = progress.add_task(file, note="")
                progress.update(tasks[file], completed=received, total=size)

            yield tick

    @contextmanager
    def progress(self, *, in_bytes: bool = False) -> Iterator[Progress]:
        """Show progress bars; nothing where stderr is no terminal."""
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn() if in_bytes else MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._err,
            transient=True,
            disable=self._quiet or not self._err.is_terminal,
        ) as progress:
            self._drawing = not progress.disable
            try:
                yield progress
            finally:
                self._drawing = False


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
