"""Pictures in a folder, or those that a pattern matches, as the frames of one clip."""

import glob
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from drsvg_cli.errors import VideoError
from drsvg_cli.video.clip import ClipInfo, Damage, Timed, shown
from drsvg_cli.video.colour import upright_size
from drsvg_cli.video.opening import PICTURE_FORMATS, opened

_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}


def list_pictures(path: Path) -> list[Path]:
    """List the pictures that lie in a folder, or that a pattern matches, in the order of numbers.

    Empty where there are none, and where a pattern matches anything else.
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if _is_picture(file)]
    elif path.exists():
        return []
    else:
        files = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        if not all(map(_is_picture, files)):
            return []
    return sorted(files, key=_natural)


def probe_pictures(path: Path, pictures: list[Path], rate: Fraction | None) -> ClipInfo:
    """Describe a sequence of pictures."""
    if rate is None:
        raise VideoError(
            f"{shown(path)}: pictures have no rate of their own; say with --rate how many are a "
            "second"
        )
    first = _decode(pictures[0])
    width, height = upright_size(first, first.width, first.height)
    count, name = len(pictures), pictures[0].suffix.lower().removeprefix(".")
    length = float(count / rate)
    return ClipInfo(
        path, name, width, height, rate, length, count, Fraction(0), pictures=tuple(pictures)
    )


def decode_pictures(info: ClipInfo, begin: Fraction, damage: Damage) -> Iterator[Timed]:
    """Yield the pictures of a sequence that can be decoded, from the one at `begin` on.

    Raises:
        VideoError: One has another size than the first.
    """
    first = max(0, int(begin * info.rate))
    for index, picture in enumerate(info.pictures[first:], start=first):
        try:
            frame = _decode(picture)
        except VideoError:
            damage.note(f"{shown(picture)} cannot be decoded", index / info.rate)
            continue
        width, height = upright_size(frame, frame.width, frame.height)
        if (width, height) != (info.width, info.height):
            raise VideoError(
                f"{shown(picture)} has {width}x{height} pixels and the first one "
                f"{info.width}x{info.height}: all pictures of a sequence have one size"
            )
        yield Timed(index / info.rate, frame)


def _decode(path: Path) -> av.VideoFrame:
    """Decode one picture of a sequence.

    Raises:
        VideoError: It cannot be decoded.
    """
    with opened(path, formats=PICTURE_FORMATS) as (container, stream, _):
        frames: Iterator[av.VideoFrame] = container.decode(stream)
        frame = next(frames, None)
        if frame is None:
            raise VideoError(f"{shown(path)} is not a picture that can be decoded")
        return frame


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


def _natural(path: Path) -> list[tuple[int, str]]:
    """Order 2.png before 10.png."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(int(part), part) if index % 2 else (0, part) for index, part in enumerate(parts)]
