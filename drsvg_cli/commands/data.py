"""The work behind `drsvg data`."""

from collections.abc import Sequence
from pathlib import Path

from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.data import kth
from drsvg_cli.data.download import cache_folder, fetch, fetch_archive, publication
from drsvg_cli.errors import DataError


def fetch_files(
    name: str, out: Path | None, mirrors: Sequence[str] | None, *, as_json: bool, quiet: bool
) -> None:
    """Fetch the files of MNIST (`mnist`) or of Sprites (`sprites`).

    Raises:
        DataError: no mirror gives them.
        ResourceError: the folder cannot be written to.
    """
    reporter, known = Reporter(as_json=as_json, quiet=quiet), publication(name)
    folder = out or cache_folder(name)
    with reporter.downloads() as tick:
        fetched = fetch(known.files, folder, mirrors=mirrors or known.mirrors, tick=tick)
    checked = "all are what they should be"
    _conclude(name, folder, sorted(known.files), fetched, reporter, checked=checked)


def fetch_kth(
    out: Path | None, mirrors: Sequence[str] | None, *, as_json: bool, quiet: bool
) -> None:
    """Fetch KTH's list of frames, and the archives of those actions whose clips are not all there.

    Raises:
        DataError: no mirror gives them, or they are not what they should be.
        ResourceError: the folder cannot be written to.
    """
    reporter, known = Reporter(as_json=as_json, quiet=quiet), publication("kth")
    folder, sources = out or cache_folder("kth"), mirrors or known.mirrors
    fetched, clips = [], []
    with reporter.downloads() as tick:
        for archive, digest in known.files.items():
            names = kth.file_names(archive.removesuffix(".zip"))
            clips += names
            if not all(_holds_something(folder / name) for name in names) and fetch_archive(
                archive, folder, digest=digest, wanted=names, mirrors=sources, tick=tick
            ):
                fetched.append(archive)
        fetched += fetch({kth.RANGES_FILE: ""}, folder, mirrors=sources, tick=tick)
    listed = len(kth.read_ranges(folder / kth.RANGES_FILE))
    if listed != kth.TOTAL:
        raise DataError(
            f"{folder / kth.RANGES_FILE} lists {listed} clips, not {kth.TOTAL}; remove it and "
            "fetch it again"
        )
    # The checksum of a clip is not known: one that was there is only known to be no empty file.
    files = [kth.RANGES_FILE, *clips]
    _conclude("kth", folder, files, fetched, reporter, checked="no clip is empty")


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _conclude(
    name: str,
    folder: Path,
    files: Sequence[str],
    fetched: Sequence[str],
    reporter: Reporter,
    *,
    checked: str,
) -> None:
    done = f"{len(fetched)} files fetched" if fetched else "all files were there"
    reporter.result(
        {"folder": str(folder), "files": list(files), "fetched": list(fetched)},
        one_line(f"{name}: {done}, and {checked}, in {folder}"),
    )
