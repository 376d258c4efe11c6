"""The index of an MP4 or QuickTime file, looked at before FFmpeg builds it in memory.

A file of a few kilobytes can name billions of frames, and FFmpeg believes it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

_PARENTS = {
    *(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex"),
    *(b"udta", b"meta", b"dinf", b"wave", b"sinf", b"schi", b"cmov"),
}
_DEEPEST = 16
_MOST_BOXES = 2**20
_MOST_FRAMES = 2**24  # of a track: six days at 30 a second
_FEW_FRAMES = 2**16  # that any file may name, however small it is
_MOST_UNPACKED = 2**26  # bytes of an index that is stored compressed
_MOST_EDITS = 2**16
_MOST_EDITED = 2**23  # edits times frames, each of which may be looked at for each of them
_REPEATS = 4  # that edits may make of a clip


class Readable(Protocol):
    """The bytes of a file."""

    def read(self, size: int) -> bytes:
        """Read on."""

    def seek(self, offset: int) -> int:
        """Go to another place."""


class _Box(NamedTuple):
    """A box's name, and where its content begins and ends."""

    kind: bytes
    begin: int
    end: int


@dataclass
class _Track:
    """What a track says of itself."""

    is_sound: bool = False
    frames: int = 0
    ticks: int = 0
    tick_rate: int = 1
    edits: list[int] = field(default_factory=list)  # in ticks of the movie


@dataclass
class _Index:
    """What a file says of itself, and the first thing in it that is absurd."""

    size: int
    tick_rate: int = 1
    fragmented: int = 0
    tracks: list[_Track] = field(default_factory=lambda: [_Track()])
    absurd: str = ""


def check_index(file: Readable, size: int) -> str:
    """Say what is absurd in the index of an MP4 or QuickTime file; empty where nothing is.

    Any other file passes. The number of bytes read does not depend on what the file says.
    """
    index = _Index(size)
    for number, box in enumerate(_boxes(file, 0, size)):
        if number > _MOST_BOXES:
            return "its index has more parts than any clip needs"
        _note(index, file, box)
        if index.absurd:
            return index.absurd
    for track in index.tracks:
        # Samples of sound are counted one by one and kept in chunks.
        even = track.is_sound and track.ticks == track.frames
        if track.frames > _MOST_FRAMES and not even:
            return f"its index names {track.frames} frames"
        if track.frames > max(_FEW_FRAMES, size) and not even:
            return f"its index names {track.frames} frames in {size} bytes"
        if len(track.edits) > _REPEATS:
            whole = max(1.0, track.ticks / track.tick_rate * index.tick_rate)
            played = sum(min(1.0, edit / whole) for edit in track.edits) * track.frames
            repeated = played > max(_FEW_FRAMES, _REPEATS * track.frames)
            if repeated or len(track.edits) * track.frames > _MOST_EDITED:
                return f"its edit list has {len(track.edits)} parts of {track.frames} frames"
    return ""


def _boxes(file: Readable, begin: int, end: int, depth: int = 0) -> Iterator[_Box]:
    """Yield every box, in the order of the file, those inside of others too."""
    while begin + 8 <= end:
        file.seek(begin)
        header = file.read(16)
        if len(header) < 8:
            return
        length, kind = struct.unpack(">I4s", header[:8])
        content = begin + 8
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack(">Q", header[8:])
            content = begin + 16
        after = end if length == 0 else begin + length
        if after < content:
            return
        yield _Box(kind, content, min(after, end))
        if kind in _PARENTS and depth < _DEEPEST:
            inner = content + 4 if kind == b"meta" and header[8:12] == bytes(4) else content
            yield from _boxes(file, inner, min(after, end), depth + 1)
        begin = after


def _note(index: _Index, file: Readable, box: _Box) -> None:
    """Take in one box."""
    kind, length = box.kind, box.end - box.begin
    track = index.tracks[-1]
    file.seek(box.begin)
    head = struct.unpack(">8I", file.read(min(length, 32)).ljust(32, b"\0")[:32])
    late = head[0] >> 24 == 1  # version 1: times take 8 bytes
    if kind == b"trak":
        index.tracks.append(_Track())
    elif kind == b"mvhd":
        index.tick_rate = max(1, head[5 if late else 3])
    elif kind == b"mdhd":
        track.tick_rate = max(1, head[5 if late else 3])
    elif kind == b"hdlr":
        track.is_sound = head[2] == int.from_bytes(b"soun")
    elif kind == b"cmvd" and head[0] > _MOST_UNPACKED:
        index.absurd = f"its index takes {head[0]} bytes"
    elif kind == b"stsz":
        track.frames = max(track.frames, head[2])
    elif kind == b"trun":
        index.fragmented += head[1]
        if index.fragmented > min(_MOST_FRAMES, max(_FEW_FRAMES, index.size)):
            index.absurd = f"its index names {index.fragmented} frames in {index.size} bytes"
    elif kind in (b"stts", b"ctts"):
        if 8 * head[1] > length:
            index.absurd = f"its index names the times of {head[1]} frames and has {length} bytes"
        elif kind == b"stts":
            pairs = _table(file, box, np.dtype((">u4", 2)))
            track.ticks = int((pairs[:, 0] * pairs[:, 1].astype(float)).sum())
    elif kind == b"elst":
        if head[1] > _MOST_EDITS:
            index.absurd = f"its edit list has {head[1]} parts"
        else:
            entry = [("time", ">u8"), ("_", ">u8")] if late else [("time", ">u4"), ("_", ">u4")]
            track.edits = _table(file, box, np.dtype([*entry, ("rate", ">u4")]))["time"].tolist()


def _table(file: Readable, box: _Box, entry: np.dtype[Any]) -> NDArray[Any]:
    """Read the entries of a box, a million at most."""
    file.seek(box.begin + 4)
    (count,) = struct.unpack(">I", file.read(4))
    data = file.read(
        min(count, 2**20, (box.end - box.begin - 8) // entry.itemsize) * entry.itemsize
    )
    return np.frombuffer(data, entry, len(data) // entry.itemsize)
