"""The work behind `drsvg swap`."""

from pathlib import Path

import numpy as np
from rich.text import Text

from drsvg_cli.cli.console import Reporter, one_line
from drsvg_cli.cli.results import check_free, filled, result_name, write_picture, write_record
from drsvg_cli.cli.session import (
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
from drsvg_cli.cli.spool import LESS
from drsvg_cli.device import explained_memory
from drsvg_cli.errors import VideoError
from drsvg_cli.frames import Frames, to_frames
from drsvg_cli.pictures import comparison, strip
from drsvg_cli.rollout import swap
from drsvg_cli.video import Clip, write_clip, write_frames


@explained_memory(LESS)
def run(
    content: Path,
    pose: Path,
    settings: Settings,
    out: Path | None,
    *,
    source: Path,
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
    check_free(folder, overwrite=overwrite)
    session = open_session(settings, source)
    first = read(session, content, settings.horizon + 1)
    # At the rate of A, or else B would move at another speed than its own.
    clips = [first, read(session, pose, settings.horizon + 1, rate=first.rate)]
    if len(clips[0].frames) != len(clips[1].frames):
        shorter = min(
            zip((content, pose), clips, strict=True), key=lambda pair: len(pair[1].frames)
        )
        raise VideoError(
            f"{shorter[0]} has {len(shorter[1].frames)} frames there, fewer than the other clip; "
            f"choose a smaller --horizon than {settings.horizon}"
        )
    named = dict(zip("AB", clips, strict=True))
    paths = dict(zip("AB", (content, pose), strict=True))
    ways = [("A", "B"), ("B", "A")] if both else [("A", "B")]
    with filled(folder, overwrite=overwrite) as part:
        rows = [(name, shown(session, clip)) for name, clip in named.items()]
        for giver, mover in ways:
            pair, path = (named[giver], named[mover]), paths[giver]
            reconstruction = _swapped(session, named[giver], named[giver], session.seeds[0], path)
            rows.append((f"{giver} reconstructed", reconstruction))
            for number, seed in enumerate(session.seeds, start=1):
                sample = _swapped(session, *pair, seed, path)
                name = f"swap_{giver}_as_{mover}_{number}.{settings.format}"
                write_clip(part / name, Clip(sample, clips[0].rate))
                if number == 1:
                    rows.append((f"{giver} moving as {mover}", sample))
        rate, tile = clips[0].rate, session.side
        write_frames(part / f"grid.{settings.format}", comparison(rows, tile=tile, rate=rate), rate)
        write_picture(part / "sheet.png", strip(rows, tile=min(tile, 128), rate=rate))
        given = {"content": str(content), "pose": str(pose), "both": both, "folder": str(folder)}
        record = write_record(part, "swap.json", provenance(session) | given)
    told = (
        f": {content.name} moving as {pose.name}, {settings.samples} sample(s) of "
        f"{len(first.frames)} frames · model {settings.model} · seed {session.seed}"
    )
    reporter.result(record, Text.assemble((one_line(str(folder)), "bold"), one_line(told)))


def shown(session: Session, clip: Clip) -> Frames:
    """Return the frames of a clip at the size of the results."""
    return to_shown(session, fitted(session, clip.frames, session.side))


def _swapped(session: Session, content: Clip, pose: Clip, seed: int, path: Path) -> Frames:
    """Return a sample `(T, H, W, 3)`, beginning with the first frame of `content`."""
    size = session.recipe.model.size
    large = shown(session, content)
    rollout = swap(
        session.model,
        tensor(session, fitted(session, content.frames, size))[None],
        tensor(session, fitted(session, pose.frames, size))[None],
        seeds=[seed],
        temperature=session.temperature,
        view=tensor(session, large[:1])[None],
    )
    check_finite(rollout.frames, path)
    assert rollout.views is not None
    return np.concatenate([large[:1], to_frames(rollout.views[0, 0])])
