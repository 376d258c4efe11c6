"""Read clips with PyAV and nothing but.

Promises: no frame is decoded that is not needed, no more than the frames asked for are kept, the
numbers in a file's header are hints, and no file but the one named is opened.
"""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from drsvg_cli.errors import VideoError
from drsvg_cli.video.clip import Clip, ClipInfo, explained, shown

logger = logging.getLogger(__name__)

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


class _Timed(NamedTuple):
    """Pair a frame with its time in seconds."""

    time: Fraction
    frame: av.VideoFrame


class _Sample(NamedTuple):
    """Hold the frames found on a grid, and the time of the clip's last frame if reached."""

    frames: list[NDArray[np.uint8]]
    last: Fraction | None


def probe(path: Path) -> ClipInfo:
    """Describe the clip in `path` from its header and its first frame.

    Raises:
        VideoError: The file is missing, not a video, or none of its frames can be decoded.
    """
    with _opened(path) as (container, stream):
        first = next(_frames(container, stream, _Damage()), None)
        if first is None:
            raise VideoError(f"{shown(path)}: no frame that can be decoded, up to 8192×4320 pixels")
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
            f"{shown(path)} is too short: {after} frames after the context want at least "
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


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a regular file and its first moving picture."""
    with explained(path, "read"):
        if not path.exists():
            raise VideoError(f"{shown(path)}: no such file")
        if not path.is_file():
            raise VideoError(f"{shown(path)} is not a regular file")
        # The prefix keeps a name such as "concat:a|b.mp4" from being taken for a protocol.
        with av.open(f"file:{path.resolve()}", options=_OPEN_OPTIONS) as container:
            videos = container.streams.video
            moving = [video for video in videos if not video.disposition & Disposition.attached_pic]
            if not moving:
                raise VideoError(f"{shown(path)} has no video stream")
            if not moving[0].codec_context:
                raise VideoError(f"{shown(path)} is not a video that can be decoded (no decoder)")
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
            logger.warning("%s is damaged: %s", shown(self._path), self._reason)
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
    raise VideoError(f"{shown(info.path)}: no frame that can be decoded")


def _check_reach(info: ClipInfo, at: float, *, after: int, step: Fraction, last: Fraction) -> None:
    """Refuse a moment beyond the end of a clip, or one with less than `after` frames beyond it.

    The end is uncertain by half a frame, as time stamps may be rounded.
    """
    length = float(last + 1 / info.rate)
    if at > length + float(1 / info.rate) / 2:
        raise VideoError(f"{shown(info.path)} lasts {length:.3f} s: there is no frame at {at:g} s")
    if after:
        raise VideoError(
            f"{shown(info.path)} lasts {length:.3f} s: {after} frames beyond {at:g} s end at "
            f"{at + float(after * step):.3f} s; choose an earlier moment"
        )


def _warn_of_a_cut(info: ClipInfo, last: Fraction) -> None:
    """Warn of a clip that ends well before its header says so."""
    length, promised = float(last + 1 / info.rate), info.duration or 0.0
    if promised - length > max(1.0, 0.1 * promised):
        logger.warning(
            "%s ends after %.1f s, though its header says %.1f s: it may be cut short",
            shown(info.path),
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
