"""One clip predicted: its samples drawn, and written as they come."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from drsvg_cli.commands.clip_input import Excerpt, read_excerpt
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.output_folder import filled, write_record
from drsvg_cli.commands.prediction_report import RECORD_FILE, Report, sample_names
from drsvg_cli.commands.session import Session
from drsvg_cli.commands.video_files import VideoFiles, together
from drsvg_cli.frames import Frames, resize
from drsvg_cli.video.ending import better_moment, dullness
from drsvg_cli.video.sound import read_sound
from drsvg_cli.video.writing import is_gray, written

FAR = 3
"""Times as far as a model learned to predict, beyond which its samples fall apart."""
UNLIKE = 24.0
"""Levels of 255 by which a first predicted frame differs from the last observed one where a model
does not know what it sees, beyond thrice of what the clip itself changes in a frame."""


class Prediction:
    """Predicts one clip after the other with the same model."""

    def __init__(self, session: Session, reporter: Reporter, *, overwrite: bool) -> None:
        """Take the model, whom to tell, and whether earlier results may be replaced."""
        self.session, self._reporter, self._overwrite = session, reporter, overwrite
        self._warned = set[str]()

    def plan(self, clip: Path, target: Path) -> dict[str, Any]:
        """Read a clip as it would be predicted; say what it is and where results would go."""
        info = read_excerpt(self.session, clip).info
        size = {"width": info.width, "height": info.height}
        return {"clip": str(clip), "folder": str(target), **size, "rate": float(info.rate)}

    def write_folder(self, clip: Path, folder: Path, progress: Progress) -> dict[str, Any]:
        """Predict a clip into a folder; return the record.

        Raises:
            VideoError: the clip is bad.
            ResourceError: the folder or the disk is.
        """
        excerpt, task = self._begin(clip, progress)
        with filled(folder, overwrite=self._overwrite) as part:
            report = Report(self.session, excerpt, clip, folder)
            paths = [part / name for name in sample_names(self.session.settings)]
            with report.collecting(part):
                self._draw(excerpt, paths, report, progress, task)
                progress.update(task, description=f"Writing {one_line(folder.name)}", refresh=True)
                record = report.write()
            progress.remove_task(task)
            return write_record(part, RECORD_FILE, record)

    def write_video(self, clip: Path, path: Path, progress: Progress) -> dict[str, Any]:
        """Predict a single sample of a clip into a video; return the record.

        Raises:
            VideoError: the clip is bad.
            ResourceError: the disk is.
        """
        excerpt, task = self._begin(clip, progress)
        report = Report(self.session, excerpt, clip, path)
        with written(path, overwrite=self._overwrite) as part:
            self._draw(excerpt, [part], report, progress, task)
        progress.remove_task(task)
        return report.record()

    def _begin(self, clip: Path, progress: Progress) -> tuple[Excerpt, TaskID]:
        """Read a clip, and say what a user should know before looking."""
        task = progress.add_task(f"Reading {one_line(clip.name)}", total=None, note="")
        settings, loaded = self.session.settings, self.session.loaded
        excerpt = read_excerpt(self.session, clip)
        if settings.at is None:
            self._check_end(clip, excerpt)
        learned = loaded.recipe.data.horizon
        if loaded.weights and excerpt.horizon > FAR * learned:
            self._warn(
                f"{excerpt.horizon} frames are far beyond the {learned} that {settings.model} "
                "learned to predict: the last ones will be wrong"
            )
        total = excerpt.horizon * excerpt.steps * settings.samples
        description = f"Predicting {one_line(clip.name)}"
        progress.update(task, description=description, total=total, refresh=True)
        return excerpt, task

    def _draw(
        self,
        excerpt: Excerpt,
        paths: Sequence[Path],
        report: Report,
        progress: Progress,
        task: TaskID,
    ) -> None:
        """Predict all samples of a clip and write each to its file."""
        session, steps, past = self.session, excerpt.steps, report.past
        end = excerpt.end + float(1 / excerpt.rate)
        begin = end - float(len(past) / excerpt.rate)
        size = together(excerpt.frames[0])
        for first in range(0, len(paths), size):
            chosen = slice(first, first + size)
            with VideoFiles(
                paths[chosen],
                excerpt.rate,
                suffix=f".{session.settings.format}",
                length=excerpt.horizon * steps,
                past=past,
                sound=lambda: read_sound(excerpt.info, begin, end) if len(past) else None,
                mark=session.settings.mark and len(past) > 0,
                gray=is_gray(excerpt.observed),
            ) as files:
                for samples, moment, frames in session.loaded.predictor.predict(
                    excerpt.observed,
                    excerpt.horizon,
                    seeds=session.seeds[chosen],
                    temperature=session.temperature,
                    between=steps - 1,
                ):
                    for number, frame in zip(samples, frames, strict=True):
                        files.write(number, moment, frame)
                        if (moment + 1) % steps == 0:
                            report.note(first + number, moment // steps, frame)
                    if moment + 1 == steps:
                        self._check_likeness(excerpt.observed, frames[0])
                    progress.advance(task, len(samples))

    def _check_end(self, clip: Path, excerpt: Excerpt) -> None:
        """Warn of a clip that ends in nothing, and name a moment at which something moves."""
        end = dullness(excerpt.observed)
        if not end:
            return
        better = better_moment(excerpt.info, excerpt.end)
        advice = "" if better is None else f"; at --at {better:.1f} something moves"
        self._reporter.note(f"warning: {clip} ends {end}{advice}")

    def _check_likeness(self, observed: Frames, first: Frames) -> None:
        """Warn where the first predicted frame hardly resembles the last observed one."""
        usual = difference(observed[-1], observed[-2])
        if difference(first, observed[-1]) > UNLIKE + 3 * usual:
            self._warn(
                "the first predicted frame hardly resembles the last observed one: "
                f"{self.session.settings.model} learned from clips of another kind"
            )

    def _warn(self, text: str) -> None:
        """Say something once, however many clips it is true of."""
        if text not in self._warned:
            self._warned.add(text)
            self._reporter.note(f"warning: {text}")


def difference(frame: Frames, other: Frames) -> float:
    """Return the mean difference of two frames `(H, W, 3)`, seen from afar, in levels of 255."""
    small, same = (resize(each, width=32, height=32).astype(int) for each in (frame, other))
    return float(abs(small - same).mean())
