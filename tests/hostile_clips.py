"""Clips that break naive readers, built from nothing: a name and a builder each.

Each builder writes into the folder it is given and returns the path to hand to the command.
"""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from hostile_indexes import ABSURD, bomb, edits, packed

RATE = 10
FASTSTART = {"movflags": "+faststart"}  # the index first: what is cut is pictures


class Hostile(NamedTuple):
    """What a clip is and what a prediction from it must come to."""

    build: Callable[[Path], Path]
    code: int = 0
    said: str = ""
    """Part of the one line; of a warning where the code is 0."""


def moving(count=12, height=48, width=64, channels=3):
    """Frames of a bright square on a slope, which moves two pixels a frame."""
    frames = np.full((count, height, width, channels), 40, np.uint8)
    frames[..., :3] += np.arange(width, dtype=np.uint8)[:, None] % 64
    for index, frame in enumerate(frames):
        left = 2 * index % max(1, width - 12)
        frame[: height // 2, left : left + 12, :3] = (230, 200, 90)
    if channels == 4:
        frames[..., 3] = 255
        frames[:, height // 2 :, :, 3] = 100
    return frames


def noise(count=12, height=48, width=64):
    """Frames that no codec makes small."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def write(path, frames=None, *, codec="libx264", pixels="yuv420p", stamps=None, **extra):
    """Encode frames with PyAV alone: any codec, pixel format, time stamps in ms, stream settings.

    Args:
        path: the container follows from its suffix.
        frames: `(T, H, W, C)`.
        codec: FFmpeg's name of the encoder.
        pixels: FFmpeg's name of the pixel format.
        stamps: of every frame, in units of `base`.
        extra: `rate`, `base`, `aspect`, `rotation`, `options`, `container`, `repeats` (how often
            to write all frames).
    """
    frames = moving() if frames is None else frames
    rate, container = extra.get("rate", RATE), extra.get("container", {})
    kind = "rgba" if frames.shape[3] == 4 else "rgb24"
    with av.open(f"file:{path}", "w", options=container) as target:
        stream = target.add_stream(codec, rate, options=extra.get("options", {}))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        base = extra.get("base", Fraction(1, 1000) if stamps else 1 / Fraction(rate))
        stream.codec_context.time_base = base
        if "rotation" in extra:
            stream.set_display_rotation(extra["rotation"])
        if "aspect" in extra:
            stream.codec_context.sample_aspect_ratio = extra["aspect"]
        pictures = [av.VideoFrame.from_ndarray(frame, format=kind) for frame in frames]
        for index in range(len(frames) * extra.get("repeats", 1)):
            picture = pictures[index % len(pictures)]
            picture.pts, picture.time_base = stamps[index] if stamps else index, base
            target.mux(stream.encode(picture))
        target.mux(stream.encode())
    return path


def clip(name, frames=None, **options):
    """Return a builder of one encoded clip."""
    return lambda folder: write(folder / name, frames() if frames else None, **options)


def named(name):
    """Return a builder of an ordinary clip under an odd name, text or bytes."""

    def build(folder):
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + os.fsencode(name)))
        return write(folder / "a.mp4").rename(path)

    return build


def holding(name, content):
    """Return a builder of a file with this content, text or bytes."""

    def build(folder):
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
        return folder / name

    return build


def changed(build, change):
    """Return a builder that changes the bytes of what another one writes."""

    def rebuild(folder):
        path = build(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return rebuild


def cut(share, name="cut.mp4", **options):
    """Return a builder of a clip that ends after a share of its bytes."""
    whole = clip(name, noise, **options)
    return changed(whole, lambda data: data[: int(len(data) * share)])


def damaged(name, **options):
    """Return a builder of a clip with zeros in it, before the frames that a prediction observes."""

    def zero(data):
        begin, end = int(len(data) * 0.80), int(len(data) * 0.92)
        return data[:begin] + bytes(end - begin) + data[end:]

    return changed(clip(name, lambda: noise(30), **options), zero)


def without(atom, build):
    """Return a builder of an MP4 whose atom has another name: players do not find it."""
    return changed(build, lambda data: data.replace(atom, b"xxxx"))


def sound(folder):
    """Write a file with sound and no picture."""
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", 8000, layout="mono")
        silence = np.zeros((1, 1024), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
    return folder / "sound.mp4"


def no_frames(folder):
    """Write a container that announces pictures and holds none."""
    with av.open(str(folder / "none.mkv"), "w") as container:
        stream = container.add_stream("libx264", RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return folder / "none.mkv"


def huge(name, height, width, *, aspect=Fraction(1), count=2):
    """Return a builder of a small file whose frames are large."""

    def build(folder):
        black = np.zeros((1, height, width, 3), np.uint8)
        return write(
            folder / name, black, codec="qtrle", pixels="rgb24", aspect=aspect, repeats=count
        )

    return build


def without_stamps(folder):
    """Write bare H.264, which holds no times at all, under the name of an MP4."""
    source = write(folder / "a.mp4", options={"bf": "2"})
    with av.open(str(source)) as given, av.open(str(folder / "bare.ts"), "w") as target:
        stream = target.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    source.unlink()
    return folder / "bare.ts"


def joined(folder):
    """Write a stream that changes its size halfway."""
    parts = [write(folder / f"{side}.ts", moving(8, side, side)) for side in (32, 96)]
    (folder / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return folder / "joined.ts"


def list_of_others(name, text):
    """Return a builder of a playlist that names a real clip beside it."""

    def build(folder):
        target = write(folder / "target.mp4")
        (folder / name).write_text(text.format(target=target, name=target.name))
        return folder / name

    return build


M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile {name}\n"
DASH = '<?xml version="1.0"?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>'
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"
NO_VIDEO = "is not a video that can be decoded"


def fifo(folder):
    """Make a pipe, from which a reader would wait for ever."""
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


def loop(folder):
    """Make a link to itself."""
    (folder / "loop.mp4").symlink_to("loop.mp4")
    return folder / "loop.mp4"


def unreadable(folder):
    """Write a clip that may not be read; root may."""
    path = write(folder / "secret.mp4")
    path.chmod(0)
    return path


def varying(folder):
    """Write a clip whose frames come at odd times."""
    stamps = [0, 40, 80, 1000, 1040, 1041, 3000, 3500, 3501, 3600, 9000, 9040]
    return write(folder / "vfr.mkv", stamps=stamps)


HOSTILE = {
    # Not a video, or no more of one.
    "empty": Hostile(holding("empty.mp4", ""), 1, NO_VIDEO),
    "one byte": Hostile(holding("byte.mp4", b"\x00"), 1, NO_VIDEO),
    "text": Hostile(holding("text.mp4", "a text\n" * 99), 1, NO_VIDEO),
    "zeros": Hostile(holding("zeros.mkv", bytes(5000)), 1, NO_VIDEO),
    "audio only": Hostile(sound, 1, "holds sound and no pictures"),
    "no frames": Hostile(no_frames, 1, "none.mkv"),
    "moov missing": Hostile(without(b"moov", clip("moov.mp4")), 1, NO_VIDEO),
    "one frame": Hostile(clip("one.mp4", lambda: moving(1)), 1, "1 frame"),
    "two frames": Hostile(clip("two.mp4", lambda: moving(2))),
    # Cut short.
    **{
        f"mp4 cut at {share}": Hostile(cut(share, container=FASTSTART), code, said)
        for share, code, said in [
            (0.001, 1, NO_VIDEO),
            (0.02, 1, "cut.mp4"),
            (0.5, 0, "cut.mp4"),
            (0.95, 0, "cut.mp4"),
        ]
    },
    "mp4 cut before its index": Hostile(cut(0.9), 1, NO_VIDEO),
    **{
        f"{name} cut at {share}": Hostile(cut(share, name, **options), said=said)
        for name, share, said, options in [
            ("cut.mkv", 0.5, "", {}),
            ("cut.avi", 0.6, "", {"codec": "mpeg4"}),
            ("cut.ts", 0.7, "", {}),
            ("cut.gif", 0.6, "", {"codec": "gif", "pixels": "rgb8"}),
            ("cut.webm", 0.6, "", {"codec": "libvpx"}),
        ]
    },
    # Damaged in the middle.
    "mp4 damaged": Hostile(damaged("hurt.mp4"), said="hurt.mp4 is damaged"),
    "mkv damaged": Hostile(damaged("hurt.mkv"), said="hurt.mkv"),
    "avi damaged": Hostile(
        damaged("hurt.avi", codec="ffv1", pixels="bgr0"), said="hurt.avi is damaged"
    ),
    "ts damaged": Hostile(damaged("hurt.ts"), said="hurt.ts"),
    # Of odd sizes and shapes.
    "1×1": Hostile(clip("dot.mkv", lambda: moving(6, 1, 1), codec="ffv1", pixels="bgr0")),
    "odd size": Hostile(clip("odd.mkv", lambda: moving(6, 33, 47), pixels="yuv444p")),
    "very wide": Hostile(clip("wide.mkv", lambda: moving(6, 2, 4096), codec="ffv1", pixels="bgr0")),
    "very tall": Hostile(clip("tall.mkv", lambda: moving(6, 4096, 2), codec="ffv1", pixels="bgr0")),
    "8192×8192": Hostile(huge("bomb.mov", 8192, 8192, count=1), 1, "8192×4320"),
    "65000×500": Hostile(huge("long.mov", 500, 65000)),
    "8192×4320": Hostile(huge("large.mov", 4320, 8192)),
    "8192×4320, four times as wide": Hostile(huge("large.mov", 4320, 8192, aspect=Fraction(4))),
    "size changes": Hostile(joined),
    **{
        f"rotated by {turn}": Hostile(clip("turn.mp4", rotation=turn))
        for turn in (90, 180, 270, -90, 45)
    },
    "pixels twice as wide": Hostile(clip("wide.mp4", aspect=Fraction(2))),
    "pixels absurdly wide": Hostile(clip("wide.mkv", aspect=Fraction(30000, 1))),
    # At odd times.
    "rate varies": Hostile(varying),
    "a day between two frames": Hostile(
        clip("day.mkv", lambda: moving(4), stamps=[0, 100, 86_400_000, 86_400_100])
    ),
    "100000 frames a second": Hostile(clip("fast.mkv", rate=100_000), 1, "1 frame(s) to observe"),
    "a frame an hour": Hostile(clip("slow.mkv", rate=Fraction(1, 3600))),
    "all at once": Hostile(
        clip("once.mkv", stamps=[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2], codec="ffv1", pixels="bgr0")
    ),
    "times below zero": Hostile(
        clip("below.mkv", stamps=list(range(-5000, 1000, 500)), options={"bf": "0"})
    ),
    "times far from zero": Hostile(
        clip("far.mkv", stamps=list(range(10**10, 10**10 + 1200, 100)), options={"bf": "0"})
    ),
    "no times": Hostile(without_stamps),
    "one key frame": Hostile(
        clip("long.mp4", options={"g": "10000", "sc_threshold": "0"}, repeats=50)
    ),
    # In odd colours.
    "10 bit": Hostile(clip("deep.mkv", pixels="yuv420p10le")),
    "4:4:4": Hostile(clip("full.mp4", pixels="yuv444p")),
    "alpha": Hostile(
        clip("alpha.mkv", lambda: moving(6, channels=4), codec="ffv1", pixels="yuva444p")
    ),
    "gray": Hostile(clip("gray.mkv", codec="ffv1", pixels="gray")),
    "gray of 16 bit": Hostile(clip("gray.mkv", codec="ffv1", pixels="gray16le")),
    "a palette": Hostile(clip("few.gif", codec="gif", pixels="rgb8")),
    # Whose index asks for the whole machine.
    **{
        name: Hostile(bomb(file, change, write), 1, f"{NO_VIDEO} (its ")
        for name, (file, change) in ABSURD.items()
    },
    "a few edits": Hostile(bomb("edits.mov", edits(3), write)),
    "an index that is packed": Hostile(bomb("packed.mov", packed(1000), write)),
    # That name other files.
    "m3u8": Hostile(list_of_others("list.m3u8", M3U8), 1, NO_VIDEO),
    "m3u8 named mp4": Hostile(list_of_others("list.mp4", M3U8), 1, NO_VIDEO),
    "ffconcat": Hostile(list_of_others("list.ffconcat", CONCAT), 1, NO_VIDEO),
    "ffconcat named mp4": Hostile(list_of_others("list.mp4", CONCAT), 1, NO_VIDEO),
    "dash": Hostile(list_of_others("list.mpd", DASH), 1, NO_VIDEO),
    "sdp": Hostile(list_of_others("list.sdp", SDP), 1, NO_VIDEO),
    "concat:": Hostile(lambda _: Path("concat:a.mp4|b.mp4"), 1, "no such file"),
    "http:": Hostile(lambda _: Path("http://127.0.0.1:9/a.mp4"), 1, "is an address"),
    # That are no files.
    "folder": Hostile(lambda folder: (folder / "a.mp4").mkdir() or folder / "a.mp4", 1, "no video"),
    "pipe": Hostile(fifo, 1, "not a regular file"),
    "device": Hostile(lambda _: Path("/dev/zero"), 1, "not a regular file"),
    "link to itself": Hostile(loop, 1, "loop.mp4"),
    "link to nothing": Hostile(
        lambda folder: (folder / "gone.mp4").symlink_to("none") or folder / "gone.mp4",
        1,
        "no such file",
    ),
    "missing": Hostile(lambda folder: folder / "missing.mp4", 1, "no such file"),
    "unreadable": Hostile(unreadable, 1, "ermission"),
    # With odd names.
    **{
        f"named {name!r:.20}": Hostile(named(name))
        for name in (
            "a b.mp4",
            "a\nb.mp4",
            "a'b\"c.mp4",
            "-a.mp4",
            "--help",
            "%d.mp4",
            "[a].mp4",
            "concat:a|b.mp4",
            "é☃.mp4",
            b"caf\xe9.mp4",
            "\x1b[31mred.mp4",
            ".mp4",
            "n" * 251 + ".mp4",
            "é" * 125 + ".mp4",
        )
    },
}
