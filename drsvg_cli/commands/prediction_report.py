"""What is told of a prediction: the page, the contact sheet, the record, and a line."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from drsvg_cli.commands.clip_input import Excerpt, Session, Settings, provenance
from drsvg_cli.commands.comparison import Comparison, score_rows
from drsvg_cli.commands.console import one_line
from drsvg_cli.commands.output_folder import is_video, write_picture
from drsvg_cli.frames import Frames
from drsvg_cli.video.writing import write_frames
from drsvg_cli.visualization.html import Listing, Page, Picture, Tile
from drsvg_cli.visualization.layout import enlarge
from drsvg_cli.visualization.samples import (
    Futures,
    contact_sheet,
    grid,
    heat_overlay,
    mean_disagreement,
)

RECORD_FILE = "prediction.json"
PAGE = "index.html"
TILE = 320
"""Pixels; the longer side of a frame in a picture."""
SHEET_TILE = 128


def sample_names(settings: Settings) -> list[str]:
    """Name the videos of the samples."""
    numbers = range(1, settings.samples + 1)
    return [f"sample_{number}.{settings.format}" for number in numbers]


def result_files(settings: Settings) -> list[str]:
    """Name the files that a clip's results are."""
    more = [f"truth.{settings.format}"] * settings.compare + [
        f"grid.{settings.format}"
    ] * settings.grid
    return [PAGE, *sample_names(settings), *more, "sheet.png", RECORD_FILE]


class Report:
    """Looks at every predicted frame, and tells of all of them in the end."""

    def __init__(self, session: Session, excerpt: Excerpt, clip: Path, target: Path) -> None:
        """Take what is predicted, and the folder or the video that it becomes."""
        self._session, self._excerpt = session, excerpt
        self._clip, self._target = clip, target
        self._compared = Comparison(session, excerpt) if excerpt.held else None
        self._folder = target
        self._small: np.memmap[Any, np.dtype[np.uint8]] | None = None

    @property
    def past(self) -> Frames:
        """What each video begins with."""
        count = round(self._session.settings.past * self._excerpt.rate)
        seen = self._excerpt.seen
        return seen[len(seen) - min(count, len(seen)) :]

    @contextmanager
    def collecting(self, folder: Path) -> Iterator[None]:
        """Keep a small copy of every frame, on the disk of the folder: they may be many."""
        excerpt, count = self._excerpt, self._session.settings.samples
        shape = enlarge(excerpt.frames[0], TILE).shape
        with tempfile.TemporaryFile(dir=folder, prefix=".", suffix=".part") as file:
            self._folder = folder
            self._small = np.memmap(file, np.uint8, "w+", shape=(count, excerpt.horizon, *shape))
            try:
                yield
            finally:
                self._small = None

    def note(self, sample: int, time: int, frame: Frames) -> None:
        """Take frame `time` of a sample, `(H, W, 3)`, of those that the model predicts."""
        if self._small is not None:
            self._small[sample, time] = enlarge(frame, TILE)
        if self._compared is not None:
            self._compared.note(sample, time, frame)

    def write(self) -> dict[str, Any]:
        """Write the page and the contact sheet; return the record."""
        session, excerpt, folder = self._session, self._excerpt, self._folder
        settings, record = session.settings, self.record()
        assert self._small is not None
        truth = excerpt.truth
        futures = Futures(
            enlarge(excerpt.observed[-4:], TILE),
            self._small,
            rate=excerpt.model_rate,
            truth=None if truth is None else enlarge(truth, TILE),
        )
        write_picture(folder / "sheet.png", contact_sheet(futures, tile=SHEET_TILE))
        if settings.grid:
            path = folder / f"grid.{settings.format}"
            write_frames(path, grid(futures, tile=TILE), futures.rate)
        if truth is not None:
            clip = np.concatenate([self.past, excerpt.frames[len(excerpt.seen) :]])
            write_frames(folder / f"truth.{settings.format}", clip, excerpt.rate)
        heat = [_heat(futures)] if settings.samples > 1 else []
        (folder / PAGE).write_text(self._page(record, heat), encoding="utf-8")
        return record

    def record(self) -> dict[str, Any]:
        """Return what made the result, and the scores."""
        excerpt = self._excerpt
        record = provenance(self._session) | {
            "clip": str(self._clip),
            "folder": str(self._target),
            "rate": float(excerpt.model_rate),
            "horizon": excerpt.horizon,
            "video_rate": float(excerpt.rate),
            "past_frames": len(self.past),
            "observed_times": excerpt.times(1 - len(excerpt.observed), 0),
            "predicted_times": excerpt.times(1, excerpt.horizon),
        }
        if self._compared is not None:
            record["scores"] = self._compared.summary()
        return record

    def _page(self, record: dict[str, Any], pictures: Sequence[Picture]) -> str:
        settings, scores = self._session.settings, record.get("scores")
        tiles = [Tile("what happened", f"truth.{settings.format}", "truth")] if scores else []
        for number, name in enumerate(sample_names(settings)):
            best = scores is not None and number + 1 == scores["samples"]["best_sample"]
            label = f"sample {number + 1}" + ", the best" * best
            tiles.append(Tile(label, name, "sample", _note(scores, number)))
        facts = {**record["settings"], "seed": record["seed"], "rate": f"{record['rate']:g}"}
        facts |= {name: record[name] for name in ("device", "drsvg", "torch")}
        rows = [[name, str(value)] for name, value in facts.items() if value is not None]
        tables = [Listing("Scores", score_rows(scores))] if scores else []
        height, width = self._excerpt.frames.shape[1:3]
        return Page(
            title=self._clip.name,
            subtitle=_gist(record),
            tiles=tiles,
            rate=record["video_rate"],
            observed=record["past_frames"],
            frames=record["past_frames"] + self._excerpt.horizon * self._excerpt.steps,
            shape=(height, width),
            pictures=pictures,
            tables=[*tables, Listing("Settings", rows)],
        ).html()


def _heat(futures: Futures) -> Picture:
    """Paint where the samples differ over the last observed frame, and say what it means."""
    spread = mean_disagreement(futures.samples)
    words = (
        "Bright places are where the samples differ, on average over all predicted frames: there "
        "the model is unsure what happens. What stays dark looks the same in every sample. They "
        f"differ by {spread.mean():.1f} of 255 levels on average, and by {spread.max():.0f} where "
        "they differ most."
    )
    picture = heat_overlay(futures.context[-1], spread)
    return Picture("Where the samples disagree", picture, words)


def _note(scores: dict[str, Any] | None, number: int) -> str:
    if scores is None:
        return ""
    samples = scores["samples"]
    decibels, distance = samples["psnr_of_each"][number], samples["lpips_of_each"][number]
    return f"{decibels:.2f} dB · LPIPS {distance:.3f}"


def summary(record: dict[str, Any]) -> list[RenderableType]:
    """Say what has been written, and what to open."""
    target = Path(record["folder"])
    where = target if is_video(target) else target / PAGE
    line = Text.assemble(
        (one_line(str(target)), "bold"), f": {_gist(record)} · open {one_line(str(where))}"
    )
    if "scores" not in record:
        return [line]
    heads, *rows = score_rows(record["scores"])
    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*row)
    return [table, line]


def _gist(record: dict[str, Any]) -> str:
    settings, frames = record["settings"], record["horizon"]
    seconds, count = frames / record["rate"], settings["samples"]
    samples = f"{count} sample{'s' * (count > 1)} of {frames} frames ({seconds:.2f} s)"
    return f"{samples} · model {one_line(settings['model'])} · seed {record['seed']}"
