"""What the command line says: progress on stderr, results on stdout."""

import json
import logging
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
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
from rich.table import Column, Table
from rich.text import Text

from drsvg_cli.network import Tick

JOINERS = "\u200c\u200d"
"""Signs without a width that some scripts, and emoji, are written with."""
WIDEST = 10_000
"""Columns of a table in a file or a pipe, at most."""


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
        self._as_json = as_json
        self._quiet = quiet
        self._drawing = False
        self._out, self._err = _console(stderr=False), _console(stderr=True)
        # The library warns of a damaged clip, say, which is no more than a note.
        logging.getLogger("drsvg_cli").setLevel(logging.ERROR if quiet else logging.WARNING)

    def result(self, record: dict[str, Any], *lines: RenderableType) -> None:
        """Print a result: the record for a program, the lines for a person."""
        if self._as_json:
            # Not through rich, which would wrap and colour.
            self._out.file.write(json.dumps(record) + "\n")
            self._out.file.flush()  # here, where a closed pipe ends the command and is no traceback
        elif not self._quiet:
            for line in lines:
                escaped = one_line(line) if isinstance(line, str) else line
                self._shown.print(escaped, markup=False)

    def table(self, table: RenderableType) -> None:
        """Print a rich table or another renderable."""
        if not (self._as_json or self._quiet):
            self._shown.print(table)

    @property
    def _shown(self) -> Console:
        """Where results go: above a progress bar, on a terminal that shows one."""
        return self._err if self._drawing and self._out.file.isatty() else self._out

    @contextmanager
    def failures(self, reasons: Mapping[Path, Exception]) -> Iterator[None]:
        """Show at the end of a batch, however it ends, which clips failed, and why."""
        try:
            yield
        finally:
            if reasons and not (self._as_json or self._quiet):
                table = Table(
                    Column("failed", overflow="fold"), Column("because", overflow="fold"), box=None
                )
                for path, reason in reasons.items():
                    table.add_row(Text(one_line(str(path))), Text(one_line(str(reason))))
                self._err.print(table)

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
