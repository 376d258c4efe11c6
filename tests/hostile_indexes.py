"""QuickTime and MP4 files of a few kilobytes whose index asks for the whole machine."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

TABLES = [b"moov", b"trak", b"mdia", b"minf", b"stbl"]


def boxes(data):
    """Yield every box of a part of a file: its name, its content and itself."""
    begin = 0
    while begin + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[begin : begin + 8])
        yield kind, data[begin + 8 : begin + length], data[begin : begin + length]
        begin += length


def box(kind, content):
    """Make a box."""
    return struct.pack(">I4s", len(content) + 8, kind) + content


def replaced(data, path, change):
    """Change the content of the boxes that a path of names leads to."""
    made = b""
    for kind, content, whole in boxes(data):
        if kind == path[0]:
            rest = path[1:]
            whole = box(kind, replaced(content, rest, change) if rest else change(content))
        made += whole
    return made


def table(name, *numbers):
    """Return a function that puts other numbers into a table of the index."""
    content = struct.pack(f">{len(numbers)}I", *numbers)
    return lambda data: replaced(data, [*TABLES, name], lambda _: content)


def constant_sizes(data):
    """Name 2²⁸ frames of one byte each, in one chunk and at one rate."""
    for name, *numbers in (
        (b"stsz", 0, 1, 2**28),
        (b"stsc", 0, 1, 1, 2**28, 1),
        (b"stts", 0, 1, 2**28, 1),
    ):
        data = table(name, *numbers)(data)
    return data


def long_list(data):
    """Say that the list of times is as long as no file is."""
    return table(b"ctts", 0, 2**28, 1, 1)(data.replace(b"stts", b"ctts", 1))


def edits(count, *, lengths=100_000, late=False):
    """Return a function that plays the whole clip so many times."""

    def change(data):
        entries = struct.pack(">QqI" if late else ">IiI", lengths, 0, 65536) * count
        listed = box(b"elst", struct.pack(">II", late << 24, count) + entries)

        def add(content):
            others = [whole for kind, _, whole in boxes(content) if kind != b"edts"]
            return b"".join([others[0], box(b"edts", listed), *others[1:]])

        return replaced(data, [b"moov", b"trak"], add)

    return change


def packed(padding):
    """Return a function that stores the index compressed, and so many zeros with it."""

    def change(data):
        index = next(content for kind, content, _ in boxes(data) if kind == b"moov")
        whole = box(b"moov", index + box(b"free", bytes(padding)))
        content = struct.pack(">I", len(whole)) + zlib.compress(whole)
        small = box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", content))
        others = b"".join(whole for kind, _, whole in boxes(data) if kind != b"moov")
        return others + box(b"moov", small)

    return change


def long_runs(data):
    """Let each fragment name 20 million frames, fifty times."""
    run = struct.pack(">II", 0, 20_000_000)
    data = replaced(data, [b"moof", b"traf", b"trun"], lambda _: run)
    fragment = next(whole for kind, _, whole in boxes(data) if kind == b"moof")
    return data + 50 * fragment


ABSURD: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "more frames than bytes": ("bomb.mov", constant_sizes),
    "a list longer than the file": ("bomb.mov", long_list),
    "edits without end": ("bomb.mov", edits(5000)),
    "edits without end, noted in 64 bits": ("bomb.mov", edits(5000, late=True)),
    "more edits than can be listed": ("bomb.mov", edits(70_000, lengths=1)),
    "an index that unpacks to 100 MB": ("bomb.mov", packed(10**8)),
    "fragments without end": ("bomb.mp4", long_runs),
}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


def bomb(name, change, write: Callable[..., Path]):
    """Return a builder of a clip with another index."""

    def build(folder):
        container = FRAGMENTED if name.endswith(".mp4") else {}
        path = write(folder / name, container=container, repeats=20, options={"bf": "0"})
        path.write_bytes(change(path.read_bytes()))
        return path

    return build
