"""The work behind `drsvg predict`: clips in, folders of futures out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from drsvg_cli.commands.clip_input import (
    Session,
    Settings,
    fitted,
    open_session,
    provenance,
    read,
    to_shown,
)
from drsvg_cli.commands.comparison import Comparison, score_rows
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
from drsvg_cli.frames import Frames
from drsvg_cli.inference.baselines import DETERMINISTIC
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
    source: Path | None,
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
    if settings.samples > 1 and (settings.temperature == 0 or settings.model in DETERMINISTIC):
        reporter.note("all samples would be the same: one is drawn")
        settings = replace(settings, samples=1)
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
    shown = _shown(session, clip.frames)
    context = shown[:observed]
    compared = Comparison(session, shown, settings.horizon) if held else None
    shape = (settings.samples, settings.horizon, *shown.shape[1:3])
    progress.update(
        task,
        description=f"Predicting {one_line(path.name)}",
        total=settings.horizon * settings.samples,
    )
    with filled(folder, overwrite=overwrite) as part, Spool(part.parent, shape) as samples:
        for samples_now, time, frames in session.loaded.predictor.predict(
            context,
            settings.horizon,
            seeds=session.seeds,
            temperature=session.temperature,
        ):
            for number, frame in zip(samples_now, frames, strict=True):
                samples.write(number, time, frame)
            progress.advance(task, len(samples_now))
        progress.update(task, description=f"Writing {one_line(folder.name)}", refresh=True)
        futures = Futures(
            context, samples, rate=clip.rate, truth=shown[observed:] if held else None
        )
        summary = None if compared is None else compared.summary(samples)
        record = _record(session, path, folder, clip, observed, summary)
        write_futures(part, futures, settings.format, record, abandon=samples.abandon)
        return write_record(part, RECORD_FILE, record)


def _shown(session: Session, frames: Frames) -> Frames:
    """Bring frames of a clip to the size and the colours of the results."""
    if not session.is_whole and session.settings.size != "source":
        frames = fitted(session, frames, session.side)
    return to_shown(session, frames)


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
        "noise_correlation": session.recipe.model.noise_correlation,
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
    heads, *rows = score_rows(record["scores"])
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


def _page(futures: Futures, record: dict[str, Any]) -> str:
    tables = [Listing("Scores", score_rows(record["scores"]))] if "scores" in record else []
    facts = {**record["settings"], "seed": record["seed"], "rate": f"{record['rate']:g}"}
    facts |= {name: record[name] for name in ("device", "drsvg", "torch")}
    rows = [[name, str(value)] for name, value in facts.items() if value is not None]
    return page(
        futures,
        title=Path(record["clip"]).name,
        subtitle=_gist(record),
        tables=[*tables, Listing("Settings", rows)],
    )
