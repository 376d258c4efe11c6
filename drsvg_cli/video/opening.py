"""A clip's file, opened: a regular one, of few formats, and no more of it read than is sane.

Promises: no file but the one named is opened, and none is read for long without a picture.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.stream import Disposition

from drsvg_cli.errors import ConfigError, VideoError
from drsvg_cli.video.boxes import check_index
from drsvg_cli.video.clip import explained, shown

MAX_PIXELS = 8192 * 4320
# Playlists (m3u8, ffconcat) and URLs would make the file's author choose what is opened.
VIDEO_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,webp_anim,webp_pipe,"
    "mpegts,mpeg,mpegvideo,flv,ogg,asf,yuv4mpegpipe"
)
PICTURE_FORMATS = "png_pipe,jpeg_pipe,tiff_pipe"
_OPEN_OPTIONS = {"protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
_SOUNDS = (b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9")
_SOUND = "holds sound and no pictures; give a video"
_PICTURES = (b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")
_PICTURE_BRANDS = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif")
_PICTURE = (
    "is a single picture; give a video, or the folder of several pictures and --rate, how many "
    "are a second"
)
_LARGE = 2**23  # pixels; of larger frames no more than two are decoded at a time
_MOST_BYTES = 2**26  # read without a packet
_BYTES_A_PIXEL = 16  # that a packet may take beyond
_SECONDS = 30.0  # without a frame
SECONDS_VARIABLE = "DRSVG_CLIP_SECONDS"


class Source:
    """The bytes of a clip, as FFmpeg asks for them; those that lead nowhere are counted.

    `budget` is the most of them without a packet; `reason` says why no more come.
    """

    def __init__(self, path: Path) -> None:
        """Open a regular file.

        Raises:
            VideoError: It is none, or it is empty.
            OSError: It cannot be opened.
            ConfigError: The variable that limits the seconds is no number.
        """
        text = os.environ.get(SECONDS_VARIABLE) or str(_SECONDS)
        try:
            self._seconds = float(text)
        except ValueError:
            raise ConfigError(f"{SECONDS_VARIABLE} is a number of seconds, not {text!r}") from None
        # Without waiting, as one would for ever at the end of a pipe.
        file = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        self._file = os.fdopen(file, "rb", buffering=0)
        self.name = path.name
        status = os.fstat(file)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise VideoError(f"{shown(path)} is not a regular file")
        self.budget = _MOST_BYTES
        self.reason = ""
        self._bytes = 0
        self._begin = time.monotonic()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, size: int) -> bytes:
        """Read on; nothing more comes where that has led nowhere for too long."""
        if self.is_spent():
            return b""
        data = self._file.read(size)
        self._bytes += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Tell the place."""
        return self._file.tell()

    def is_spent(self) -> bool:
        """Tell whether bytes were read, or time went by, for too long without a picture."""
        if self._bytes > self.budget:
            self.reason = f"no picture in {self.budget >> 20} MB of it"
        elif time.monotonic() - self._begin > self._seconds:
            self.reason = f"no picture in {self._seconds:g} seconds"
        return bool(self.reason)

    def note(self, *, frame: bool) -> None:
        """Note that reading led to a packet, or to a frame."""
        self._bytes = 0
        if frame:
            self._begin = time.monotonic()


class Opened(NamedTuple):
    """A clip's container, its first moving picture, and the bytes below."""

    container: InputContainer
    stream: av.VideoStream
    source: Source


@contextmanager
def opened(path: Path, *, formats: str = VIDEO_FORMATS) -> Iterator[Opened]:
    """Open a regular file of one of the given formats, and its first moving picture.

    Raises:
        VideoError: The file is missing, not regular, or not a video.
    """
    with explained(path, "read"):
        if not path.exists():
            raise VideoError(f"{shown(path)}: no such file")
        with closing(Source(path)) as source, _container(path, source, formats) as container:
            videos = container.streams.video
            moving = [video for video in videos if not video.disposition & Disposition.attached_pic]
            if not moving and container.streams.audio:
                raise VideoError(f"{shown(path)} {_SOUND}")
            if not moving:
                raise VideoError(f"{shown(path)} has no video stream")
            if not moving[0].codec_context:
                raise VideoError(f"{shown(path)} is not a video that can be decoded (no decoder)")
            context = moving[0].codec_context
            # Not frames at once: what a damaged clip gives would depend on which thread is faster.
            moving[0].thread_type = "SLICE"
            pixels = context.width * context.height
            if pixels > _LARGE:
                context.thread_count = 2
            source.budget += _BYTES_A_PIXEL * min(pixels, MAX_PIXELS)
            # Opening keeps its options to itself; the decoder has its own.
            context.options = {"max_pixels": _OPEN_OPTIONS["max_pixels"]}
            yield Opened(container, moving[0], source)


def _other_kind(head: bytes) -> str:
    """Say what a file is instead of a clip, by how it begins; empty where it may be one."""
    if head.startswith(_SOUNDS) or (head[:4], head[8:12]) == (b"RIFF", b"WAVE"):
        return _SOUND
    if head.startswith(b"\x89PNG"):
        still = b"IDAT" in head and b"acTL" not in head.partition(b"IDAT")[0]
    elif (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        still = (
            head[12:16] != b"VP8X" or not int.from_bytes(head[20:21]) & 2
        )  # the flag of an animation
    else:
        still = head.startswith(_PICTURES) or head[4:12] in _PICTURE_BRANDS
    return _PICTURE if still else ""


def _container(path: Path, source: Source, formats: str) -> InputContainer:
    """Open what holds the streams."""
    if not source.size:  # or a file of the system, from which a reader may wait for ever
        raise VideoError(f"{shown(path)} is not a video that can be decoded (it is empty)")
    if absurd := check_index(source, source.size):
        raise VideoError(f"{shown(path)} is not a video that can be decoded ({absurd})")
    source.seek(0)
    if formats == VIDEO_FORMATS and (other := _other_kind(source.read(2**16))):
        raise VideoError(f"{shown(path)} {other}")
    source.seek(0)
    source.note(frame=True)
    try:
        return av.open(source, "r", options=_OPEN_OPTIONS | {"format_whitelist": formats})
    except av.FFmpegError as error:
        if source.reason:
            raise OSError(source.reason) from error
        raise
