"""Folders of results: whole or absent, whatever interrupts, and however many write at once."""

import glob
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy  # noqa: F401  (without it OpenCV prints advice on stdout)

# isort: split
import cv2

from drsvg_cli.errors import ConfigError, ResourceError
from drsvg_cli.frames import Frames
from drsvg_cli.storage import locked, postponed, read_own, writable

PAGE, RECORD_SUFFIX = "index.html", ".json"
VIDEOS = (".mp4", ".gif", ".webp", ".png")
"""Suffixes by which a video that is to be written is told from a folder."""
RESULT = re.compile(
    r"(?:grid|truth|sample_\d+|clip_[AB]|swap_[AB]_as_[AB]_\d+|reconstruction_[AB])"
    r"\.(?:mp4|gif|webp|png)"
    r"|(?:heat|event_\d+)\.mp4|(?:events|scores)\.csv|curve\.png"
    r"|(?:sheet|disagreement|curves|examples|swaps)\.png|index\.html|table\.md"
    r"|(?:prediction|swap|swaps|evaluation|surprise)\.json"
)
"""Every name that a file of results has: what else a record lists is not removed."""
LONGEST_NAME = 255
"""Bytes, on the common file systems."""
_PART = ".part"
_ABANDONED = 60
"""Seconds after which a temporary folder that no process claims is what a killed one left."""


def choose_folders(
    clips: Sequence[Path], out: Path | None, *, overwrite: bool, names: Collection[str] = ()
) -> list[Path]:
    """Choose a folder of results a clip, and make sure that nothing is in the way.

    One clip goes to `out` itself, several to a folder each inside it. Each is to hold files of the
    given names.

    Raises:
        ConfigError: a folder exists already and `overwrite` is not set, or a file in it that is of
            no earlier result would be replaced.
    """
    one = out is not None and len(clips) == 1
    folders = [out] if one and out is not None else name_folders(clips, out or Path())
    for folder in folders:
        check_free(folder, overwrite=overwrite, names=names)
    return folders


def name_folders(clips: Sequence[Path], out: Path) -> list[Path]:
    """Name a folder of results inside `out` for each clip; no two are the same."""
    folders, taken = [], set()
    for clip in clips:
        wanted = out / result_name(clip.stem)
        number = 2
        while wanted.name.casefold() in taken:  # to some file systems a.mp4 and A.mp4 are one
            wanted = wanted.with_name(result_name(clip.stem, f"_{number}"))
            number += 1
        taken.add(wanted.name.casefold())
        folders.append(wanted)
    return folders


def is_video(path: Path) -> bool:
    """Tell a video that is to be written from a folder."""
    return path.suffix.lower() in VIDEOS and not path.is_dir()


def check_video(path: Path, *, overwrite: bool) -> None:
    """Make sure, before any work, that a video may be written.

    Raises:
        ConfigError: something is in the way.
        ResourceError: it cannot be written there.
    """
    if os.path.lexists(path) and not (path.is_file() and overwrite):
        remedy = "replace it with -y or choose" if path.is_file() else "it is no file; choose"
        raise ConfigError(f"{path} exists already; {remedy} another with --out")
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ResourceError(f"cannot write to {path.parent}: no permission")


def result_name(stem: str, number: str = "") -> str:
    """Name a folder of results after what it was made from, as far as a name may be long."""
    end = f"_drsvg{number}"
    room = LONGEST_NAME - len(os.fsencode(end))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + end


def check_free(
    folder: Path,
    *,
    overwrite: bool,
    names: Collection[str] = (),
    remedy: str = "replace it with -y",
) -> None:
    """Make sure, before any work, that results of these names may be written to `folder`.

    Raises:
        ConfigError: it is no folder, it holds something and `overwrite` is not set, or one of the
            names is taken by what is of no earlier result.
        ResourceError: it cannot be made, or not be written to, or a folder has one of the names.
    """
    with writable(folder):
        if os.path.lexists(folder) and not folder.is_dir():
            raise ConfigError(
                f"{folder} is in the way: it is not a folder; choose another with --out"
            )
        if not overwrite and folder.is_dir() and any(map(is_content, folder.iterdir())):
            raise ConfigError(f"{folder} exists already; {remedy} or choose another with --out")
        _check_kept(folder, names)
        standing = _standing(folder)
        if not standing.is_dir():
            raise ResourceError(f"cannot write to {folder}: {standing} is not a folder")
        if not os.access(standing, os.W_OK | os.X_OK):
            raise ResourceError(f"cannot write to {standing}: no permission")


def _standing(folder: Path) -> Path:
    """Return `folder` where it exists, or the nearest folder above it that does."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def is_content(path: Path) -> bool:
    """Tell what somebody keeps from the temporary folder of a run."""
    return not (path.name.startswith(".") and path.suffix == _PART)


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it again, and those made above it, where nothing was put there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


@contextmanager
def kept_for_one(folder: Path) -> Iterator[None]:
    """Keep a folder of results for one run, which writes there more than once.

    Raises:
        ConfigError: another run has it.
        ResourceError: it cannot be made.
    """
    mark = folder / f".running{_PART}"
    with ExitStack() as stack:
        with writable(folder):
            stack.enter_context(made(folder))
            mark.mkdir(exist_ok=True)
            try:
                stack.enter_context(locked(mark))
            except BlockingIOError:
                raise ConfigError(
                    f"another run is at work on {folder}; wait for it, or choose another with --out"
                ) from None
        stack.callback(shutil.rmtree, mark, ignore_errors=True)
        yield


@contextmanager
def filled(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder; what is in it at the end becomes `folder`, or moves into it.

    On any error, and on Ctrl-C, nothing is left behind and `folder` is as it was. Files of an
    earlier result that its record names and the new one lacks are removed. Of two runs that end
    at the same time one comes after the other: their files do not mix.

    Raises:
        ConfigError: another run has filled the folder meanwhile, and `overwrite` is not set.
        ResourceError: the folder cannot be written to, or the disk is full.
    """
    with writable(folder):
        # Inside a folder that exists: it may be a disk of its own, or a link to one.
        beside = _standing(folder)
        start = f".{folder.name[:40]}."
        for place in {beside, _standing(folder.parent)}:
            _sweep(place, start)
        part = beside / f"{start}{secrets.token_hex(4)}{_PART}"
        part.mkdir()
    try:
        with writable(folder), locked(part):
            yield part
            _publish(part, folder, overwrite=overwrite)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sweep(beside: Path, start: str) -> None:
    """Remove the temporary folders of runs that were killed."""
    for path in beside.glob(f"{glob.escape(start)}*{_PART}"):
        with suppress(OSError):  # claimed by a run that lives, or removed by another one
            if time.time() - path.stat().st_mtime > _ABANDONED:
                with locked(path):
                    shutil.rmtree(path)


def _publish(part: Path, folder: Path, *, overwrite: bool) -> None:
    """Make a whole result of the files in `part` visible as `folder`, after any other run."""
    with postponed():
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(folder):
            with suppress(OSError):  # another run was quicker
                part.rename(folder)
                return
    with locked(folder, wait=True), postponed():
        check_free(folder, overwrite=overwrite, remedy="another run has filled it; use -y")
        _exchange(part, folder)


def _exchange(part: Path, folder: Path) -> None:
    """Move the files of `part` into `folder` and the earlier result out of it, or neither.

    The old record leaves first and the new one comes last: a folder with a record is whole.
    """
    new = sorted((path.name for path in part.iterdir()), key=_is_record)
    _check_kept(folder, new)
    old = sorted(_earlier(folder), key=_is_record, reverse=True)
    aside = part / ".earlier"
    aside.mkdir()
    moves = [(folder / name, aside / name) for name in old]
    moves += [(part / name, folder / name) for name in new]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            target.rename(source)
        raise


def _check_kept(folder: Path, names: Collection[str]) -> None:
    """Refuse names that are taken by what somebody keeps."""
    for name in sorted(set(names) - _earlier(folder)):
        if (folder / name).is_dir():
            raise ResourceError(f"cannot write {folder / name}: a folder is in the way")
        if os.path.lexists(folder / name):
            raise ConfigError(
                f"{folder / name} is not of an earlier result, and would be replaced; choose "
                "another folder with --out"
            )


def _is_record(name: str) -> bool:
    return name.endswith(RECORD_SUFFIX)


def _earlier(folder: Path) -> set[str]:
    """Return the names of the files in `folder` that its earlier records list."""
    names: set[str] = set()
    for path in folder.glob(f"*{RECORD_SUFFIX}"):
        try:
            record = json.loads(read_own(path))
        except (OSError, ValueError, RecursionError):
            continue
        # A user's package.json lists files too.
        if isinstance(record, dict) and {"drsvg", "sample_seeds"} <= record.keys():
            files = record.get("files")
            listed = [str(name) for name in files] if isinstance(files, list) else []
            names.update(filter(RESULT.fullmatch, listed))  # whatever else a record may list
    return {name for name in names if (folder / name).is_file()}


def write_picture(path: Path, picture: Frames) -> None:
    """Write an RGB picture `(H, W, 3)` as PNG."""
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    path.write_bytes(data.tobytes())


def write_record(folder: Path, name: str, record: dict[str, Any]) -> dict[str, Any]:
    """Write `name` with the record and the names of all files beside it; return both."""
    files = sorted([path.name for path in folder.iterdir()] + [name])
    complete = {**record, "files": files}
    (folder / name).write_text(json.dumps(complete, indent=2) + "\n", encoding="utf-8")
    return complete
