"""The work behind `drsvg predict`: clips in, folders of futures out."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import RenderableType
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from drsvg_cli.commands.clip_input import (
    Session,
    Settings,
    check_finite,
    fitted,
    open_session,
    provenance,
    read,
    tensor,
    to_shown,
)
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.frame_buffer import LESS, Spool
from drsvg_cli.commands.output_folder import (
    choose_folders,
    filled,
    write_picture,
    write_record,
    write_together,
)
from drsvg_cli.device import explained_memory
from drsvg_cli.errors import VideoError
from drsvg_cli.evaluation.metrics import CEILING, best_of, psnr, ssim
from drsvg_cli.frames import cut_out, put_back, resize, to_frames
from drsvg_cli.inference.batching import Moment
from drsvg_cli.inference.rollout import stream
from drsvg_cli.video.clip import Clip, Pictures
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.finding import find_clips
from drsvg_cli.video.writing import write_frames
from drsvg_cli.visualization.html import Listing, page
from drsvg_cli.visualization.samples import Futures, contact_sheet, disagreement_map, grid

RECORD_FILE = "prediction.json"
LARGEST_TILE = 512
"""Pixels; the longer side of one of many clips in a picture."""


@explained_memory(LESS)
def run(
    inputs: Sequence[str],
    settings: Settings,
    out: Path | None,
    *,
    source: Path,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    dry_run: bool,
) -> None:
    """Predict every clip; go on past a bad one, and fail at the end if there was any.

    Raises:
        DrsvgError: nothing could be started, or the only clip is bad.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    clips = find_clips(inputs)
    folders = choose_folders(clips, out, overwrite=overwrite, names=result_files(settings))
    session = open_session(settings, source)
    failures: dict[Path, VideoError] = {}
    records = []
    with reporter.failures(failures), reporter.progress() as progress:
        for clip, folder in zip(clips, folders, strict=True):
            task = progress.add_task(f"Reading {one_line(clip.name)}", total=None, note="")
            try:
                record = (
                    _plan(session, clip, folder)
                    if dry_run
                    else _predict_one(session, clip, folder, progress, task, overwrite=overwrite)
                )
            except VideoError as error:
                if len(clips) == 1 and not as_json:
                    raise
                failures[clip] = error
                reporter.error(str(error))
            else:
                records.append(record)
                if not as_json:
                    reporter.result(record, *(_planned(record) if dry_run else _summary(record)))
            progress.remove_task(task)
    if as_json:
        reporter.result(
            {
                "plan" if dry_run else "results": records,
                "failures": {str(k): str(v) for k, v in failures.items()},
            }
        )
    elif dry_run:
        reporter.result({}, _manner(session))
    if failures:
        raise VideoError(f"{len(failures)} of {len(clips)} clips could not be predicted")


def _manner(session: Session) -> str:
    """Say how clips would be predicted."""
    settings = session.settings
    return (
        f"model {one_line(settings.model)}, {session.context} + {settings.horizon} frames, "
        f"{settings.samples} samples on {session.device}"
    )


def _planned(record: dict[str, Any]) -> list[str]:
    return [one_line(f"{record['clip']} → {record['folder']}")]


def _plan(session: Session, clip: Path, folder: Path) -> dict[str, Any]:
    settings = session.settings
    read(session, clip, session.context, after=settings.horizon if settings.compare else 0)
    info = probe(clip)
    shown = {"width": info.width, "height": info.height, "rate": float(info.rate)}
    return {"clip": str(clip), "folder": str(folder), **shown}


def _predict_one(
    session: Session,
    path: Path,
    folder: Path,
    progress: Progress,
    task: TaskID,
    *,
    overwrite: bool,
) -> dict[str, Any]:
    settings = session.settings
    held = settings.horizon if settings.compare else 0
    clip = read(session, path, session.context, after=held)
    observed = len(clip.frames) - held
    whole = settings.size == "source"
    large = clip.frames if whole else fitted(session, clip.frames, session.side)
    height, width = (cut_out(large[0], how=session.fit) if whole else large[0]).shape[:2]
    small = tensor(session, fitted(session, clip.frames, session.recipe.model.size))
    scores = Comparison(settings.samples, small[observed - 1], small[observed:]) if held else None
    shown = to_shown(session, large)
    shape = (settings.samples, settings.horizon, *large.shape[1:3])
    progress.update(
        task,
        description=f"Predicting {one_line(path.name)}",
        total=settings.horizon * settings.samples,
    )
    with filled(folder, overwrite=overwrite) as part, Spool(part.parent, shape) as samples:
        for moment in stream(
            session.model,
            small[None, :observed],
            settings.horizon,
            seeds=session.seeds,
            temperature=session.temperature,
        ):
            check_finite(moment.frames, path)
            for number, each in zip(moment.samples, to_frames(moment.frames[0]), strict=True):
                frame = resize(each, width=width, height=height)
                if whole:
                    frame = put_back(frame, shown[observed - 1], how=session.fit)
                samples.write(number, moment.time, frame)
            if scores is not None:
                scores.note(moment)
            progress.advance(task, len(moment.samples))
        progress.update(task, description=f"Writing {one_line(folder.name)}", refresh=True)
        futures = Futures(
            shown[:observed], samples, rate=clip.rate, truth=shown[observed:] if held else None
        )
        summary = None if scores is None else scores.summary()
        record = _record(session, path, folder, clip, observed, summary)
        write_futures(part, futures, settings.format, record, abandon=samples.abandon)
        return write_record(part, RECORD_FILE, record)


def result_files(settings: Settings) -> list[str]:
    """Name the files that a clip's results are."""
    clips = ["grid", *(f"sample_{number + 1}" for number in range(settings.samples))]
    names = [f"{name}.{settings.format}" for name in clips]
    disagreement = ["disagreement.png"] if settings.samples > 1 else []
    return [*names, "sheet.png", *disagreement, "index.html", RECORD_FILE]


def write_futures(
    folder: Path,
    futures: Futures,
    suffix: str,
    record: dict[str, Any],
    *,
    abandon: Callable[[], object],
) -> None:
    """Write every sample, the grid, the contact sheet, the map of disagreement and the page."""
    tile = min(max(futures.context.shape[1:3]), LARGEST_TILE)
    clips: dict[str, Pictures] = {"grid": grid(futures, tile=tile)}
    clips |= {f"sample_{n + 1}": futures.samples[n] for n in range(len(futures.samples))}
    jobs: list[Callable[[], object]] = [
        partial(write_frames, folder / f"{name}.{suffix}", frames, futures.rate)
        for name, frames in clips.items()
    ]
    sheet, disagreement = folder / "sheet.png", folder / "disagreement.png"
    jobs.append(lambda: write_picture(sheet, contact_sheet(futures, tile=min(tile, 128))))
    html = folder / "index.html"
    jobs.append(lambda: html.write_text(_page(futures, record), encoding="utf-8"))
    if len(futures.samples) > 1:
        jobs.append(lambda: write_picture(disagreement, disagreement_map(futures, tile=tile)))
    write_together(jobs, abandon=abandon)


class Comparison:
    """Scores samples, and the copied last frame, against what happened, a frame at a time."""

    METRICS = (("psnr", psnr, CEILING), ("ssim", ssim, 1.0))

    def __init__(self, samples: int, last: torch.Tensor, truth: torch.Tensor) -> None:
        """Take the last observed frame `(C, H, W)` and what happened `(T, C, H, W)`."""
        self._last, self._truth = last, truth
        self._each = {name: torch.empty(samples, len(truth)) for name, _, _ in self.METRICS}

    def note(self, moment: Moment) -> None:
        """Score one frame of some samples of a single clip."""
        truth, chosen = self._truth[moment.time], slice(moment.samples.start, moment.samples.stop)
        for name, metric, most in self.METRICS:
            score = metric(moment.frames[0], truth).clamp(max=most)
            self._each[name][chosen, moment.time] = score.cpu()

    def summary(self) -> dict[str, Any]:
        """Return the scores as the record has them."""
        scores: dict[str, Any] = {"size": self._truth.shape[-1], "ssim_definition": "srvp"}
        for name, metric, most in self.METRICS:
            each = self._each[name]
            best = int(best_of(each))
            scores[name] = {
                "mean": float(each.mean()),
                "best": float(each[best].mean()),
                "best_sample": best + 1,
                "samples": each.mean(-1).tolist(),
                "copy_last": float(metric(self._last, self._truth).clamp(max=most).mean()),
            }
        return scores


def _record(
    session: Session,
    path: Path,
    folder: Path,
    clip: Clip,
    observed: int,
    scores: dict[str, Any] | None,
) -> dict[str, Any]:
    horizon, start = session.settings.horizon, clip.times[observed - 1]
    futures = [start + float(step / clip.rate) for step in range(1, horizon + 1)]
    record = provenance(session) | {
        "clip": str(path),
        "folder": str(folder),
        "rate": float(clip.rate),
        "observed_times": np.round(clip.times[:observed], 6).tolist(),
        "predicted_times": np.round(futures, 6).tolist(),
    }
    return record if scores is None else record | {"scores": scores}


def _summary(record: dict[str, Any]) -> list[RenderableType]:
    line = Text.assemble((one_line(record["folder"]), "bold"), f": {_gist(record)}")
    if "scores" not in record:
        return [line]
    heads, *rows = _score_rows(record["scores"])
    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*row)
    return [line, table]


def _gist(record: dict[str, Any]) -> str:
    settings = record["settings"]
    seconds = settings["horizon"] / record["rate"]
    return (
        f"{settings['samples']} futures of {settings['horizon']} frames ({seconds:.2f} s)"
        f" · model {one_line(settings['model'])} · seed {record['seed']}"
    )


def _score_rows(scores: dict[str, Any]) -> list[list[str]]:
    size = scores["size"]
    rows = [[f"against what happened, at {size}×{size}", "PSNR (dB)", "SSIM (SRVP)"]]
    for label, key in (
        ("mean of the samples", "mean"),
        ("best sample", "best"),
        ("copy of the last frame", "copy_last"),
    ):
        rows.append([label, f"{scores['psnr'][key]:.2f}", f"{scores['ssim'][key]:.4f}"])
    pairs = zip(scores["psnr"]["samples"], scores["ssim"]["samples"], strict=True)
    for number, (decibels, similarity) in enumerate(pairs, start=1):
        rows.append([f"sample {number}", f"{decibels:.2f}", f"{similarity:.4f}"])
    return rows


def _page(futures: Futures, record: dict[str, Any]) -> str:
    tables = [Listing("Scores", _score_rows(record["scores"]))] if "scores" in record else []
    facts = {**record["settings"], "seed": record["seed"], "rate": f"{record['rate']:g}"}
    facts |= {name: record[name] for name in ("device", "drsvg", "torch")}
    rows = [[name, str(value)] for name, value in facts.items() if value is not None]
    return page(
        futures,
        title=Path(record["clip"]).name,
        subtitle=_gist(record),
        tables=[*tables, Listing("Settings", rows)],
    )
