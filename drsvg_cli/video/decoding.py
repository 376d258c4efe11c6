"""The frames of a video file or of a folder of pictures, with their times, decoded with PyAV.

Promises: the numbers in a file's header are hints, and frames that do not come are not waited for.
"""

import glob
import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av

from drsvg_cli.errors import VideoError
from drsvg_cli.video.clip import ClipInfo, Damage, Timed, shown
from drsvg_cli.video.colour import upright_size
from drsvg_cli.video.opening import MAX_PIXELS, PICTURE_FORMATS, Opened, opened

_WITHOUT_STAMPS = {"mpeg", "mpegvideo"}  # most frames lack one: after seeking they are off by some
_MOST_PACKETS = 10_000  # without a frame
_MOST_LOOKED_AT = 2**18  # packets, of which the last one's time stamp is wanted
_MAX_GAP = 3600  # seconds between two frames; more is damage, and would be filled with repeats
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
    first = _decode_picture(pictures[0])
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
            frame = _decode_picture(picture)
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


def _decode_picture(path: Path) -> av.VideoFrame:
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


def probe(path: Path, *, rate: Fraction | None = None) -> ClipInfo:
    """Describe the clip in `path` from its header and its first frame.

    Where it is a folder of pictures, or a pattern that matches them, there are `rate` a second.

    Raises:
        VideoError: The file is missing, not a video, or none of its frames can be decoded; or
            pictures come without a rate.
    """
    if pictures := list_pictures(path):
        return probe_pictures(path, pictures, rate)
    with opened(path) as clip:
        container, stream, _ = clip
        first = next(_frames(clip, Damage()), None)
        if first is None:
            animated = stream.codec_context.name == "webp"
            what = "as FFmpeg reads no animated WebP" if animated else "up to 8192×4320 pixels"
            reason = clip.source.reason or what
            raise VideoError(f"{shown(path)}: no frame that can be decoded, {reason}")
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
        if (aspect > 1) == (width * height * max(aspect, 1 / aspect) <= MAX_PIXELS):
            width = max(1, round(width * aspect))
        else:
            height = max(1, round(height / aspect))
    return upright_size(frame, width, height)


def _seek(clip: Opened, seconds: Fraction) -> bool:
    """Go to the key frame before a time stamp; False where the file does not allow it."""
    container, stream, _ = clip
    if container.format.name in _WITHOUT_STAMPS:
        return False
    stamp = min(int(seconds / (_exact(stream.time_base) or 1)), 2**62)
    try:
        container.seek(stamp, stream=stream)
    except av.FFmpegError:
        return False
    return True


def _packets(clip: Opened, damage: Damage) -> Iterator["av.Packet[av.VideoStream]"]:
    """Yield a stream's packets up to the first that cannot be read."""
    try:
        for packet in clip.container.demux(clip.stream):
            clip.source.note(frame=False)
            yield packet
        reason = clip.source.reason
    except av.FFmpegError as error:
        reason = clip.source.reason or str(error.strerror)
    if reason:
        damage.cut = f"it is cut short ({reason})"


def _frames(clip: Opened, damage: Damage, begin: Fraction = Fraction(0)) -> Iterator[Timed]:
    """Yield every frame that can be decoded, with plausible, strictly increasing time stamps.

    Times, those of damage too, are in seconds from `begin`.
    """
    time, vain, stream = None, 0, clip.stream
    for packet in _packets(clip, damage):
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError) as error:  # ValueError: there is no decoder
            when = _seconds(packet.pts, stream.time_base)
            reason = getattr(error, "strerror", None) or str(error)
            damage.note(reason, None if when is None else when - begin)
            frames = []
        vain = 0 if frames else vain + 1
        if vain > _MOST_PACKETS or (vain and clip.source.is_spent()):
            damage.cut = clip.source.reason or f"there is no picture in {vain} parts of it"
            return
        for frame in frames:
            stamp = _seconds(frame.dts if frame.pts is None else frame.pts, stream.time_base)
            if time is not None and (stamp is None or not 0 < stamp - time <= _MAX_GAP):
                stamp = time + 1 / _rate(stream)
            time = stamp or Fraction(0)
            if packet.is_corrupt or frame.is_corrupt:
                damage.note("some of its frames are incomplete", time - begin)
            yield Timed(time - begin, frame)
            clip.source.note(frame=True)


def decode(info: ClipInfo, begin: Fraction | None, damage: Damage) -> Generator[Timed]:
    """Yield frames from the key frame before `begin`, in seconds from the clip's first frame.

    None begins at the start, in containers that cannot seek too.
    """
    if info.pictures:
        yield from decode_pictures(info, begin or Fraction(0), damage)
        return
    with opened(info.path) as clip:
        if begin is not None:
            # What a decoder must know of the whole stream may stand in the first packet alone, as
            # the version of x264 does, without which 4:4:4 is decoded wrongly.
            if not clip.stream.codec.intra_only:
                next(_frames(clip, Damage()), None)
            if not _seek(clip, info.start + begin):
                return
        yield from _frames(clip, damage, info.start)


def last_time_stamp(info: ClipInfo) -> Fraction:
    """Find the clip's last time stamp without decoding, in seconds from its first frame.

    In a clip without end it is one before it.
    """
    if info.pictures:
        return (len(info.pictures) - 1) / info.rate
    for seeking in (True, False):
        with opened(info.path) as clip:
            container, stream, _ = clip
            length = Fraction(info.duration or (container.duration or 0) / av.time_base)
            if not seeking or _seek(clip, info.start + length):
                packets = islice(_packets(clip, Damage()), _MOST_LOOKED_AT)
                stamps = (packet.pts for packet in packets if not packet.is_discard)
                last = max((stamp for stamp in stamps if stamp is not None), default=None)
                seconds = _seconds(last, stream.time_base)
                if seconds is not None:
                    return max(seconds - info.start, Fraction(0))
    return Fraction(0)
