"""Write clips with PyAV and nothing but; the same clip gives the same bytes."""

import itertools
import os
import secrets
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.filter
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from drsvg_cli.errors import VideoError
from drsvg_cli.video.clip import Clip, Pictures, explained, shown

MAX_GIF_RATE = Fraction(50)  # browsers slow down anything faster


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
        raise VideoError(f"{shown(path)}: clips are written as {known}, not {path.suffix!r}")
    if os.path.lexists(path) and not (overwrite and path.is_file()):
        reason = "exists already" if path.is_file() else "is not a regular file"
        raise VideoError(f"{shown(path)} {reason}: choose another name")
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    with explained(path, "written"):
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            _encode(part, frames, rate, form)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


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
