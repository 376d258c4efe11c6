"""Which files are clips: those named, those in folders, and those that patterns match."""

import glob
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from drsvg_cli.errors import VideoError
from drsvg_cli.video.clip import shown
from drsvg_cli.video.decoding import list_pictures

_SUFFIX = re.compile(r"\.(3gp|apng|asf|avi|flv|gif|m2?ts|m4v|mkv|mov|mp4|mpe?g|ogv|ts|web[mp]|wmv)")


def find_clips(inputs: Sequence[Path | str]) -> list[Path]:
    """List the files that `inputs` name: files as given, folders recursively, patterns expanded.

    A folder in which there are pictures and no videos is one clip, and so is each of its folders; a
    pattern that matches pictures alone is one as well.

    Raises:
        VideoError: An input does not exist, or holds no video file.
    """
    found: dict[Path, Path] = {}
    for given in inputs:
        if given == "":  # a shell variable that is not set; a path of it is the current folder
            raise VideoError("a clip's name is empty; give a file, a folder or a pattern")
        for path in _expand(Path(given)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _expand(given: Path) -> list[Path]:
    """List the video files that one input names."""
    if given.is_dir():
        names = (path.relative_to(given) for path in given.rglob("*.*"))
        plain = (name for name in names if not any(map(_is_passed_over, name.parts)))
        videos = [given / name for name in plain if _SUFFIX.fullmatch(name.suffix.lower())]
        below = {path.parent for path in videos} - {given}
        made = {folder / name for folder in below for name in _results(folder)}
        files = sorted(path for path in videos if path.is_file() and path not in made)
        if not videos:
            files = _sequences(given)
        if not files:
            raise VideoError(f"{shown(given)}: no video file in this folder, and no pictures")
        return files
    if given.exists():
        return [given]
    if list_pictures(given):
        return [given]
    matches = map(Path, sorted(glob.glob(str(given), recursive=True)))  # noqa: PTH207
    found = [path for match in matches if match.exists() for path in _expand(match)]
    if not found:
        raise VideoError(_why_missing(given))
    return found


def _why_missing(given: Path) -> str:
    """Say why a name leads to no clip."""
    if str(given) == "-":
        return "clips are not read from standard input (-); give a file, as frames are sought in it"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(given)):
        return f"{shown(given)} is an address, not a file; download the clip and give the file"
    if given.is_symlink():
        return f"{shown(given)}: no such file (a link that leads nowhere)"
    return f"{shown(given)}: no such file"


def _sequences(folder: Path) -> list[Path]:
    """List the folders that hold pictures, the given one first."""
    inner = [path for path in folder.rglob("*") if path.is_dir()]
    plain = [
        path for path in inner if not any(map(_is_passed_over, path.relative_to(folder).parts))
    ]
    return [path for path in [folder, *sorted(plain)] if list_pictures(path)]


def _is_passed_over(part: str) -> bool:
    """Tell hidden files and folders, and earlier results, in a folder of clips."""
    return part.startswith(".") or bool(re.search(r"_drsvg(_\d+)?\Z", part))


def _results(folder: Path) -> list[str]:
    """List the files that are earlier results, in a folder of whatever name, by its record."""
    for name in ("prediction.json", "swap.json", "surprise.json"):
        with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            text = (folder / name).read_text(encoding="utf-8")
            return [str(file) for file in json.loads(text)["files"]]
    return []
