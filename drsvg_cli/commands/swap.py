"""The work behind `drsvg swap`."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
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
    check_free,
    filled,
    result_name,
    write_picture,
    write_record,
    write_together,
)
from drsvg_cli.device import explained_memory
from drsvg_cli.errors import VideoError
from drsvg_cli.frames import Frames, resize, to_frames
from drsvg_cli.inference.batching import Moment
from drsvg_cli.inference.rollout import stream_swap
from drsvg_cli.video.clip import Pictures
from drsvg_cli.video.writing import write_frames
from drsvg_cli.visualization.layout import Film
from drsvg_cli.visualization.samples import Continued, comparison, strip

RECORD_FILE = "swap.json"


class _Side(NamedTuple):
    """One of the two clips."""

    path: Path
    small: torch.Tensor
    """As the model takes it, `(1, T, C, S, S)`."""
    large: Frames
    """As results show it, `(T, H, W, 3)`."""


@explained_memory(LESS)
def run(
    content: Path,
    pose: Path,
    settings: Settings,
    out: Path | None,
    *,
    source: Path,
    at_b: str | None,
    both: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Swap two clips.

    Raises:
        DrsvgError: a clip or the model is bad, or the folder of results is in the way.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    folder = out or Path(result_name(f"{content.stem}_{pose.stem}"))
    check_free(folder, overwrite=overwrite, names=result_files(settings, both=both))
    session = open_session(settings, source)
    sides, rate = _read_both(session, content, pose, at_b)
    length = len(sides["A"].large)
    # A reconstruction first, then the swaps.
    plans = [("A", "A", session.seeds[:1]), ("A", "B", session.seeds)]
    plans += [("B", "B", session.seeds[:1]), ("B", "A", session.seeds)] if both else []
    count = sum(len(seeds) for *_, seeds in plans)
    shape = count, length - 1, session.side, session.side
    with (
        filled(folder, overwrite=overwrite) as part,
        Spool(part.parent, shape) as made,
        reporter.progress() as progress,
    ):
        task = progress.add_task("Swapping", total=count * (length - 1), note="")
        rows: list[tuple[str, Film]] = [(name, side.large) for name, side in sides.items()]
        clips: dict[str, Pictures] = {}
        place = 0
        for giver, mover, seeds in plans:
            for moment in _swapped(session, sides[giver], sides[mover], seeds):
                _keep(moment, made, place, session.side)
                progress.advance(task, len(moment.samples))
            first = sides[giver].large[:1]
            films = [Continued(first, made[place + number]) for number in range(len(seeds))]
            if giver == mover:
                rows.append((f"{giver} reconstructed", films[0]))
            else:
                rows.append((f"{giver} moving as {mover}", films[0]))
                for number, film in enumerate(films, start=1):
                    clips[f"swap_{giver}_as_{mover}_{number}"] = film
            place += len(seeds)
        progress.update(task, description=f"Writing {one_line(folder.name)}", refresh=True)
        write_together(_jobs(part, clips, rows, session, rate), abandon=made.abandon)
        given = {"content": str(content), "pose": str(pose), "at_b": at_b, "both": both}
        given |= {"folder": str(folder)}
        record = write_record(part, RECORD_FILE, provenance(session) | given)
    told = (
        f": {content.name} moving as {pose.name}, {settings.samples} sample(s) of {length} frames "
        f"· model {settings.model} · seed {session.seed}"
    )
    reporter.result(record, Text.assemble((one_line(str(folder)), "bold"), one_line(told)))


def result_files(settings: Settings, *, both: bool) -> list[str]:
    """Name the files that the results are."""
    ways = ["A_as_B", "B_as_A"] if both else ["A_as_B"]
    swaps = [f"swap_{way}_{number + 1}" for way in ways for number in range(settings.samples)]
    return [*(f"{name}.{settings.format}" for name in ["grid", *swaps]), "sheet.png", RECORD_FILE]


def _read_both(
    session: Session, content: Path, pose: Path, at_b: str | None
) -> tuple[dict[str, _Side], Fraction]:
    """Read A and B, as many frames of each, at the rate of A."""
    count = session.settings.horizon + 1
    first = read(session, content, count)
    # At the rate of A, or else B would move at another speed than its own.
    second = read(session, pose, count, rate=first.rate, at_b=at_b)
    for path, clip in ((content, first), (pose, second)):
        if len(clip.frames) < count:
            raise VideoError(
                f"{path} has {len(clip.frames)} frames there, and {count} are needed; "
                f"choose a smaller --horizon than {session.settings.horizon}"
            )
    size = session.recipe.drsvg.size
    sides = {
        name: _Side(
            path,
            tensor(session, fitted(session, clip.frames, size))[None],
            to_shown(session, fitted(session, clip.frames, session.side)),
        )
        for name, path, clip in (("A", content, first), ("B", pose, second))
    }
    return sides, first.rate


def _swapped(session: Session, content: _Side, pose: _Side, seeds: list[int]) -> Iterator[Moment]:
    """Generate what follows the first frame of `content`."""
    for moment in stream_swap(
        session.model,
        content.small,
        pose.small,
        seeds=seeds,
        temperature=session.temperature,
    ):
        check_finite(moment.frames, content.path)
        yield moment


def _keep(moment: Moment, made: Spool, place: int, side: int) -> None:
    """Write a frame of some samples, the first of which has this place, `side` pixels high."""
    for number, frame in zip(moment.samples, to_frames(moment.frames[0]), strict=True):
        made.write(place + number, moment.time, resize(frame, width=side, height=side))


def _jobs(
    folder: Path,
    clips: dict[str, Pictures],
    rows: list[tuple[str, Film]],
    session: Session,
    rate: Fraction,
) -> list[Callable[[], object]]:
    """Say what is to be written: every swap, the grid and the sheet."""
    tile, suffix = session.side, session.settings.format
    clips = clips | {"grid": comparison(rows, tile=tile, rate=rate)}
    jobs: list[Callable[[], object]] = [
        partial(write_frames, folder / f"{name}.{suffix}", frames, rate)
        for name, frames in clips.items()
    ]
    sheet = folder / "sheet.png"
    jobs.append(lambda: write_picture(sheet, strip(rows, tile=min(tile, 128), rate=rate)))
    return jobs
