"""The work behind `drsvg swap`."""

import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.text import Text

from drsvg_cli.commands.clip_input import Excerpt, read_excerpt
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.output_folder import (
    PAGE,
    check_free,
    filled,
    result_name,
    write_picture,
    write_record,
)
from drsvg_cli.commands.session import (
    LESS,
    Session,
    Settings,
    open_session,
    provenance,
    settings_listing,
    without_copies,
)
from drsvg_cli.commands.video_files import VideoFiles
from drsvg_cli.device import explained_memory
from drsvg_cli.errors import ConfigError, VideoError
from drsvg_cli.evaluation.disentanglement import movement
from drsvg_cli.frames import Frames, fit_all, to_tensor
from drsvg_cli.inference.predictor import Swapper
from drsvg_cli.video.writing import write_frames
from drsvg_cli.visualization.html import Page, Tile
from drsvg_cli.visualization.layout import Film, enlarge
from drsvg_cli.visualization.samples import strip

RECORD_FILE = "swap.json"
TILE = 160
LOOKED_AT = 64
"""Pixels along each side, at which motion is measured."""
STILL = 0.06
"""Pixels by which what stands still seems to move."""
WORDS = (
    (0.7, "takes most of the motion"),
    (0.4, "takes much of the motion"),
    (0.15, "takes some of the motion"),
    (-np.inf, "takes hardly any of the motion"),
)
"""What is said of a share of the motion, from which share on."""


class _Plan(NamedTuple):
    """A clip to be made: who gives the content, who the motion."""

    giver: str
    mover: str
    samples: int

    @property
    def label(self) -> str:
        """Say what it is."""
        if self.giver == self.mover:
            return f"{self.giver} reconstructed"
        return f"{self.giver} moving as {self.mover}"

    def names(self, suffix: str) -> list[str]:
        """Name the files."""
        if self.giver == self.mover:
            return [f"reconstruction_{self.giver}.{suffix}"]
        stem = f"swap_{self.giver}_as_{self.mover}"
        return [f"{stem}_{number}.{suffix}" for number in range(1, self.samples + 1)]


@explained_memory(LESS)
def run(
    content: Path,
    pose: Path,
    settings: Settings,
    out: Path | None,
    *,
    source: Path | None,
    at_b: str | None,
    both: bool,
    overwrite: bool,
    open_page: bool,
    reporter: Reporter,
) -> None:
    """Swap two clips.

    Raises:
        DrsvgError: a clip or the model is bad, or the folder of results is in the way.
    """
    settings = without_copies(settings, reporter)
    folder = out or Path(result_name(f"{content.stem}_{pose.stem}"))
    plans = _plans(settings.samples, both=both)
    check_free(folder, overwrite=overwrite, names=_result_files(plans, settings.format))
    session = open_session(settings, source)
    swapper = session.loaded.predictor
    if not isinstance(swapper, Swapper):
        raise ConfigError(f"{settings.model} predicts and cannot swap; choose another --model")
    sides = _read_both(session, content, pose, at_b)
    made: dict[str, Frames] = {}
    with filled(folder, overwrite=overwrite) as part, reporter.progress() as progress:
        total = (len(sides["A"].frames) - 1) * sum(plan.samples for plan in plans)
        task = progress.add_task("Swapping", total=total, note="")
        for plan in plans:
            progress.update(task, description=plan.label, refresh=True)
            paths = [part / name for name in plan.names(settings.format)]
            tick = partial(progress.advance, task)
            made[plan.label] = _draw(swapper, plan, sides, session, paths, tick)
        progress.update(task, description=f"Writing {one_line(folder.name)}", refresh=True)
        taken = {
            plan.label: motion_taken(made[plan.label], sides[plan.mover].frames[1:])
            for plan in plans
            if plan.giver != plan.mover
        }
        given = {"content": str(content), "pose": str(pose), "at_b": at_b, "both": both}
        record = provenance(session) | given | {"folder": str(folder), "motion_taken": taken}
        _write_overview(part, sides, plans, made, record)
        record = write_record(part, RECORD_FILE, record)
    reporter.result(record, *_lines(record, content, pose))
    if open_page:
        webbrowser.open((folder / PAGE).resolve().as_uri())


def _draw(
    swapper: Swapper,
    plan: _Plan,
    sides: dict[str, Excerpt],
    session: Session,
    paths: list[Path],
    tick: Callable[[int], object],
) -> Frames:
    """Write the samples of a plan to their files; return the first one, `(T - 1, H, W, 3)`."""
    side, mover = sides[plan.giver], sides[plan.mover].frames
    first, kept = side.frames[:1], np.empty_like(side.frames[1:])
    suffix, seeds = f".{session.settings.format}", session.seeds[: plan.samples]
    moments = swapper.swap(side.frames, mover, seeds=seeds, temperature=session.temperature)
    with VideoFiles(paths, side.rate, suffix=suffix, length=len(kept), past=first) as files:
        for samples, time, frames in moments:
            for number, frame in zip(samples, frames, strict=True):
                files.write(number, time, frame)
                if number == 0:
                    kept[time] = frame
            tick(len(samples))
    return kept


def _plans(samples: int, *, both: bool) -> list[_Plan]:
    """List what is made: every swap, and a reconstruction of what gives the content."""
    ways = [("A", "B"), ("B", "A")] if both else [("A", "B")]
    swaps = [_Plan(giver, mover, samples) for giver, mover in ways]
    return swaps + [_Plan(giver, giver, 1) for giver, _ in ways]


def _result_files(plans: list[_Plan], suffix: str) -> list[str]:
    names = [name for plan in plans for name in plan.names(suffix)]
    return [PAGE, *names, f"clip_A.{suffix}", f"clip_B.{suffix}", "sheet.png", RECORD_FILE]


def _read_both(session: Session, content: Path, pose: Path, at_b: str | None) -> dict[str, Excerpt]:
    """Read A and B, as many frames of each, at the rate of A: B would move at another speed."""
    first = read_excerpt(session, content, count=2)
    count, found = first.horizon + 1, {}
    for name, path, at in (("A", content, None), ("B", pose, at_b)):
        option = "--at" if at is None else "--at-b"
        side = read_excerpt(session, path, rate=first.rate, count=count, at=at, option=option)
        if len(side.frames) < count:
            raise VideoError(
                f"{path} has {len(side.frames)} frames there, and {count} are needed; choose a "
                f"smaller --horizon than {session.settings.horizon}"
            )
        found[name] = side
    return found


def motion_taken(swapped: Frames, mover: Frames) -> dict[str, Any]:
    """Measure how much of a clip's motion another one took over.

    Args:
        swapped: what was made, `(T, H, W, 3)`.
        mover: what it should move as, the same number of frames.

    Returns:
        The share: 1 if all places move as far and in the same direction, 0 if what moves has
        nothing to do with it. And a word for it.
    """
    motions = [
        movement(to_tensor(fit_all(clip, LOOKED_AT, how="crop"), channels=3)[None])
        for clip in (swapped, mover)
    ]
    made, wanted = (motion.flatten().double() for motion in motions)
    if float(wanted.abs().max()) < STILL:
        return {"share": 0.0, "word": "nothing to take: it stands still"}
    share = float(torch.dot(made, wanted) / torch.dot(wanted, wanted))
    if float(made.abs().max()) < STILL:
        return {"share": share, "word": "nothing moves"}
    return {"share": share, "word": next(word for low, word in WORDS if share >= low)}


def _write_overview(
    part: Path,
    sides: dict[str, Excerpt],
    plans: list[_Plan],
    made: dict[str, Frames],
    record: dict[str, Any],
) -> None:
    """Write the given clips, the sheet and the page."""
    settings, rate = record["settings"], sides["A"].rate
    for name, side in sides.items():
        write_frames(part / f"clip_{name}.{settings['format']}", side.frames, rate)
    rows: list[tuple[str, Film]] = [
        (name, _alike(side.frames, sides["A"].frames)) for name, side in sides.items()
    ]
    tiles = []
    for plan in plans:
        whole = np.concatenate([sides[plan.giver].frames[:1], made[plan.label]])
        rows.append((plan.label, _alike(whole, sides["A"].frames)))
        kind = "given" if plan.giver == plan.mover else "sample"
        taken = record["motion_taken"].get(plan.label)
        for number, file in enumerate(plan.names(settings["format"])):
            numbered = f" {number + 1}" if plan.samples > 1 and kind == "sample" else ""
            note = _told(taken) if taken and number == 0 else ""
            tiles.append(Tile(plan.label + numbered, file, kind, note))
    given = [Tile(name, f"clip_{name}.{settings['format']}", "given") for name in sides]
    write_picture(part / "sheet.png", strip(rows, tile=TILE, rate=rate))
    page = Page(
        title=f"{Path(record['content']).name} moving as {Path(record['pose']).name}",
        subtitle=f"{_gist(record)} · A gives what is seen, B how it moves",
        tiles=sorted([*given, *tiles], key=lambda tile: tile.kind, reverse=True),
        rate=float(rate),
        observed=1,
        words=("given", "moved"),
        frames=len(sides["A"].frames),
        shape=sides["A"].frames.shape[1:3],
        tables=[settings_listing(record, rate=rate)],
    )
    (part / PAGE).write_text(page.html(), encoding="utf-8")


def _alike(frames: Frames, like: Frames) -> Frames:
    """Shrink a clip, and put it into the middle of a frame of the shape of another one."""
    height, width = enlarge(like[0], TILE).shape[:2]
    scale = min(height / frames.shape[1], width / frames.shape[2])
    small = enlarge(frames, round(scale * max(frames.shape[1:3])))[:, :height, :width]
    whole = np.zeros((len(small), height, width, 3), np.uint8)
    top, left = (height - small.shape[1]) // 2, (width - small.shape[2]) // 2
    whole[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    return whole


def _told(taken: dict[str, Any]) -> str:
    return f"{taken['word']} ({taken['share']:.2f})"


def _gist(record: dict[str, Any]) -> str:
    settings = record["settings"]
    count = settings["samples"]
    samples = f"{count} sample{'s' * (count > 1)}"
    return f"{samples} · model {settings['model']} · seed {record['seed']}"


def _lines(record: dict[str, Any], content: Path, pose: Path) -> list[Any]:
    """Say what was made, how much of the motion was taken, and what to open."""
    names = {"A": content.name, "B": pose.name}
    lines: list[Any] = []
    for label, taken in record["motion_taken"].items():
        giver, mover = label[0], label[-1]
        lines.append(one_line(f"{names[giver]} moving as {names[mover]}: {_told(taken)}"))
    folder = one_line(record["folder"])
    end = f": {_gist(record)} · open {folder}/{PAGE}"
    return [*lines, Text.assemble((folder, "bold"), one_line(end))]
