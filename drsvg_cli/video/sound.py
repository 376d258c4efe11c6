"""The sound of a part of a clip, encoded once for all the clips that begin with this part."""

from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.stream import Stream
from numpy.typing import NDArray

from drsvg_cli.video.clip import ClipInfo
from drsvg_cli.video.encoding import Packet
from drsvg_cli.video.opening import opened

_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Samples a second that AAC players take; other rates become the highest."""
_BIT_RATE = 160_000
_AT_ONCE = 1024


class Sound(NamedTuple):
    """Sound as AAC."""

    rate: int
    layout: str
    packets: list[Packet]

    def add_to(self, container: OutputContainer) -> "list[av.Packet[Stream]]":
        """Add a stream to a container, and return the packets to be written to it."""
        stream = _stream(container, self.rate, self.layout)
        return [packet.within(stream, Fraction(1, self.rate)) for packet in self.packets]


def read_sound(info: ClipInfo, begin: float, end: float) -> Sound | None:
    """Read the sound of a clip between two moments, in seconds from its first frame.

    Returns:
        None where there is none, or none that can be decoded.
    """
    try:
        found = _decoded(info, begin, end)
    except (av.FFmpegError, ValueError):  # a prediction need not fail for the sound's sake
        return None
    return None if found is None else _encoded(*found)


def _decoded(
    info: ClipInfo, begin: float, end: float
) -> tuple[NDArray[np.float32], int, str] | None:
    """Decode samples `(channels, N)`, silent where there are none."""
    if info.pictures:
        return None
    with opened(info.path) as (container, _, _):
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        if not stream.codec_context or not stream.rate:
            return None
        rate = stream.rate if stream.rate in _RATES else _RATES[-1]
        layout = "mono" if stream.codec_context.channels == 1 else "stereo"
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        samples = np.zeros((1 if layout == "mono" else 2, round((end - begin) * rate)), np.float32)
        first, heard, place = float(info.start) + begin, False, None
        container.seek(int(max(0.0, first - 1) * av.time_base))
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                if place is None and frame.time is not None:
                    place = round((frame.time - first) * rate)
                for part in resampler.resample(frame):
                    place = _lay(samples, part.to_ndarray().astype(np.float32), place or 0)
                    heard = heard or place > 0
            if place is not None and place >= samples.shape[1]:
                break
        return (samples, rate, layout) if heard else None


def _lay(samples: NDArray[np.float32], part: NDArray[np.float32], place: int) -> int:
    """Write what is heard from sample `place` on, as far as it fits; return where it ends."""
    end = place + part.shape[1]
    low, high = max(0, place), min(samples.shape[1], end)
    if low < high:
        samples[:, low:high] = part[:, low - place : high - place]
    return end


def _encoded(samples: NDArray[np.float32], rate: int, layout: str) -> Sound:
    with av.open("-", "w", format="null") as container:
        stream = _stream(container, rate, layout)
        packets = []
        for begin in range(0, samples.shape[1], _AT_ONCE):
            part = np.ascontiguousarray(samples[:, begin : begin + _AT_ONCE])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
            packets += stream.encode(frame)
        packets += stream.encode(None)
    return Sound(rate, layout, [*map(Packet.of, packets)])


def _stream(container: OutputContainer, rate: int, layout: str) -> av.AudioStream:
    stream = container.add_stream("aac", rate, layout=layout)
    assert isinstance(stream, av.AudioStream)
    stream.bit_rate = _BIT_RATE
    stream.codec_context.flags |= Flags.bitexact
    return stream
