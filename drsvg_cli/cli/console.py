"""What the command line says: progress on stderr, results on stdout."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)


class Reporter:
    """Speaks to a person, to a program (`--json`), or not at all (`--quiet`)."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        """Choose how to speak."""
        self._as_json = as_json
        self._quiet = quiet
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def result(self, record: dict[str, Any], *lines: str) -> None:
        """Print a result: the record for a program, the lines (rich markup) for a person."""
        if self._as_json:
            # Not through rich, which would wrap and colour.
            self._out.file.write(json.dumps(record) + "\n")
        elif not self._quiet:
            for line in lines:
                self._out.print(line)

    def table(self, table: Any) -> None:
        """Print a rich table or another renderable."""
        if not (self._as_json or self._quiet):
            self._out.print(table)

    def note(self, text: str) -> None:
        """Say something in passing, as plain text."""
        if not self._quiet:
            self._err.print(escape(text), style="dim")

    def error(self, text: str) -> None:
        """Say what went wrong, as plain text."""
        self._err.print(f"[bold red]error:[/] {escape(text)}")

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show progress bars; nothing where stderr is no terminal."""
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._err,
            transient=True,
            disable=self._quiet or not self._err.is_terminal,
        ) as progress:
            yield progress
