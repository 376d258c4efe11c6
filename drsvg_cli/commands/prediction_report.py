"""What is told of a prediction: scores beside the baselines, page, contact sheet, record."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from drsvg_cli.commands.clip_input import Excerpt
from drsvg_cli.commands.console import one_line
from drsvg_cli.commands.output_folder import PAGE, is_video, write_picture
from drsvg_cli.commands.session import Session, Settings, provenance, settings_listing
from drsvg_cli.evaluation.lpips import LPIPS, SMALLEST
from drsvg_cli.evaluation.metrics import best_of
from drsvg_cli.evaluation.prediction import SIDE, Judge, Scores, measure, score
from drsvg_cli.frames import Frames, resize_whole
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
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
TILE = 320
"""Pixels; the longer side of a frame in a picture."""
SHEET_TILE = 128
METRICS = {"psnr": 2, "lpips": 4, "energy": 4}
"""Digits after the point."""


def sample_names(settings: Settings) -> list[str]:
    """Name the videos of the samples."""
    numbers = range(1, settings.samples + 1)
    return [f"sample_{number}.{settings.format}" for number in numbers]


def result_files(settings: Settings) -> list[str]:
    """Name the files that a clip's results are."""
    more = ["truth"] * settings.compare + ["grid"] * settings.grid
    videos = [*sample_names(settings), *(f"{name}.{settings.format}" for name in more)]
    return [PAGE, *videos, "sheet.png", RECORD_FILE]


class Comparison:
    """Measures samples of one clip at the size that `drsvg evaluate` measures its model at."""

    def __init__(self, session: Session, excerpt: Excerpt) -> None:
        """Take a clip of which the frames to be predicted were held back."""
        network, truth = session.loaded.network, excerpt.truth
        assert truth is not None
        side = SIDE if network is None else network.config.size
        self._side = max(SMALLEST, min(side, *truth.shape[1:3]))
        frames = (*excerpt.observed, *truth)
        self._clip = np.stack([resize_whole(frame, self._side) for frame in frames])
        self._horizon, self._seeds = len(truth), session.seeds
        device = session.device
        self._judge = Judge(LPIPS(device), similarity=False, channels=3, device=device)
        shape = (len(session.seeds), *self._clip[-self._horizon :].shape)
        with tempfile.TemporaryFile() as file:  # on disk: memory does not grow with the horizon
            self._made = np.memmap(file, np.uint8, "w+", shape=shape)

    def note(self, sample: int, time: int, frame: Frames) -> None:
        """Take a predicted frame `(H, W, 3)`."""
        self._made[sample, time] = resize_whole(frame, self._side)

    def summary(self) -> dict[str, Any]:
        """Return the scores of samples as the record has them, and those of the baselines."""
        truth, last = self._clip[-self._horizon :], self._clip[-self._horizon - 1]
        found = measure(self._made, truth, last, judge=self._judge, number=0)
        summary: dict[str, Any] = {"side": self._side, "samples": _numbers(found)}
        measured = partial(score, clips=[self._clip], horizon=self._horizon, judge=self._judge)
        for name, make in BASELINES.items():
            seeds = self._seeds[:1] if name in DETERMINISTIC else self._seeds
            summary[name] = _numbers(measured(make(), seeds=seeds))
        return summary


def _numbers(scores: Scores) -> dict[str, Any]:
    """Return the means of one sequence, and of each sample."""
    each = {"psnr": scores.psnr[0].mean(1), "lpips": scores.lpips[0].mean(1)}
    best = int(best_of(scores.psnr[0]))
    return {
        "psnr": float(each["psnr"].mean()),
        "lpips": float(each["lpips"].mean()),
        "energy": float(scores.energy.mean()),
        "best_sample": best + 1,
        "best_psnr": float(each["psnr"][best]),
        **{f"{name}_of_each": values.tolist() for name, values in each.items()},
    }


def score_rows(scores: dict[str, Any]) -> list[list[str]]:
    """Lay scores out: heads, the samples, the baselines, and every sample."""
    rows = [[f"against what happened, at {scores['side']} pixels", "PSNR (dB)", "LPIPS", "energy"]]
    labels = {"samples": "mean of the samples", "copy": "copy of the last frame"}
    labels |= {"motion": "motion that goes on", "motion-speeds": "motion at random speeds"}
    for key, label in labels.items():
        rows.append([label, *(f"{scores[key][name]:.{n}f}" for name, n in METRICS.items())])
    samples = scores["samples"]
    pairs = zip(samples["psnr_of_each"], samples["lpips_of_each"], strict=True)
    for number, (decibels, distance) in enumerate(pairs, start=1):
        best = ", the best" if number == samples["best_sample"] else ""
        rows.append([f"sample {number}{best}", f"{decibels:.2f}", f"{distance:.4f}", ""])
    return rows


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
            tables=[*tables, settings_listing(record, rate=self._excerpt.model_rate)],
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
