"""Folders of results: whole or absent."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from drsvg_cli.errors import ConfigError, ResourceError
from drsvg_cli.frames import Frames

RECORD_SUFFIX = ".json"


def choose_folders(clips: Sequence[Path], out: Path | None, *, overwrite: bool) -> list[Path]:
    """Choose a folder of results a clip, and make sure that none is in the way.

    One clip goes to `out` itself, several to a folder each inside it.

    Raises:
        ConfigError: a folder exists already and `overwrite` is not set.
    """
    if out is not None and len(clips) == 1:
        folders = [out]
    else:
        folders = []
        for clip in clips:
            wanted = (out or Path()) / f"{clip.stem}_drsvg"
            number = 2
            while wanted in folders:
                wanted = wanted.with_name(f"{clip.stem}_drsvg_{number}")
                number += 1
            folders.append(wanted)
    for folder in folders:
        check_free(folder, overwrite=overwrite)
    return folders


def check_free(folder: Path, *, overwrite: bool, remedy: str = "replace it with -y") -> None:
    """Make sure, before any work, that results may be written to `folder`.

    Raises:
        ConfigError: it is no folder, or it holds something and `overwrite` is not set.
        ResourceError: it cannot be made, or not be written to.
    """
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise ConfigError(
                f"{folder} is in the way: it is not a folder; choose another with --out"
            )
        if not overwrite and folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"{folder} exists already; {remedy} or choose another with --out")
        standing = _standing(folder)
        if not standing.is_dir():
            raise ResourceError(f"cannot write to {folder}: {standing} is not a folder")
        if not os.access(standing, os.W_OK | os.X_OK):
            raise ResourceError(f"cannot write to {standing}: no permission")
    except OSError as error:
        raise ResourceError(f"cannot write to {folder}: {error.strerror or error}") from None


def _standing(folder: Path) -> Path:
    """Return `folder` where it exists, or the nearest folder above it that does."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


@contextmanager
def filled(folder: Path) -> Iterator[Path]:
    """Give a temporary folder; what is in it at the end moves to `folder`.

    On any error, and on Ctrl-C, nothing is left behind and `folder` is as it was. Files of an
    earlier result that its record names and the new one lacks are removed.

    Raises:
        ResourceError: the folder cannot be written to, or the disk is full.
    """
    try:
        # Inside a folder that exists: it may be a disk of its own, or a link to one.
        beside = _standing(folder)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", suffix=".part", dir=beside))
    except OSError as error:
        raise ResourceError(f"cannot write to {folder}: {error.strerror or error}") from None
    try:
        yield part
        stale = _earlier(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(part.iterdir()):
            path.replace(folder / path.name)
            stale.discard(path.name)
        for name in stale:
            (folder / name).unlink()
    except OSError as error:
        raise ResourceError(f"cannot write to {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _earlier(folder: Path) -> set[str]:
    """Return the names of the files in `folder` that its earlier records list."""
    names: set[str] = set()
    for path in folder.glob(f"*{RECORD_SUFFIX}"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        # A user's package.json lists files too.
        if isinstance(record, dict) and {"drsvg", "sample_seeds", "files"} <= record.keys():
            names.update(name for name in record["files"] if Path(name).name == name)
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
