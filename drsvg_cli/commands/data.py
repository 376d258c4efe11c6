"""The work behind `drsvg data`."""

from collections.abc import Sequence
from pathlib import Path

from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.data import kth
from drsvg_cli.data.download import Publication, cache_folder, fetch, fetch_archive, publication
from drsvg_cli.errors import DataError
from drsvg_cli.network import Tick


def run(name: str, out: Path | None, mirrors: Sequence[str] | None, reporter: Reporter) -> None:
    """Fetch the files of MNIST (`mnist`), of KTH (`kth`) or of Sprites (`sprites`).

    Raises:
        DataError: no mirror gives them, or they are not what they should be.
        ResourceError: the folder cannot be written to.
    """
    known, folder = publication(name), out or cache_folder(name)
    if mirrors:
        known = known._replace(mirrors=mirrors)
    with reporter.downloads() as tick:
        if name == "kth":
            files, fetched = _fetch_kth(known, folder, tick)
            checked = "no clip is empty"
        else:
            files, checked = sorted(known.files), "all are what they should be"
            fetched = fetch(known.files, folder, mirrors=known.mirrors, tick=tick)
    done = f"{len(fetched)} files fetched" if fetched else "all files were there"
    reporter.result(
        {"folder": str(folder), "files": files, "fetched": fetched},
        one_line(f"{name}: {done}, and {checked}, in {folder}"),
    )


def _fetch_kth(known: Publication, folder: Path, tick: Tick) -> tuple[list[str], list[str]]:
    """Fetch KTH's list of frames, and the archives of those actions whose clips are not all there.

    The checksum of a clip is not known: one that was there is only known to be no empty file.

    Returns:
        The names of all files, and of those that were fetched.
    """
    fetched, clips = [], []
    for archive, digest in known.files.items():
        names = kth.file_names(archive.removesuffix(".zip"))
        clips += names
        if not all(_holds_something(folder / name) for name in names) and fetch_archive(
            archive, folder, digest=digest, wanted=names, mirrors=known.mirrors, tick=tick
        ):
            fetched.append(archive)
    fetched += fetch({kth.RANGES_FILE: ""}, folder, mirrors=known.mirrors, tick=tick)
    listed = len(kth.read_ranges(folder / kth.RANGES_FILE))
    if listed != kth.TOTAL:
        raise DataError(
            f"{folder / kth.RANGES_FILE} lists {listed} clips, not {kth.TOTAL}; remove it and "
            "fetch it again"
        )
    return [kth.RANGES_FILE, *clips], fetched


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
