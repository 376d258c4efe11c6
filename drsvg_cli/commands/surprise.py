"""The work behind `drsvg surprise`: walk through clips, and tell what nobody expected."""

import webbrowser
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.output_folder import choose_folders, filled
from drsvg_cli.commands.session import Session, Settings, open_session
from drsvg_cli.commands.surprise_report import PAGE, RESULT_FILES, Course, Report, summary
from drsvg_cli.data.windows import is_cut
from drsvg_cli.device import explained_memory
from drsvg_cli.errors import VideoError
from drsvg_cli.evaluation.surprise import LEAST, Usual, judge_blocks, learn_usual
from drsvg_cli.frames import Frames, resize
from drsvg_cli.inference.baselines import DETERMINISTIC
from drsvg_cli.inference.moments import MULTIPLE, SIDE, as_predicted, draw_moments
from drsvg_cli.inference.motion import CONTEXT
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.finding import find_clips
from drsvg_cli.video.reading import grid_rate, read_frames

FEWER = "choose fewer --samples or a shorter --horizon"
TOGETHER = 2
"""Moments that are predicted from in one batch: with 8 samples each, what caches hold."""
BATCHES = 2
"""Batches at once, on a thread each; so many more wait while the clip is read on."""
LONGEST = 4
"""Times as long as the shorter side that the longer one is when a clip is read; what is longer is
squeezed."""


@dataclass(frozen=True)
class Watch:
    """What is looked for, and where results go."""

    every: float
    """Seconds."""
    once_in: float
    """Hours."""
    normal: Sequence[str]
    out: Path | None
    overwrite: bool
    open_page: bool


@explained_memory(FEWER)
def run(
    inputs: Sequence[str],
    settings: Settings,
    watch: Watch,
    *,
    source: Path | None,
    reporter: Reporter,
) -> None:
    """Walk through every clip and write a folder each; fail at the end if a clip is bad.

    Raises:
        DrsvgError: nothing could be started, or a clip is bad.
    """
    if settings.samples > 1 and settings.model in DETERMINISTIC:
        settings = replace(settings, samples=1)  # all would be the same
    clips, normal = find_clips(inputs), find_clips(watch.normal) if watch.normal else []
    folders = choose_folders(clips, watch.out, overwrite=watch.overwrite, names=RESULT_FILES)
    session = open_session(settings, source)
    records, failures = [], dict[str, str]()
    with reporter.progress() as progress:

        def followed(clip: Path) -> Course:
            """Walk through a clip with a bar."""
            task = progress.add_task(f"Watching {one_line(clip.name)}", total=None, note="")
            length = probe(clip, rate=_asked_rate(settings)).duration

            def tick(seconds: float) -> None:
                progress.update(task, completed=int(seconds), total=length and int(length))

            course = walk(session, clip, every=watch.every, tick=tick)
            progress.remove_task(task)
            return course

        usual = _learn_normal([followed(clip) for clip in normal])
        for clip, folder in zip(clips, folders, strict=True):
            try:
                with filled(folder, overwrite=watch.overwrite) as part:
                    course = followed(clip)
                    known = _known(clip, course, usual)
                    report = Report(session, course, known, once_in=watch.once_in)
                    records.append(report.write(part, clip, folder, list(map(str, normal))))
            except VideoError as error:
                if len(clips) == 1:
                    raise
                failures[str(clip)] = str(error)
                reporter.error(str(error))
    told = {"results": records, "failures": failures}
    if failures:
        raise VideoError(f"{len(failures)} of {len(clips)} clips could not be watched", record=told)
    reporter.result(told, *(line for record in records for line in summary(record)))
    if watch.open_page:
        webbrowser.open((folders[0] / PAGE).resolve().as_uri())


def walk(session: Session, clip: Path, *, every: float, tick: Callable[[float], object]) -> Course:
    """Predict from moment after moment of a clip, and judge what happened.

    No more frames are held than a few batches of moments need, however long the clip is; what is
    kept of a moment is a number a block, a megabyte or two an hour.

    Args:
        session: what predicts.
        clip: a video, or a folder of pictures.
        every: seconds from a moment to the next.
        tick: is told how far it has come, in seconds.

    Raises:
        VideoError: the clip cannot be read, or is too short.
    """
    asked = _asked_rate(session.settings)
    info = probe(clip, rate=asked)
    wanted = asked or Fraction(session.loaded.recipe.data.frame_rate).limit_denominator(1001)
    rate = grid_rate(info.rate, wanted)
    horizon, step = session.horizon_at(rate), max(1, round(every * rate))
    context = CONTEXT if session.is_whole else session.context_at(rate)
    recent = deque[Frames](maxlen=context + horizon)
    course = Course(info, rate, horizon, step)
    waiting: list[Frames] = []
    judged = deque[Future[list[NDArray[np.float32]]]]()

    def judge(windows: Sequence[Frames]) -> list[NDArray[np.float32]]:
        seen = [window[:context] for window in windows]
        samples = draw_moments(session.loaded.predictor, seen, horizon, seeds=session.seeds)
        truth = as_predicted(np.stack([window[context:] for window in windows]))
        return list(judge_blocks(samples, truth).numpy().astype(np.float16))

    with ThreadPoolExecutor(BATCHES) as pool:
        for index, frame in enumerate(read_frames(clip, rate=wanted)):
            small = _small(frame)
            if recent and is_cut(recent[-1], small):
                course.cuts.append(index)
                recent.clear()
            recent.append(small)
            if len(recent) == context + horizon and index % step == 0:
                waiting.append(np.stack(recent))
                course.moments.append(index + 1 - horizon)
            if len(waiting) == TOGETHER:
                judged.append(pool.submit(judge, waiting))
                waiting = []
                tick(float(index / rate))
            if len(judged) > BATCHES:
                course.maps.extend(judged.popleft().result())
            course.frames = index + 1
        if waiting:
            judged.append(pool.submit(judge, waiting))
        for each in judged:
            course.maps.extend(each.result())
    return course


def _asked_rate(settings: Settings) -> Fraction | None:
    return None if settings.rate is None else Fraction(settings.rate).limit_denominator(1001)


def _small(frame: Frames) -> Frames:
    """Bring a frame `(H, W, 3)` to the size at which it is read."""
    scale = SIDE / min(frame.shape[:2])
    height, width = (
        MULTIPLE * round(min(length * scale, LONGEST * SIDE) / MULTIPLE)
        for length in frame.shape[:2]
    )
    return resize(frame, width=width, height=height)


def _learn_normal(courses: Sequence[Course]) -> Usual | None:
    """Learn what is usual from clips in which nothing happens; none where there is no clip.

    Raises:
        VideoError: they do not belong together, or are too short.
    """
    if not courses:
        return None
    maps = [each for course in courses for each in course.maps]
    if len({each.shape for each in maps}) > 1:
        raise VideoError("the clips of --normal differ in shape: give clips of one camera")
    usual = learn_usual(np.stack(maps).astype(np.float32), trusted=True) if maps else None
    if usual is None:
        raise VideoError(
            f"the clips of --normal have {len(maps)} moments, and {LEAST} are needed; give more"
        )
    return usual


def _known(clip: Path, course: Course, usual: Usual | None) -> Usual:
    """Return what is usual in a clip, learned from its own quiet parts where it is not known yet.

    Raises:
        VideoError: it is too short, or of another shape.
    """
    maps = course.maps
    if usual is not None and maps and maps[0].shape != usual.high.shape:
        raise VideoError(
            f"{clip} and the clips of --normal differ in shape: give those of one camera"
        )
    if usual is None and maps:
        usual = learn_usual(np.stack(maps).astype(np.float32), trusted=False)
    if usual is None or not maps:
        raise VideoError(
            f"{clip} has {len(maps)} moments to predict from, too few to know what is usual; give "
            "a longer clip, --normal clips of the same camera, or a smaller --every"
        )
    return usual
