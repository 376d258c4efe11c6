"""The work behind `drsvg data`."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import TaskID

from drsvg_cli.cli.console import Reporter, one_line
from drsvg_cli.mirrors import cache_folder, fetch
from drsvg_cli.sequences.moving_mnist import CONTENTS, MIRRORS


def mnist(out: Path | None, mirrors: Sequence[str] | None, *, as_json: bool, quiet: bool) -> None:
    """Fetch MNIST.

    Raises:
        DataError: no mirror gives it.
        ResourceError: the folder cannot be written to.
    """
    packed = {f"{name}.gz": digest for name, digest in CONTENTS.items()}
    _fetch("mnist", packed, out, mirrors or MIRRORS, Reporter(as_json=as_json, quiet=quiet))


def _fetch(
    name: str,
    contents: dict[str, str],
    out: Path | None,
    mirrors: Sequence[str],
    reporter: Reporter,
) -> None:
    folder = out or cache_folder(name)
    tasks: dict[str, TaskID] = {}
    with reporter.progress(in_bytes=True) as progress:

        def tick(file: str, received: int, size: int | None) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file, note="")
            progress.update(tasks[file], completed=received, total=size)

        fetched = fetch(contents, folder, mirrors=mirrors, tick=tick)
    done = f"{len(fetched)} files fetched" if fetched else "all files were there"
    reporter.result(
        {"folder": str(folder), "files": sorted(contents), "fetched": fetched},
        one_line(f"{name}: {done}, and all are what they should be, in {folder}"),
    )
