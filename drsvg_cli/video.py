"""Read and write video files with PyAV and nothing but.

Promises: no frame is decoded that is not needed, no more than the frames asked for are kept, the
numbers in a file's header are hints, and no file but the one named is opened. Knows nothing of
tensors.
"""

import errno
import glob
import itertools
import json
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import av
import av.filter
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from drsvg_cli.errors import ResourceError, VideoError

logger = logging.getLogger(__name__)

MAX_GIF_RATE = Fraction(50)  # browsers slow down anything faster
_SUFFIX = re.compile(r"\.(3gp|apng|asf|avi|flv|gif|m2?ts|m4v|mkv|mov|mp4|mpe?g|ogv|ts|web[mp]|wmv)")
# Playlists (m3u8, ffconcat) and URLs would make the file's author choose what is opened.
_MAX_PIXELS = 8192 * 4320
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,webp_anim,webp_pipe,"
    "mpegts,mpeg,mpegvideo,flv,ogg,asf,yuv4mpegpipe",
    "max_pixels": str(_MAX_PIXELS),
}
_LARGE = 2**23  # pixels; of larger frames no more than two are decoded at a time
_UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED
_MAX_GAP = 3600  # seconds between two frames; more is damage, and would be filled with repeats
_SEEK_MARGINS = (Fraction(0), Fraction(10))  # seconds before the first frame wanted


@dataclass(frozen=True)
class Clip:
    """Hold frames that follow each other at a constant rate.

    `frames` is uint8 `(T, H, W, C)` with one or three channels, `rate` is in frames a second and
    `start` is the time of the first frame in its source, in seconds.

    Raises:
        ValueError: The frames have another shape or type, or the rate is not positive.
    """

    frames: NDArray[np.uint8]
    rate: Fraction
    start: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is not a clip."""
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            raise ValueError(f"frames are uint8 (T, H, W, 1 or 3), not {self.frames.dtype} {shape}")
        if 0 in shape:
            raise ValueError(f"a clip has at least one frame and one pixel, not {shape}")
        if self.rate <= 0:
            raise ValueError(f"a rate is positive, not {self.rate}")

    @property
    def times(self) -> list[float]:
        """Give the time of every frame in the source, in seconds."""
        return [self.start + float(index / self.rate) for index in range(len(self.frames))]


@dataclass(frozen=True)
class ClipInfo:
    """Describe a video file: its size as displayed, its average rate, its length if known.

    `duration` and `start`, the time stamp of the first frame, are in seconds. `duration` and
    `frames` are what the header says of the pictures, which may be untrue, and None where it says
    nothing.
    """

    path: Path
    codec: str
    width: int
    height: int
    rate: Fraction
    duration: float | None
    frames: int | None
    start: Fraction


class _Timed(NamedTuple):
    """Pair a frame with its time in seconds."""

    time: Fraction
    frame: av.VideoFrame


class _Sample(NamedTuple):
    """Hold the frames found on a grid, and the time of the clip's last frame if reached."""

    frames: list[NDArray[np.uint8]]
    last: Fraction | None


class _Format(NamedTuple):
    """Say how a kind of file is written."""

    muxer: str
    codec: str
    gray: str
    colour: str
    options: dict[str, str]
    container_options: dict[str, str]


_FORMATS = {
    ".mp4": _Format(
        "mp4",
        "libx264",
        "yuv420p",
        "yuv420p",
        # With AVX-512, x264's macroblock tree reads what memory happens to hold beyond narrow rows.
        {"crf": "18", "preset": "medium", "mbtree": "0"},
        {"movflags": "+faststart"},
    ),
    ".gif": _Format("gif", "gif", "gray", "pal8", {}, {"loop": "0"}),
    ".webp": _Format("webp", "libwebp_anim", "bgra", "bgra", {"quality": "90"}, {"loop": "0"}),
    ".png": _Format("apng", "apng", "gray", "rgb24", {}, {"plays": "0"}),
    ".mkv": _Format("matroska", "ffv1", "gray", "bgr0", {"level": "3"}, {}),
}


def find_clips(inputs: Sequence[Path | str]) -> list[Path]:
    """List the files that `inputs` name: files as given, folders recursively, patterns expanded.

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


def probe(path: Path) -> ClipInfo:
    """Describe the clip in `path` from its header and its first frame.

    Raises:
        VideoError: The file is missing, not a video, or none of its frames can be decoded.
    """
    with _opened(path) as (container, stream):
        first = next(_frames(container, stream, _Damage()), None)
        if first is None:
            raise VideoError(
                f"{_shown(path)}: no frame that can be decoded, up to 8192×4320 pixels"
            )
        width, height = _displayed_size(stream, first.frame)
        seconds = _seconds(stream.duration, stream.time_base)
        if not seconds and container.duration and len(container.streams) == 1:
            # With other streams it may be that of a sound.
            seconds = Fraction(container.duration, av.time_base)
            if "matroska" in container.format.name:  # there it is when the clip ends
                seconds -= first.time
        return ClipInfo(
            path=path,
            codec=stream.codec_context.name,
            width=width,
            height=height,
            rate=_rate(stream),
            duration=float(seconds) if seconds else None,
            frames=stream.frames or None,
            start=first.time,
        )


def grid_rate(source: Fraction, rate: Fraction | None, *, exact: bool = False) -> Fraction:
    """Choose the rate at which a clip is sampled, in frames a second.

    It is `source` divided by a whole number, so that motion does not judder: the one nearest to
    `source / rate`, so that it is about `rate`. `exact` gives `rate` itself.
    """
    if rate is None or exact:
        return rate or source
    return source / max(1, round(source / rate))


def measure_length(info: ClipInfo) -> float:
    """Measure how many seconds a clip lasts, up to the end of its last frame.

    Raises:
        VideoError: The clip cannot be read.
    """
    grid = [_last_time_stamp(info)]
    last = _sample(info, grid, damage=_Damage(), shrink=None, to_the_end=True).last
    assert last is not None
    return float(last + 1 / info.rate)


def read_clip(
    path: Path,
    count: int,
    *,
    after: int = 0,
    at: float | None = None,
    info: ClipInfo | None = None,
    rate: Fraction | None = None,
    exact_rate: bool = False,
    shrink: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> Clip:
    """Read `count` frames up to and including the moment `at`, and `after` frames beyond it.

    `at` is in seconds from the first frame; None reads the end of the clip. Frames are sampled by
    time stamp on the grid of `grid_rate`. Where the clip begins too late for `count` frames, fewer
    come back, but at least the one at `at`. Frames are RGB, upright, with square pixels; `shrink`
    is applied to each as it is read, for frames too large to keep. `info` is what `probe` has said
    already, if it was asked.

    Raises:
        VideoError: The clip cannot be read, `at` lies outside it, or it ends before `after` frames.
        ValueError: `count` is not positive, or `after` is negative.
    """
    if count < 1 or after < 0:
        raise ValueError(f"count is at least 1 and after at least 0, not {count} and {after}")
    if at is not None and not 0 <= at < float("inf"):
        raise VideoError(f"a moment in a clip is 0 seconds or later, not {at:g}")
    info = info or probe(path)
    step = 1 / grid_rate(info.rate, rate, exact=exact_rate)
    if at is None:
        end = _last_time_stamp(info)
    else:
        end = round(Fraction(at) * info.rate) / info.rate + after * step
    grid = _grid(info, end, step=step, count=count + after)
    damage = _Damage(path)
    sample = _sample(info, grid, damage=damage, shrink=shrink, to_the_end=at is None)
    if at is None and info.duration and sample.last is not None:
        _warn_of_a_cut(info, sample.last)
    missed = sample.last != end if at is None else len(sample.frames) < len(grid)
    if missed and sample.last is not None:
        if at is not None:
            _check_reach(info, at, after=after, step=step, last=sample.last)
        grid = _grid(info, sample.last, step=step, count=count + after)
        sample = _sample(info, grid, damage=damage, shrink=shrink, to_the_end=False)
    if len(sample.frames) <= after:
        raise VideoError(
            f"{_shown(path)} is too short: {after} frames after the context want at least "
            f"{after + 1} at {float(1 / step):.4g} a second, and it has {len(sample.frames)}"
        )
    return Clip(np.stack(sample.frames), 1 / step, start=max(0.0, float(grid[0])))


def read_frames(path: Path, *, rate: Fraction | None = None) -> Iterator[NDArray[np.uint8]]:
    """Yield every frame of a clip, uint8 `(H, W, 3)`, at `grid_rate(probe(path).rate, rate)`.

    Only one frame at a time is held.

    Raises:
        VideoError: The clip cannot be read.
    """
    info = probe(path)
    step = 1 / grid_rate(info.rate, rate)
    with closing(_decode(info, None, _Damage(path))) as frames:
        for picked in _nearest(frames, (index * step for index in itertools.count()), info.rate):
            yield _rgb(picked.frame, info)


class Pictures(Protocol):
    """Frames in order, uint8 `(H, W, 1 or 3)` of one shape; each may be made when asked for."""

    def __len__(self) -> int:
        """Count the frames."""

    def __getitem__(self, index: int, /) -> Any:
        """Return one frame."""


def write_clip(path: Path, clip: Clip, *, overwrite: bool = False) -> None:
    """Write a clip in the format that the suffix of `path` names; the file appears whole or not.

    `.mkv` and `.png` are lossless. `.mp4` repeats the last row or column of odd sizes. `.gif`
    drops frames beyond 50 a second. The same clip gives the same bytes.

    Raises:
        VideoError: The suffix is unknown, the file exists, or the folder cannot be written to.
        ResourceError: The disk is full.
    """
    write_frames(path, clip.frames, clip.rate, overwrite=overwrite)


def write_frames(path: Path, frames: Pictures, rate: Fraction, *, overwrite: bool = False) -> None:
    """Write frames as `write_clip` does; one at a time is asked for and held.

    Raises:
        VideoError: As for `write_clip`.
        ResourceError: The disk is full.
    """
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        known = ", ".join(_FORMATS)
        raise VideoError(f"{_shown(path)}: clips are written as {known}, not {path.suffix!r}")
    if os.path.lexists(path) and not (overwrite and path.is_file()):
        reason = "exists already" if path.is_file() else "is not a regular file"
        raise VideoError(f"{_shown(path)} {reason}: choose another name")
    part = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    with _explained(path, "written"):
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            _encode(part, frames, rate, form)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _shown(path: Path) -> str:
    """Give a name on one line."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _expand(given: Path) -> list[Path]:
    """List the video files that one input names."""
    if given.is_dir():
        names = (path.relative_to(given) for path in given.rglob("*.*"))
        shown = (name for name in names if not any(map(_is_passed_over, name.parts)))
        videos = [given / name for name in shown if _SUFFIX.fullmatch(name.suffix.lower())]
        below = {path.parent for path in videos} - {given}
        made = {folder / name for folder in below for name in _results(folder)}
        files = sorted(path for path in videos if path.is_file() and path not in made)
        if not files:
            raise VideoError(f"{_shown(given)}: no video file in this folder")
        return files
    if given.exists():
        return [given]
    matches = map(Path, sorted(glob.glob(str(given), recursive=True)))  # noqa: PTH207
    found = [path for match in matches if match.exists() for path in _expand(match)]
    if not found:
        aside = " (a link that leads nowhere)" if given.is_symlink() else ""
        raise VideoError(f"{_shown(given)}: no such file{aside}")
    return found


def _is_passed_over(part: str) -> bool:
    """Tell hidden files and folders, and earlier results, in a folder of clips."""
    return part.startswith(".") or bool(re.search(r"_drsvg(_\d+)?\Z", part))


def _results(folder: Path) -> list[str]:
    """List the files that are earlier results, in a folder of whatever name, by its record."""
    for name in ("prediction.json", "swap.json"):
        with suppress(OSError, ValueError, LookupError, TypeError):
            text = (folder / name).read_text(encoding="utf-8")
            return [str(file) for file in json.loads(text)["files"]]
    return []


@contextmanager
def _explained(path: Path, verb: str) -> Iterator[None]:
    """Turn what FFmpeg and the system report into one sentence for the user."""
    try:
        yield
    except (av.FFmpegError, OSError, UnicodeError) as error:
        code = getattr(error, "errno", None)
        reason = getattr(error, "strerror", None) or str(error)
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(f"{_shown(path)} cannot be {verb}: the disk is full") from error
        if code == errno.ENOMEM and verb == "written":
            raise ResourceError(f"{_shown(path)} cannot be {verb}: memory is used up") from error
        if code == errno.ENOMEM:
            # A size in a damaged header, mostly: the clip is at fault, not the machine.
            message = f"{_shown(path)} cannot be read: it asks for more memory than there is"
            raise VideoError(message) from error
        if isinstance(error, FileNotFoundError | NotADirectoryError) and verb == "written":
            parent = _shown(path.parent)
            raise VideoError(f"{_shown(path)} cannot be written: no folder {parent}") from error
        if verb == "read" and not isinstance(error, PermissionError):
            message = f"{_shown(path)} is not a video that can be decoded ({reason})"
            raise VideoError(message) from error
        raise VideoError(f"{_shown(path)} cannot be {verb} ({reason})") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a regular file and its first moving picture."""
    with _explained(path, "read"):
        if not path.exists():
            raise VideoError(f"{_shown(path)}: no such file")
        if not path.is_file():
            raise VideoError(f"{_shown(path)} is not a regular file")
        # The prefix keeps a name such as "concat:a|b.mp4" from being taken for a protocol.
        with av.open(f"file:{path.resolve()}", options=_OPEN_OPTIONS) as container:
            videos = container.streams.video
            moving = [video for video in videos if not video.disposition & Disposition.attached_pic]
            if not moving:
                raise VideoError(f"{_shown(path)} has no video stream")
            if not moving[0].codec_context:
                raise VideoError(f"{_shown(path)} is not a video that can be decoded (no decoder)")
            context = moving[0].codec_context
            # Not frames at once: what a damaged clip gives would depend on which thread is faster.
            moving[0].thread_type = "SLICE"
            if context.width * context.height > _LARGE:
                context.thread_count = 2
            # Opening keeps its options to itself; the decoder has its own.
            context.options = {"max_pixels": _OPEN_OPTIONS["max_pixels"]}
            yield container, moving[0]


def _exact(ratio: Fraction | None) -> Fraction:
    """Turn what PyAV gives, None or 0/1 for the unknown, into a fraction, 0 for the unknown."""
    return Fraction(ratio.numerator, ratio.denominator) if ratio else Fraction(0)


def _seconds(stamp: int | None, time_base: Fraction | None) -> Fraction | None:
    """Turn a time stamp into seconds."""
    return None if stamp is None or not time_base else stamp * _exact(time_base)


def _rate(stream: av.VideoStream) -> Fraction:
    """Find a stream's frames a second; headers may say nothing, or nonsense."""
    length = _seconds(stream.duration, stream.time_base)
    # The delays of a GIF are whole hundredths, of which only the mean is the rate. Elsewhere frames
    # that an edit list hides are counted too, and last no time.
    counted = stream.frames / length if length and stream.codec_context.name == "gif" else None
    for rate in map(_exact, (stream.average_rate, stream.guessed_rate, stream.base_rate)):
        if 0 < rate <= 1000:
            return counted if counted and abs(counted / rate - 1) < Fraction(1, 4) else rate
    return Fraction(25)


def _displayed_size(stream: av.VideoStream, frame: av.VideoFrame) -> tuple[int, int]:
    """Give width and height with square pixels, and upright.

    Pixels are only ever added, unless that would make the frame too large.
    """
    width, height = frame.width, frame.height
    aspect = _exact(stream.sample_aspect_ratio)
    if Fraction(1, 4) <= aspect <= 4:
        if (aspect > 1) == (width * height * max(aspect, 1 / aspect) <= _MAX_PIXELS):
            width = max(1, round(width * aspect))
        else:
            height = max(1, round(height / aspect))
    return (height, width) if round(frame.rotation / 90) % 2 else (width, height)


def _seek(container: InputContainer, stream: av.VideoStream, seconds: Fraction) -> bool:
    """Go to the key frame before a time stamp; False where the file does not allow it."""
    stamp = min(int(seconds / (_exact(stream.time_base) or 1)), 2**62)
    try:
        container.seek(stamp, stream=stream)
    except av.FFmpegError:
        return False
    return True


class _Damage:
    """Warns of a clip's damage once, and only where something can be had from the clip."""

    def __init__(self, path: Path | None = None) -> None:
        """Warn of nothing where no path is given."""
        self._path = path
        self._reason = ""

    def note(self, reason: str) -> None:
        """Remember the first damage."""
        self._reason = self._reason or reason

    def tell(self) -> None:
        """Log the damage, where there was any."""
        if self._reason and self._path is not None:
            logger.warning("%s is damaged: %s", _shown(self._path), self._reason)
            self._path = None


def _packets(
    container: InputContainer, stream: av.VideoStream, damage: _Damage
) -> Iterator["av.Packet[av.VideoStream]"]:
    """Yield a stream's packets up to the first that cannot be read."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError as error:
        damage.note(f"it is cut short ({error.strerror})")


def _frames(container: InputContainer, stream: av.VideoStream, damage: _Damage) -> Iterator[_Timed]:
    """Yield every frame that can be decoded, with plausible, strictly increasing time stamps."""
    time = None
    for packet in _packets(container, stream, damage):
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError) as error:  # ValueError: no decoder could be opened
            damage.note(getattr(error, "strerror", None) or str(error))
            continue
        for frame in frames:
            if packet.is_corrupt or frame.is_corrupt:
                damage.note("some of its frames are incomplete")
            damage.tell()
            stamp = _seconds(frame.dts if frame.pts is None else frame.pts, stream.time_base)
            if time is not None and (stamp is None or not 0 < stamp - time <= _MAX_GAP):
                stamp = time + 1 / _rate(stream)
            time = stamp or Fraction(0)
            yield _Timed(time, frame)
    if time is not None:
        damage.tell()


def _decode(info: ClipInfo, begin: Fraction | None, damage: _Damage) -> Generator[_Timed]:
    """Yield frames from the key frame before `begin`, in seconds from the clip's first frame.

    None begins at the start, in containers that cannot seek too.
    """
    with _opened(info.path) as (container, stream):
        if begin is None or _seek(container, stream, info.start + begin):
            for time, frame in _frames(container, stream, damage):
                yield _Timed(time - info.start, frame)


def _last_time_stamp(info: ClipInfo) -> Fraction:
    """Find the clip's last time stamp without decoding, in seconds from its first frame."""
    for seeking in (True, False):
        with _opened(info.path) as (container, stream):
            length = Fraction(info.duration or (container.duration or 0) / av.time_base)
            if not seeking or _seek(container, stream, info.start + length):
                packets = _packets(container, stream, _Damage())
                packets = (packet for packet in packets if not packet.is_discard)
                last = max((p.pts for p in packets if p.pts is not None), default=None)
                seconds = _seconds(last, stream.time_base)
                if seconds is not None:
                    return max(seconds - info.start, Fraction(0))
    return Fraction(0)


def _grid(info: ClipInfo, end: Fraction, *, step: Fraction, count: int) -> list[Fraction]:
    """List up to `count` moments that end at `end`, none before the clip's first frame."""
    moments = [end - index * step for index in reversed(range(count))]
    return [moment for moment in moments if moment >= -1 / (2 * info.rate)]


def _nearest(
    frames: Iterable[_Timed], moments: Iterable[Fraction], rate: Fraction
) -> Iterator[_Timed]:
    """Yield the frame nearest to each moment; end with the last frame's own time."""
    waiting = iter(moments)
    moment = next(waiting, None)
    previous = None
    for current in frames:
        while moment is not None and moment <= current.time:
            early = previous is not None and moment - previous.time <= current.time - moment
            yield previous if early and previous is not None else current
            moment = next(waiting, None)
        if moment is None:
            return
        previous = current
    while previous is not None and moment is not None and moment <= previous.time + 1 / (2 * rate):
        yield previous
        moment = next(waiting, None)


def _sample(
    info: ClipInfo,
    grid: list[Fraction],
    *,
    damage: _Damage,
    shrink: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None,
    to_the_end: bool,
) -> _Sample:
    """Decode the frames nearest to the moments of `grid`; `to_the_end` goes on to the last one."""
    begins = [grid[0] - margin for margin in _SEEK_MARGINS if grid[0] > margin]
    for begin in (*begins, None):
        with closing(_decode(info, begin, damage)) as decoded:
            first = next(decoded, None)
            # Some containers land behind the moment asked for, or behind the last packet.
            if first is None or (begin and first.time > grid[0] + 1 / (2 * info.rate)):
                continue
            seen = deque([first.time], maxlen=1)
            frames = _noting(itertools.chain([first], decoded), seen)
            pictures = (_rgb(near.frame, info) for near in _nearest(frames, grid, info.rate))
            picked = [shrink(picture) if shrink else picture for picture in pictures]
            ended = len(picked) < len(grid) or to_the_end
            if to_the_end:
                deque(frames, maxlen=0)
            return _Sample(picked, seen[0] if ended else None)
    raise VideoError(f"{_shown(info.path)}: no frame that can be decoded")


def _check_reach(info: ClipInfo, at: float, *, after: int, step: Fraction, last: Fraction) -> None:
    """Refuse a moment beyond the end of a clip, or one with less than `after` frames beyond it.

    The end is uncertain by half a frame, as time stamps may be rounded.
    """
    length = float(last + 1 / info.rate)
    if at > length + float(1 / info.rate) / 2:
        raise VideoError(f"{_shown(info.path)} lasts {length:.3f} s: there is no frame at {at:g} s")
    if after:
        raise VideoError(
            f"{_shown(info.path)} lasts {length:.3f} s: {after} frames beyond {at:g} s end at "
            f"{at + float(after * step):.3f} s; choose an earlier moment"
        )


def _warn_of_a_cut(info: ClipInfo, last: Fraction) -> None:
    """Warn of a clip that ends well before its header says so."""
    length, promised = float(last + 1 / info.rate), info.duration or 0.0
    if promised - length > max(1.0, 0.1 * promised):
        logger.warning(
            "%s ends after %.1f s, though its header says %.1f s: it may be cut short",
            _shown(info.path),
            length,
            promised,
        )


def _noting(frames: Iterable[_Timed], seen: deque[Fraction]) -> Iterator[_Timed]:
    """Pass frames on and note their times."""
    for timed in frames:
        seen.append(timed.time)
        yield timed


def _rgb(frame: av.VideoFrame, info: ClipInfo) -> NDArray[np.uint8]:
    """Turn a decoded frame into what a viewer sees, uint8 `(info.height, info.width, 3)`."""
    # High definition without a tag is BT.709 by custom; FFmpeg takes everything for BT.601.
    guess = frame.colorspace == _UNTAGGED and frame.height >= 720
    space = Colorspace.ITU709 if guess else None
    pixels: NDArray[np.uint8]
    if frame.format.has_palette or any(part.is_alpha for part in frame.format.components):
        rgba = np.asarray(frame.to_ndarray(format="rgba", src_colorspace=space), np.uint16)
        pixels = ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8)
    else:
        pixels = np.asarray(frame.to_ndarray(format="rgb24", src_colorspace=space), np.uint8)
    pixels = np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
    if pixels.shape[:2] == (info.height, info.width):
        return pixels
    return np.asarray(cv2.resize(pixels, (info.width, info.height)), np.uint8)


def _encode(part: Path, frames: Pictures, rate: Fraction, form: _Format) -> None:
    """Write every frame to the file `part`."""
    rate = rate.limit_denominator(65535)
    chosen = list(range(len(frames)))
    if form.muxer == "gif" and rate > MAX_GIF_RATE:
        moments = range(int((len(frames) - 1) * MAX_GIF_RATE / rate) + 1)
        chosen = [round(moment * rate / MAX_GIF_RATE) for moment in moments]
        rate = MAX_GIF_RATE
    height, width = frames[0].shape[:2]
    gray = all(bool((frame == frame[..., :1]).all()) for frame in map(frames.__getitem__, chosen))
    pixels = form.gray if gray else form.colour
    pictures: Iterable[av.VideoFrame] = (_picture(frames[index], pixels) for index in chosen)
    if pixels == "pal8":
        pictures = _with_palettes(pictures, width, height)
    options = form.container_options | {"fflags": "+bitexact"}
    with av.open(f"file:{part.resolve()}", "w", format=form.muxer, options=options) as container:
        stream = None
        for index, picture in enumerate(pictures):
            if stream is None:
                stream = _stream_for(container, picture, form, rate)
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode())


def _stream_for(
    container: OutputContainer, picture: av.VideoFrame, form: _Format, rate: Fraction
) -> av.VideoStream:
    """Add a stream for pictures like this one, its colours described as they are."""
    stream = container.add_stream(form.codec, rate, options=form.options)
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.width, context.height = picture.width, picture.height
    context.pix_fmt = picture.format.name
    context.thread_count = 4  # how many share the work changes what some encoders write
    context.flags |= Flags.bitexact
    if picture.format.name == "yuv420p":
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.color_range = ColorRange.MPEG
    return stream


def _picture(frame: NDArray[np.uint8], pixels: str) -> av.VideoFrame:
    """Turn a frame `(H, W, C)` into what an encoder takes."""
    if pixels == "gray":
        return av.VideoFrame.from_ndarray(frame[..., 0], format="gray")
    colour = np.broadcast_to(frame, (*frame.shape[:2], 3))
    if pixels == "pal8":
        return av.VideoFrame.from_ndarray(colour, format="rgb24")
    if pixels != "yuv420p":
        return av.VideoFrame.from_ndarray(colour, format="rgb24").reformat(format=pixels)
    height, width = frame.shape[:2]
    even = np.pad(colour, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
        format=pixels, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _with_palettes(
    pictures: Iterable[av.VideoFrame], width: int, height: int
) -> Iterator[av.VideoFrame]:
    """Give every picture the 256 colours that suit it best."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 100)
    )
    split = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single")
    use = graph.add("paletteuse", "new=1:dither=none")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for index, picture in enumerate(itertools.chain(pictures, [None])):
        if picture is not None:
            picture.pts, picture.time_base = index, Fraction(1, 100)
        graph.vpush(picture)
        try:
            while True:
                yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            continue
