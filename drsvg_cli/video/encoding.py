"""From frames to packets: how each kind of file is encoded, with PyAV and nothing but."""

from contextlib import suppress
from fractions import Fraction
from typing import Any, NamedTuple

import av
import av.filter
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    VideoReformatter,
)
from numpy.typing import NDArray


class Packet(NamedTuple):
    """A piece of an encoded stream, to be written to several files; times are in ticks."""

    data: bytes
    pts: int
    duration: int
    is_keyframe: bool

    @classmethod
    def of(cls, packet: "av.Packet[Any]") -> "Packet":
        """Keep what an encoder gave."""
        return cls(bytes(packet), packet.pts or 0, packet.duration or 0, packet.is_keyframe)

    def within(self, stream: Any, tick: Fraction) -> "av.Packet[Any]":
        """Make a packet of a stream whose ticks last so many seconds."""
        packet = av.Packet(self.data)
        packet.stream, packet.time_base = stream, tick
        packet.pts = packet.dts = self.pts
        packet.duration, packet.is_keyframe = self.duration, self.is_keyframe
        return packet


class Format(NamedTuple):
    """Say how a kind of file is written."""

    muxer: str
    codec: str
    gray: str
    colour: str
    options: dict[str, str]
    container_options: dict[str, str]


FORMATS = {
    ".mp4": Format(
        "mp4",
        "libx264",
        "yuv420p",
        "yuv420p",
        # Twice as fast as "veryfast", and files are a fifth larger. With AVX-512, x264's macroblock
        # tree reads what memory happens to hold beyond narrow rows.
        {"crf": "18", "preset": "superfast", "mbtree": "0"},
        {"movflags": "+faststart"},
    ),
    ".gif": Format("gif", "gif", "gray", "pal8", {}, {"loop": "0"}),
    ".webp": Format("webp", "libwebp_anim", "bgra", "bgra", {"quality": "90"}, {"loop": "0"}),
    ".png": Format("apng", "apng", "gray", "rgb24", {}, {"plays": "0"}),
    ".mkv": Format("matroska", "ffv1", "gray", "bgr0", {"level": "3"}, {}),
}


class Encoder:
    """Encodes frames of one size, in the first stream of a container."""

    def __init__(
        self,
        container: OutputContainer,
        frame: NDArray[np.uint8],
        form: Format,
        rate: Fraction,
        *,
        gray: bool = False,
    ) -> None:
        """Add the stream for frames like this one, its colours described as they are."""
        self._pixels = form.gray if gray else form.colour
        self._reformatter = VideoReformatter()
        height, width = frame.shape[:2]
        stream = container.add_stream(form.codec, rate, options=form.options)
        assert isinstance(stream, av.VideoStream)
        self.stream, self.count, self._base = stream, 0, 1 / rate
        even = self._pixels == "yuv420p"
        context = stream.codec_context
        context.width, context.height = width + even * (width % 2), height + even * (height % 2)
        context.pix_fmt = self._pixels
        context.thread_count = 1  # clips are written side by side; and how many change the result
        context.flags |= Flags.bitexact
        if even:
            context.colorspace = Colorspace.ITU709
            context.color_primaries = ColorPrimaries.BT709
            context.color_trc = ColorTrc.BT709
            context.color_range = ColorRange.MPEG
        self._palettes = _Palettes(width, height) if self._pixels == "pal8" else None

    def encode(self, frame: NDArray[np.uint8]) -> "list[av.Packet[av.VideoStream]]":
        """Encode the next frame `(H, W, C)`."""
        picture = self._picture(frame)
        pictures = [picture] if self._palettes is None else self._palettes.add(picture)
        return [packet for each in pictures for packet in self._encode(each)]

    def finish(self) -> "list[av.Packet[av.VideoStream]]":
        """Encode what is held back."""
        left = [] if self._palettes is None else self._palettes.add(None)
        packets = [packet for each in left for packet in self._encode(each)]
        return [*packets, *self.stream.encode()]

    def _encode(self, picture: av.VideoFrame) -> "list[av.Packet[av.VideoStream]]":
        picture.pts, picture.time_base = self.count, self._base
        self.count += 1
        return list(self.stream.encode(picture))

    def _picture(self, frame: NDArray[np.uint8]) -> av.VideoFrame:
        """Turn a frame `(H, W, C)` into what the encoder takes."""
        if self._pixels == "gray":
            return av.VideoFrame.from_ndarray(frame[..., 0], format="gray")
        colour = np.broadcast_to(frame, (*frame.shape[:2], 3))
        if self._pixels in ("pal8", "rgb24"):
            return av.VideoFrame.from_ndarray(colour, format="rgb24")
        height, width = frame.shape[:2]
        if self._pixels == "yuv420p" and (height % 2 or width % 2):
            colour = np.pad(colour, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        # A view, as it is converted at once; of a single row or column numpy's steps may be any.
        whole = np.ascontiguousarray(colour) if min(colour.shape[:2]) > 1 else colour.copy()
        picture = av.VideoFrame.from_numpy_buffer(whole, format="rgb24")
        if self._pixels != "yuv420p":
            return self._reformatter.reformat(picture, format=self._pixels)
        return self._reformatter.reformat(
            picture,
            format=self._pixels,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )


class _Palettes:
    """Gives every picture the 256 colours that suit it best."""

    def __init__(self, width: int, height: int) -> None:
        """Set up the filters."""
        self._graph, self._count = av.filter.Graph(), 0
        source = self._graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 100)
        )
        split = self._graph.add("split")
        palette = self._graph.add("palettegen", "stats_mode=single")
        use = self._graph.add("paletteuse", "new=1:dither=none")
        sink = self._graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        self._graph.configure()

    def add(self, picture: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Give a picture, or None at the end, and take those that are done."""
        if picture is not None:
            picture.pts, picture.time_base = self._count, Fraction(1, 100)
            self._count += 1
        self._graph.vpush(picture)
        done = []
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                done.append(self._graph.vpull())
        return done
