"""The clips of a batch, predicted one after the other: in this process, or on a cluster."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from drsvg_cli.commands.cluster import TRIES, spread
from drsvg_cli.commands.console import Reporter
from drsvg_cli.commands.manifest import digest
from drsvg_cli.commands.prediction import Prediction
from drsvg_cli.commands.session import Session, Settings, open_session
from drsvg_cli.errors import VideoError

Pair = tuple[Path, Path]
"""A clip and the folder of its results."""


class Attempt(NamedTuple):
    """What came of a clip."""

    record: dict[str, Any] | None = None
    error: str = ""
    """Why there is no record."""
    digest: str = ""
    seconds: float = 0.0
    notes: Sequence[str] = ()
    """What is yet to be said of it."""

    def outcome(self, folder: Path) -> dict[str, str]:
        """Return what the manifest says of it."""
        if self.record is None:
            return {"outcome": "failed", "error": self.error}
        return {"outcome": "done", "folder": str(folder)}


def attempts_here(
    prediction: Prediction, pairs: Sequence[Pair], progress: Progress, *, dry_run: bool
) -> Iterator[tuple[Pair, Attempt]]:
    """Predict clips in order, or say what would be done, and yield what came of each."""
    for pair in pairs:
        yield pair, _attempt(prediction, pair, progress, dry_run=dry_run)


def attempts_there(
    on: str, session: Session, settings: Settings, source: Path | None, pairs: Sequence[Pair]
) -> Iterator[tuple[Pair, Attempt]]:
    """Predict clips on a cluster, and yield what came of each as soon as it is done.

    Args:
        on: the cluster, as `cluster.spread` takes it.
        session: as opened here, for its seed and to know whether the model computes on GPUs.
        settings: as they were given; their device is that of the workers.
        source: the model, at the same path everywhere.
        pairs: what to predict; the folders are free.

    Raises:
        ConfigError: there is no such cluster.
        DrsvgError: a worker cannot begin, or has no room for results.
    """
    begin = partial(_begin, settings, source, session.seed)
    for pair, attempt in spread(on, begin, pairs, gpus=not session.is_whole):
        clip = pair[0]
        yield pair, attempt or Attempt(None, f"{clip}: {TRIES} workers died at it", digest(clip))


def _attempt(
    prediction: Prediction, pair: Pair, progress: Progress, *, dry_run: bool = False
) -> Attempt:
    """Predict a clip, if it can be."""
    clip, folder = pair
    begun, state = time.monotonic(), "" if dry_run else digest(clip)
    try:
        if dry_run:
            record = prediction.plan(clip, folder)
        else:
            record = prediction.write_folder(clip, folder, progress)
    except VideoError as error:
        return Attempt(None, str(error), state, time.monotonic() - begun)
    return Attempt(record, "", state, time.monotonic() - begun)


def _begin(settings: Settings, source: Path | None, seed: int) -> Callable[[Pair], Attempt]:
    """Load the model in a process of a cluster; return what predicts a clip there."""
    session, reporter = replace(open_session(settings, source), seed=seed), _Silent()
    # The folders were free: what is there now is of a worker that was killed right after.
    prediction = Prediction(session, reporter, overwrite=True)

    def work(pair: Pair) -> Attempt:
        reporter.notes.clear()
        with reporter.progress() as progress:
            return _attempt(prediction, pair, progress)._replace(notes=[*reporter.notes])

    return work


class _Silent(Reporter):
    """Keeps what is to be said in passing."""

    def __init__(self) -> None:
        super().__init__(as_json=True, quiet=True)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)
