"""The work behind `drsvg predict`: clips in, folders of samples out."""

import webbrowser
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from drsvg_cli.commands.attempts import attempts_here, attempts_there
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.manifest import Manifest, take_shard
from drsvg_cli.commands.output_folder import (
    PAGE,
    check_free,
    check_video,
    choose_folders,
    is_video,
    name_folders,
)
from drsvg_cli.commands.prediction import Prediction
from drsvg_cli.commands.prediction_report import RECORD_FILE, result_files, summary
from drsvg_cli.commands.session import LESS, Session, Settings, open_session, without_copies
from drsvg_cli.device import explained_memory
from drsvg_cli.errors import ConfigError, VideoError
from drsvg_cli.video.finding import find_clips

BATCH_FOLDER = Path("predictions")
"""Where the folders of several clips lie by default."""


@dataclass(frozen=True)
class Output:
    """Where results go, and how they are told."""

    out: Path | None
    overwrite: bool = False
    shard: tuple[int, int] = (1, 1)
    on: str | None = None
    """The cluster that predicts many clips; this process if left out."""
    open_page: bool = False
    dry_run: bool = False


@explained_memory(LESS)
def run(
    inputs: Sequence[str],
    settings: Settings,
    output: Output,
    *,
    source: Path | None,
    reporter: Reporter,
) -> None:
    """Predict every clip; go on past a bad one, and fail at the end if there was any.

    Raises:
        DrsvgError: nothing could be started, or a clip is bad.
    """
    settings = without_copies(settings, reporter)
    clips = find_clips(inputs)
    folders = [path for path in map(Path, inputs) if path.is_dir() and path not in clips]
    is_batch = len(clips) > 1 or bool(folders)
    if is_batch:
        _predict_all(clips, settings, output, reporter, source)
    else:
        _predict_one(clips[0], settings, output, reporter, source)


def _predict_one(
    clip: Path, settings: Settings, output: Output, reporter: Reporter, source: Path | None
) -> None:
    """Predict a single clip, into a folder or a video."""
    if output.out is not None and is_video(output.out):
        target = output.out
        if settings.samples > 1:
            raise ConfigError(
                f"{target} is a single video; give --samples 1, or a folder for several samples"
            )
        if target.exists() and target.samefile(clip):
            raise ConfigError(f"{target} is the clip itself; choose another name with --out")
        check_video(target, overwrite=output.overwrite)
        settings = replace(settings, format=target.suffix.lower().removeprefix("."))
    else:
        names = result_files(settings)
        [target] = choose_folders([clip], output.out, overwrite=output.overwrite, names=names)
    prediction = Prediction(open_session(settings, source), reporter, overwrite=output.overwrite)
    if output.dry_run:
        plan = prediction.plan(clip, target)
        lines = [_planned(plan), _manner(prediction.session)]
        reporter.result({"plan": [plan], "failures": {}}, *lines)
        return
    write = prediction.write_video if is_video(target) else prediction.write_folder
    with reporter.progress() as progress:
        record = write(clip, target, progress)
    reporter.result({"results": [record], "failures": {}}, *summary(record))
    if output.open_page and not is_video(target):
        webbrowser.open((target / PAGE).resolve().as_uri())


def _predict_all(
    clips: Sequence[Path],
    settings: Settings,
    output: Output,
    reporter: Reporter,
    source: Path | None,
) -> None:
    """Predict what is missing of many clips, each into a folder of its own; keep a manifest."""
    whole = output.out or BATCH_FOLDER
    if is_video(whole):
        raise ConfigError(f"{whole} is a single video, and there are several clips; name a folder")
    manifest = Manifest(whole, asdict(settings))
    if not output.overwrite:
        manifest.check()
    names, folders = result_files(settings), name_folders(clips, whole)
    ours = take_shard(clips, output.shard)
    pairs = [(clip, to) for clip, to, our in zip(clips, folders, ours, strict=True) if our]
    todo = [
        (clip, folder)
        for clip, folder in pairs
        if output.overwrite or not manifest.is_done(clip, folder / RECORD_FILE)
    ]
    for _, folder in todo:
        check_free(folder, overwrite=output.overwrite, names=names, remedy="redo it with --redo")
    spreads = output.on is not None and not output.dry_run
    session = open_session(replace(settings, device="cpu") if spreads else settings, source)
    if settings.seed is None and manifest.seed is not None and not output.overwrite:
        session = replace(session, seed=manifest.seed)
    records, failures, said = list[dict[str, Any]](), dict[str, str](), set[str]()
    with reporter.progress() as progress:
        task = progress.add_task("Clips", total=len(todo), note="")
        if output.on is not None and spreads:
            attempts = attempts_there(output.on, session, settings, source, todo)
        else:
            prediction = Prediction(session, reporter, overwrite=output.overwrite)
            attempts = attempts_here(prediction, todo, progress, dry_run=output.dry_run)
        for (clip, folder), attempt in attempts:
            for text in set(attempt.notes) - said:
                reporter.note(text)
            said.update(attempt.notes)
            if attempt.record is None:
                failures[str(clip)] = attempt.error
                reporter.error(attempt.error)
            elif reporter.as_json:
                records.append(attempt.record)
            else:
                planned = [_planned(attempt.record)] if output.dry_run else None
                reporter.result(attempt.record, *(planned or summary(attempt.record)))
            progress.advance(task)
            if not output.dry_run:
                manifest.add(
                    clip,
                    digest=attempt.digest,
                    seed=session.seed,
                    seconds=attempt.seconds,
                    **attempt.outcome(folder),
                )
    told = {"plan" if output.dry_run else "results": records, "failures": failures}
    if failures:
        raise VideoError(
            f"{len(failures)} of {len(pairs)} clips could not be predicted", record=told
        )
    earlier = len(pairs) - len(todo)
    line = f": {len(todo)} clips predicted" + f", {earlier} done before" * bool(earlier)
    done = Text.assemble((one_line(str(whole)), "bold"), line)
    reporter.result(told, _manner(session) if output.dry_run else done)


def _planned(record: dict[str, Any]) -> str:
    return one_line(f"{record['clip']} → {record['folder']}")


def _manner(session: Session) -> str:
    """Say how clips would be predicted."""
    settings = session.settings
    length = settings.horizon
    far = f"{length:g} s" if isinstance(length, float) else f"{length} frames"
    return (
        f"model {one_line(settings.model)}, {far}, {settings.samples} samples on {session.device}"
    )
