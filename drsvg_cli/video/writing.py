"""Write clips with PyAV and nothing but; the same clip gives the same bytes."""

import io
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from drsvg_cli.errors import VideoError
from drsvg_cli.video.clip import Clip, explained, shown
from drsvg_cli.video.encoding import FORMATS, Encoder, Packet
from drsvg_cli.video.sound import Sound

REORDERED = 2
"""Frames that x264 decodes before their turn, at most."""
MAX_GIF_RATE = Fraction(50)  # browsers slow down anything faster


class Opening(NamedTuple):
    """Frames that several clips begin with, encoded once where their format allows it."""

    frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
    packets: Sequence[Packet] = ()


def write_clip(path: Path, clip: Clip, *, overwrite: bool = False) -> None:
    """Write a clip in the format that the suffix of `path` names; the file appears whole or not.

    `.mkv` and `.png` are lossless. `.mp4` repeats the last row or column of odd sizes. `.gif`
    drops frames beyond 50 a second. The same clip gives the same bytes.

    Raises:
        VideoError: The suffix is unknown, the file exists, or the folder cannot be written to.
        ResourceError: The disk is full.
    """
    write_frames(path, clip.frames, clip.rate, overwrite=overwrite)


def write_frames(
    path: Path, frames: Iterable[NDArray[np.uint8]], rate: Fraction, *, overwrite: bool = False
) -> None:
    """Write frames `(H, W, C)` as `write_clip` does; one at a time is asked for and held.

    Raises:
        VideoError: As for `write_clip`.
        ResourceError: The disk is full.
    """
    suffix, gray = path.suffix.lower(), isinstance(frames, np.ndarray) and is_gray(frames)
    with (
        written(path, overwrite=overwrite) as part,
        ClipWriter(part, rate, suffix=suffix, gray=gray) as writer,
    ):
        for frame in frames:
            writer.write(frame)


@contextmanager
def written(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give the name of a temporary file, which becomes `path` at the end, or is removed.

    Raises:
        VideoError: The suffix is unknown, the file exists, or the folder cannot be written to.
        ResourceError: The disk is full.
    """
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(FORMATS)
        raise VideoError(f"{shown(path)}: clips are written as {known}, not {path.suffix!r}")
    if os.path.lexists(path) and not (overwrite and path.is_file()):
        reason = "exists already" if path.is_file() else "is not a regular file"
        raise VideoError(f"{shown(path)} {reason}: choose another name")
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    with explained(path, "written"):
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def is_gray(frames: NDArray[np.uint8]) -> bool:
    """Tell whether no frame has any colour."""
    return all(bool((frame == frame[..., :1]).all()) for frame in frames)


def encode_opening(frames: NDArray[np.uint8], rate: Fraction, *, suffix: str) -> Opening:
    """Prepare frames that several clips of one format begin with."""
    form = FORMATS[suffix]
    if form.muxer != "mp4" or not len(frames):
        return Opening(frames)
    with av.open(io.BytesIO(), "w", format=form.muxer) as container:  # nothing is written to it
        encoder = Encoder(container, frames[0], form, rate.limit_denominator(65535))
        packets = [packet for frame in frames for packet in encoder.encode(frame)]
        packets += encoder.finish()
    return Opening(frames, [Packet.of(packet)._replace(duration=1) for packet in packets])


class ClipWriter:
    """Writes one file, a frame at a time; it is complete when the context ends without an error."""

    def __init__(
        self,
        part: Path,
        rate: Fraction,
        *,
        suffix: str,
        gray: bool = False,
        opening: Opening | None = None,
        sound: Sound | None = None,
    ) -> None:
        """Begin a file.

        Args:
            part: the file; its name says nothing.
            rate: frames a second.
            suffix: the format, as `.mp4`.
            gray: no frame has any colour.
            opening: what it begins with, made by `encode_opening` for this suffix and rate.
            sound: what is heard from its beginning on; in `.mp4` alone.
        """
        self._form, self._gray = FORMATS[suffix], gray
        self._rate = rate.limit_denominator(65535)
        self._thinned = max(Fraction(1), self._rate / MAX_GIF_RATE) if suffix == ".gif" else 1
        self._sound = sound if suffix == ".mp4" else None
        options = self._form.container_options | {"fflags": "+bitexact"}
        self._container = av.open(
            f"file:{part.resolve()}", "w", format=self._form.muxer, options=options
        )
        self._encoder: Encoder | None = None
        self._seen = self._sent = self._muxed = 0
        self._opening = opening or Opening(())
        if not self._opening.packets:
            for frame in self._opening.frames:
                self.write(frame)

    def __enter__(self) -> "ClipWriter":
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the file."""
        self.close(whole=kind is None)

    def close(self, *, whole: bool) -> None:
        """Close the file; write what the encoder holds before, if the file is to be whole."""
        with self._container:
            if whole and self._encoder is not None:
                self._mux(self._encoder.finish())

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Write the next frame `(H, W, C)`, which must not change any more."""
        index, self._seen = self._seen, self._seen + 1
        if index != round(self._sent * self._thinned):
            return
        self._sent += 1
        if self._encoder is None:
            self._begin(frame)
        assert self._encoder is not None
        self._mux(self._encoder.encode(frame))

    def _mux(self, packets: "Sequence[av.Packet[Any]]") -> None:
        """Write packets of pictures, in the order in which they are decoded."""
        for packet in packets:
            if self._form.muxer == "mp4":  # two encoders do not agree on when decoding begins
                packet.dts = self._muxed - REORDERED
            self._muxed += 1
            self._container.mux(packet)

    def _begin(self, frame: NDArray[np.uint8]) -> None:
        """Open the encoder for frames like this one, and write the opening."""
        rate = self._rate / self._thinned
        self._encoder = Encoder(self._container, frame, self._form, rate, gray=self._gray)
        stream, packets = self._encoder.stream, self._opening.packets
        sound = self._sound.add_to(self._container) if self._sound else []
        for packet in packets:
            self._mux([packet.within(stream, 1 / rate)])
        self._encoder.count = len(packets)
        self._container.mux(sound)
