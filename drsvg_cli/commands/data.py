"""The work behind `drsvg data`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import TaskID

from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.data import kth as kth_files
from drsvg_cli.data import moving_mnist, sprite_sheets
from drsvg_cli.data.download import cache_folder, fetch, fetch_archive
from drsvg_cli.errors import DataError
from drsvg_cli.network import Tick


def mnist(out: Path | None, mirrors: Sequence[str] | None, *, as_json: bool, quiet: bool) -> None:
    """Fetch MNIST.

    Raises:
        DataError: no mirror gives it.
        ResourceError: the folder cannot be written to.
    """
    packed = {f"{name}.gz": digest for name, digest in moving_mnist.CONTENTS.items()}
    reporter = Reporter(as_json=as_json, quiet=quiet)
    _fetch("mnist", packed, out, mirrors or moving_mnist.MIRRORS, reporter)


def sprites(out: Path | None, mirrors: Sequence[str] | None, *, as_json: bool, quiet: bool) -> None:
    """Fetch the sheets of Sprites.

    Raises:
        DataError: no mirror gives them.
        ResourceError: the folder cannot be written to.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    _fetch("sprites", sprite_sheets.CONTENTS, out, mirrors or sprite_sheets.MIRRORS, reporter)


def kth(out: Path | None, mirrors: Sequence[str] | None, *, as_json: bool, quiet: bool) -> None:
    """Fetch KTH's list of frames, and the archives of those actions whose clips are not all there.

    Raises:
        DataError: no mirror gives them, or they are not what they should be.
        ResourceError: the folder cannot be written to.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    folder, sources = out or cache_folder("kth"), mirrors or kth_files.MIRRORS
    fetched = []
    with _progress(reporter) as tick:
        for action, digest in kth_files.ARCHIVES.items():
            archive, names = f"{action}.zip", kth_files.file_names(action)
            if not all(_holds_something(folder / name) for name in names) and fetch_archive(
                archive, folder, digest=digest, wanted=names, mirrors=sources, tick=tick
            ):
                fetched.append(archive)
        fetched += fetch({kth_files.RANGES_FILE: ""}, folder, mirrors=sources, tick=tick)
    ranges = folder / kth_files.RANGES_FILE
    listed = len(kth_files.read_ranges(ranges))
    if listed != kth_files.TOTAL:
        raise DataError(
            f"{ranges} lists {listed} clips, not {kth_files.TOTAL}; remove it and fetch it again"
        )
    clips = [name for action in kth_files.ARCHIVES for name in kth_files.file_names(action)]
    # Clips that were there are not known by a sum: no more is said of them than was looked at.
    _conclude(
        "kth", folder, [kth_files.RANGES_FILE, *clips], fetched, reporter, state="no clip is empty"
    )


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _fetch(
    name: str,
    contents: Mapping[str, str],
    out: Path | None,
    mirrors: Sequence[str],
    reporter: Reporter,
) -> None:
    folder = out or cache_folder(name)
    with _progress(reporter) as tick:
        fetched = fetch(contents, folder, mirrors=mirrors, tick=tick)
    state = "all are what they should be"
    _conclude(name, folder, sorted(contents), fetched, reporter, state=state)


@contextmanager
def _progress(reporter: Reporter) -> Iterator[Tick]:
    """Show a bar a file."""
    tasks: dict[str, TaskID] = {}
    with reporter.progress(in_bytes=True) as progress:

        def tick(file: str, received: int, size: int | None) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file, note="")
            progress.update(tasks[file], completed=received, total=size)

        yield tick


def _conclude(
    name: str,
    folder: Path,
    files: Sequence[str],
    fetched: Sequence[str],
    reporter: Reporter,
    *,
    state: str,
) -> None:
    done = f"{len(fetched)} files fetched" if fetched else "all files were there"
    reporter.result(
        {"folder": str(folder), "files": list(files), "fetched": list(fetched)},
        one_line(f"{name}: {done}, and {state}, in {folder}"),
    )
