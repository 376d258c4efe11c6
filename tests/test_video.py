"""Clips are read where, when and as they look, and written whole or not at all."""

import logging
import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from drsvg_cli.errors import ResourceError, VideoError
from drsvg_cli.video import decoding, opening, writing
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.finding import find_clips
from drsvg_cli.video.reading import grid_rate, measure_length, read_clip, read_frames
from drsvg_cli.video.writing import write_clip

TWELVE = Fraction(12)
FASTSTART = {"movflags": "+faststart"}  # the index first: what is cut is pictures
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 50, 50), (255, 255, 0), (128, 128, 128)]


def numbered(count, size=32):
    """Frames whose brightness, 4 levels apart, tells their index in a clip of up to 60."""
    levels = np.arange(count, dtype=np.uint8)[:, None, None, None] * 4 + 8
    return np.broadcast_to(levels, (count, size, size, 3)).copy()


def indices(frames):
    return [round((float(frame.mean()) - 8) / 4) for frame in frames]


def bars(count=3, height=32):
    """Vertical bars, 16 pixels wide, of saturated colours."""
    row = np.repeat(np.array(COLOURS, np.uint8), 16, axis=0)
    return np.broadcast_to(row, (count, height, *row.shape)).copy()


def noise(count=4, height=33, width=47, channels=3):
    return np.random.default_rng(0).integers(
        0, 256, (count, height, width, channels), dtype=np.uint8
    )


TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def pq(light):
    """Encode light in cd/m² as BT.2100 says, in [0, 1]."""
    power = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light):
    """Encode light in cd/m² on a screen of 1000 as BT.2100 says, in [0, 1]."""
    luminance = np.maximum((light / 1000) @ (0.2627, 0.6780, 0.0593), 1e-9)[:, None]
    scene = light / 1000 * luminance ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright).clip(0, 1)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def silence(container, codec, seconds):
    """Write a stream of silence."""
    stream = container.add_stream(codec, 48000)
    for start in range(0, seconds * 48000, 960):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 48000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def tag(target, tags):
    """Say what colours mean."""
    for name, value in tags.items():
        setattr(target, name, value)


@pytest.fixture
def make_clip(tmp_path):
    """Write a file straight with PyAV: any codec, pixel format, time stamps and stream settings."""

    def make(name, frames, *, codec="libx264", pixels="yuv420p", stamps=None, rate=10, **extra):
        options = {"crf": "4", "g": str(extra.get("group", 12))} if codec == "libx264" else {}
        path = tmp_path / name
        with av.open(f"file:{path}", "w", options=extra.get("container", {})) as container:
            stream = container.add_stream(codec, rate, options=options | extra.get("options", {}))
            stream.height, stream.width = extra.get("size", frames.shape[1:3])
            stream.pix_fmt = pixels
            tag(stream.codec_context, extra.get("tags", {}))
            base = Fraction(1, 1000) if stamps else Fraction(1, rate)
            stream.codec_context.time_base = base
            if "rotation" in extra:
                stream.set_display_rotation(extra["rotation"])
            if "aspect" in extra:
                stream.codec_context.sample_aspect_ratio = extra["aspect"]
            if "sound" in extra:
                silence(container, *extra["sound"])
            kind = extra.get("kind") or ("rgba" if frames.shape[3] == 4 else "rgb24")
            packets = []
            for index, pixels_of_one in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels_of_one, format=kind)
                if "tags" in extra:
                    space = extra["tags"]["colorspace"]
                    frame = frame.reformat(format=pixels, dst_colorspace=space)
                    tag(frame, extra["tags"])
                frame.pts = stamps[index] if stamps else index
                frame.time_base = base
                packets += stream.encode(frame)
            for index, packet in enumerate([*packets, *stream.encode()]):
                if index % extra.get("called_key", len(frames) + 1) == 0:
                    packet.is_keyframe = True
                container.mux(packet)
        if codec == "libsvtav1" and hasattr(os, "sched_setscheduler"):
            # Where it may, it gives the process that calls it a real-time priority for good.
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return path

    return make


class TestClip:
    @pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 4), (0, 8, 8, 3), (2, 0, 8, 3)])
    def test_refuses_other_shapes(self, shape):
        with pytest.raises(ValueError, match="frame"):
            Clip(np.zeros(shape, np.uint8), TWELVE)

    def test_refuses_other_types_and_rates(self):
        with pytest.raises(ValueError, match="float32"):
            Clip(np.zeros((1, 8, 8, 3), np.float32), TWELVE)
        with pytest.raises(ValueError, match="positive"):
            Clip(numbered(1), Fraction(0))

    def test_tells_the_time_of_every_frame(self):
        assert Clip(numbered(3), Fraction(4), start=1.5).times == [1.5, 1.75, 2.0]


class TestWhichFrames:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({}, [37, 38, 39]),
            ({"after": 2}, [35, 36, 37, 38, 39]),
            ({"at": 2.0}, [18, 19, 20]),
            ({"at": 2.04}, [18, 19, 20]),
            ({"at": 0}, [0]),
            ({"at": 0.1}, [0, 1]),
            ({"at": 0.1, "after": 2}, [0, 1, 2, 3]),
            ({"at": 3.9}, [37, 38, 39]),
            ({"at": 4.0}, [37, 38, 39]),
            ({"rate": Fraction(5)}, [35, 37, 39]),
            ({"rate": Fraction(4)}, [35, 37, 39]),
            ({"rate": Fraction(30)}, [37, 38, 39]),
            ({"rate": Fraction(5), "at": 2.0, "after": 1}, [16, 18, 20, 22]),
            ({"rate": Fraction(20), "exact_rate": True, "at": 1.0}, [9, 9, 10]),
            ({"rate": Fraction(5, 2), "exact_rate": True, "at": 2.0, "after": 1}, [12, 16, 20, 24]),
        ],
    )
    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
    def test_are_those_asked_for(self, make_clip, suffix, arguments, expected):
        path = make_clip(f"clip.{suffix}", numbered(40))
        assert indices(read_clip(path, 3, **arguments).frames) == expected

    @pytest.mark.parametrize(("suffix", "codec"), [("avi", "mpeg4"), ("webm", "libvpx-vp9")])
    def test_in_other_containers(self, make_clip, suffix, codec):
        options = {"b": "4M"}
        path = make_clip(f"clip.{suffix}", numbered(30), codec=codec, options=options)
        assert indices(read_clip(path, 2).frames) == [28, 29]
        assert indices(read_clip(path, 2, at=1.2, after=1).frames) == [11, 12, 13]

    def test_in_a_stream_whose_frames_have_no_time_stamps(self, make_clip):
        options = {"b": "8M", "g": "12", "bf": "2"}
        path = make_clip("a.mpg", numbered(60), codec="mpeg2video", rate=25, options=options)
        for frame in (40, 50, 55):
            found = indices(read_clip(path, 3, at=frame / 25).frames)
            assert found == [frame - 2, frame - 1, frame]

    def test_come_with_their_rate_and_time(self, make_clip):
        clip = read_clip(make_clip("a.mp4", numbered(20)), 3, at=1.0, rate=Fraction(4))
        assert (clip.rate, clip.start) == (Fraction(5), pytest.approx(0.6))
        assert clip.frames.shape == (3, 32, 32, 3)

    def test_of_a_long_group_of_pictures(self, make_clip):
        path = make_clip("a.mp4", numbered(50), group=1000)
        assert indices(read_clip(path, 2, at=4.0).frames) == [39, 40]

    def test_when_the_rate_varies(self, make_clip):
        stamps = [0, 100, 200, 1000, 1100, 1200, 3000, 3100]
        path = make_clip("a.mkv", numbered(8), stamps=stamps)
        clip = read_clip(path, 4, at=1.2, rate=Fraction(2), exact_rate=True)
        assert indices(clip.frames) == [2, 3, 5]  # at 0.2, 0.7 and 1.2 s
        assert indices(read_clip(path, 1).frames) == [7]
        assert indices(read_clip(path, 1, at=2.0).frames) == [5]

    def test_when_a_long_pause_makes_the_mean_rate_say_nothing(self, make_clip):
        """A recording of a screen on which nothing happened for a while."""
        stamps = [100 * index for index in range(20)] + [40_000 + 100 * index for index in range(5)]
        path = make_clip("a.mp4", numbered(25), stamps=stamps)
        assert probe(path).rate < 1
        options = {"rate": Fraction(10), "exact_rate": True}
        assert indices(read_clip(path, 3, at=0.9, **options).frames) == [7, 8, 9]
        assert indices(read_clip(path, 3, at=0, **options).frames) == [0]

    @pytest.mark.parametrize("offset", [-300, 5000])
    def test_when_time_stamps_do_not_begin_at_zero(self, make_clip, offset):
        stamps = [offset + 100 * index for index in range(20)]
        options = {"bf": "0"}
        path = make_clip("a.mkv", numbered(20), stamps=stamps, options=options)
        assert indices(read_clip(path, 2, at=1.0).frames) == [9, 10]
        assert indices(read_clip(path, 2).frames) == [18, 19]

    def test_are_reached_without_decoding_the_rest(self, make_clip, monkeypatch):
        path = make_clip("a.mp4", numbered(60), group=10)
        decoded = []
        frames = decoding._frames
        monkeypatch.setattr(
            decoding, "_frames", lambda *args: (decoded.append(1) or f for f in frames(*args))
        )
        assert indices(read_clip(path, 2, at=4.5).frames) == [44, 45]
        assert indices(read_clip(path, 2).frames) == [58, 59]
        assert len(decoded) <= 2 * (1 + 12)

    def test_beyond_the_end_are_refused(self, make_clip):
        path = make_clip("a.mp4", numbered(20))
        with pytest.raises(VideoError, match=r"lasts 2\.000 s.*no frame at 2\.5 s"):
            read_clip(path, 2, at=2.5)
        assert indices(read_clip(path, 1, at=2.04).frames) == [19], "as if rounded"
        with pytest.raises(VideoError, match=r"3 frames beyond 1\.8 s"):
            read_clip(path, 2, at=1.8, after=3)
        with pytest.raises(VideoError, match="too short"):
            read_clip(path, 2, after=20)
        with pytest.raises(VideoError, match="0 seconds or later"):
            read_clip(path, 2, at=-1)

    def test_of_a_short_clip_are_fewer(self, make_clip):
        path = make_clip("a.mp4", numbered(4))
        assert indices(read_clip(path, 10).frames) == [0, 1, 2, 3]
        assert indices(read_clip(path, 10, after=3).frames) == [0, 1, 2, 3]

    def test_counts_are_checked(self, tmp_path):
        with pytest.raises(ValueError, match="count"):
            read_clip(tmp_path, 0)

    def test_stream_in_order(self, make_clip):
        path = make_clip("a.mkv", numbered(20))
        assert indices(read_frames(path)) == list(range(20))
        assert indices(read_frames(path, rate=Fraction(5))) == list(range(0, 20, 2))


def drifting(count=60, size=32):
    """Slopes that move and noise that does not: each frame is told from each other one."""
    y, x = np.mgrid[:size, :size]
    slopes = [np.stack([2 * x + 3 * t, 2 * y + t, x + y + 5 * t], -1) % 256 for t in range(count)]
    frames = np.stack(slopes).astype(np.uint8)
    frames[:, : size // 2] //= 2
    frames[:, : size // 2] += noise(1, size // 2, size) // 3
    return frames


class TestAfterASeek:
    """What is decoded from a key frame on is what is decoded from the start on."""

    def check(self, path, *, moments=(1.5, 3.0, 5.0)):
        whole = list(read_frames(path))
        for at in moments:
            last = round(at * 10)
            assert np.array_equal(read_clip(path, 2, at=at).frames, whole[last - 1 : last + 1])
        assert np.array_equal(read_clip(path, 2).frames, whole[-2:])

    @pytest.mark.parametrize("cabac", [0, 1])
    def test_a_decoder_knows_what_the_first_packet_says(self, make_clip, cabac):
        """The version of x264 decides how 4:4:4 is decoded."""
        options = {"qp": "0", "x264-params": f"cabac={cabac}"}
        path = make_clip("a.mkv", drifting(), pixels="yuv444p", options=options)
        content = path.read_bytes()
        assert content.count(b"x264 - core 1") == 1
        place = content.index(b"x264 - core 1") + 12
        path.write_bytes(content[:place] + b"142" + content[place + 3 :])
        self.check(path)

    @pytest.mark.parametrize(
        ("suffix", "codec"),
        [
            ("webm", "libvpx"),
            ("webm", "libvpx-vp9"),
            ("mkv", "mpeg4"),
            ("avi", "mpeg4"),
            ("mkv", "libx264"),
            ("mp4", "libx264"),
            ("mp4", "mpeg2video"),
        ],
    )
    def test_what_is_called_a_key_frame_need_be_none(self, make_clip, caplog, suffix, codec):
        options = {"b": "4M", "g": "1000", "sc_threshold": "0"}
        path = make_clip(
            f"a.{suffix}", drifting(), codec=codec, options=options, group=1000, called_key=12
        )
        self.check(path)
        assert not caplog.messages, "it is not damaged"

    def test_a_picture_that_is_renewed_bit_by_bit(self, make_clip, caplog):
        options = {"x264-params": "intra-refresh=1"}
        self.check(make_clip("a.mkv", drifting(), options=options))
        assert not caplog.messages

    def test_open_groups_of_pictures(self, make_clip, caplog):
        options = {"x264-params": "open-gop=1", "bf": "3"}
        moments = [frame / 10 for frame in range(10, 60, 3)]
        self.check(make_clip("a.mp4", drifting(), options=options), moments=moments)
        assert not caplog.messages

    def test_damage_before_the_last_key_frame_is_none_of_what_is_used(self, make_clip, caplog):
        path = make_clip("a.mkv", drifting(), options={"g": "20", "sc_threshold": "0", "bf": "0"})
        with av.open(path) as container:
            sizes = [packet.size for packet in container.demux(video=0) if packet.size]
        content = bytearray(path.read_bytes())
        begin = len(content) * sum(sizes[:25]) // sum(sizes)
        content[begin : begin + 400] = bytes(400)
        path.write_bytes(content)
        whole = read_clip(path, 60)
        assert "is damaged" in caplog.text
        caplog.clear()
        assert np.array_equal(read_clip(path, 3, at=5.0).frames, whole.frames[48:51])
        assert np.array_equal(read_clip(path, 3, at=1.5).frames, whole.frames[13:16])
        assert not caplog.messages
        read_clip(path, 3, at=3.8)
        assert "is damaged" in caplog.text, "and where it is used it is told"


@pytest.mark.parametrize(
    ("rate", "exact", "expected"),
    [
        (None, False, Fraction(30)),
        (TWELVE, False, Fraction(15)),
        (Fraction(100), False, Fraction(30)),
        (TWELVE, True, TWELVE),
    ],
)
def test_grid_rate_divides_the_source_by_a_whole_number(rate, exact, expected):
    assert grid_rate(Fraction(30), rate, exact=exact) == expected


class TestHowFramesLook:
    @pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (270, 3), (-90, -1)])
    def test_upright(self, make_clip, rotation, turns):
        frames = bars()
        path = make_clip("a.mp4", frames, rotation=rotation)
        read = read_clip(path, 1).frames[0]
        upright = np.rot90(frames[0], turns)
        assert (probe(path).height, probe(path).width) == upright.shape[:2]
        assert psnr(read, upright) > 25

    @pytest.mark.parametrize(
        ("matrix", "wanted"),
        [
            ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
            ((1, 0, 0, -1), lambda frame: frame[::-1]),
            ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
            ((0, -1, -1, 0), lambda frame: frame[::-1, ::-1].swapaxes(0, 1)),
            ((-1, 0, 0, -1), lambda frame: frame[::-1, ::-1]),
        ],
    )
    def test_mirrored(self, make_clip, matrix, wanted):
        """As cameras and editors note it: a matrix in the header of the track."""
        frames = bars()
        frames[:, :16] //= 2
        path = make_clip("a.mp4", frames)
        data = bytearray(path.read_bytes())
        place = data.index(b"tkhd") + 44
        a, b, c, d = (value * 2**16 for value in matrix)
        data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
        path.write_bytes(data)
        upright = wanted(frames[0])
        assert (probe(path).height, probe(path).width) == upright.shape[:2]
        assert psnr(read_clip(path, 1).frames[0], upright) > 25

    @pytest.mark.parametrize(
        ("aspect", "size"), [(Fraction(2), (32, 192)), (Fraction(1, 2), (64, 96))]
    )
    def test_with_square_pixels(self, make_clip, aspect, size):
        path = make_clip("a.mkv", bars(), aspect=aspect)
        assert (probe(path).height, probe(path).width) == size
        assert read_clip(path, 1).frames.shape[1:3] == size

    @pytest.mark.parametrize(
        ("codec", "pixels", "suffix"),
        [
            ("libx264", "yuv444p", "mp4"),
            ("libx264", "yuv422p10le", "mkv"),
            ("libsvtav1", "yuv420p10le", "mkv"),
            ("mjpeg", "yuvj420p", "avi"),
            ("libvpx", "yuv420p", "webm"),
            ("ffv1", "yuva444p", "mkv"),
        ],
    )
    def test_in_true_colours(self, make_clip, codec, pixels, suffix):
        if codec == "libsvtav1":
            os.environ["SVT_LOG"] = "0"
        frames = bars(height=64)
        path = make_clip(f"a.{suffix}", frames, codec=codec, pixels=pixels, options={"b": "9M"})
        read = read_clip(path, 1).frames[0].astype(int)
        assert np.abs(read - frames[0])[32, 8::16].max() <= 6

    def test_untagged_high_definition_is_bt709(self, make_clip):
        colours = [(180, 60, 60), (60, 150, 70), (70, 80, 170), (200, 150, 90), (128, 128, 128)]
        row = np.repeat(np.array(colours, np.uint8), 16, axis=0)
        picture = av.VideoFrame.from_ndarray(np.tile(row, (720, 1, 1)), format="rgb24")
        planes = picture.reformat(format="yuv444p", dst_colorspace=1).to_ndarray()
        path = make_clip("a.mkv", planes[None], size=(720, 80), kind="yuv444p", pixels="yuv444p")
        found = read_clip(path, 1).frames[0, 32, 8::16].astype(int)
        assert np.abs(found - colours).max() <= 4  # up to 14 as BT.601

    @pytest.mark.parametrize("curve", [pq, hlg])
    @pytest.mark.parametrize(("codec", "suffix"), [("libx265", "mp4"), ("libsvtav1", "mkv")])
    def test_high_dynamic_range_as_on_an_ordinary_screen(self, make_clip, curve, codec, suffix):
        """Light as phones record it, of 203 candela where paper is white, in BT.2020."""
        os.environ["SVT_LOG"] = "0"
        light = np.array(
            [(0.2, 0.05, 0.05), (0.05, 0.2, 0.1), (0.03, 0.05, 0.2), (0.18, 0.18, 0.18), (1, 1, 1)]
        )
        row = np.repeat(curve(203 * light @ TO_BT2020.T), 16, axis=0)
        frames = np.broadcast_to((65535 * row + 0.5).astype(np.uint16), (3, 64, *row.shape))
        path = make_clip(
            f"a.{suffix}",
            frames,
            codec=codec,
            pixels="yuv420p10le",
            kind="rgb48le",
            options={"crf": "4", "x265-params": "log-level=none"},
            tags={"color_trc": 16 if curve is pq else 18, "color_primaries": 9, "colorspace": 9},
        )
        read = read_clip(path, 2).frames[0].astype(int)[32, 8::16]
        wanted = 255 * light ** (1 / 2.4)  # BT.1886
        assert np.abs(read - wanted)[:4].max() <= 5
        assert 200 < read[4].min() <= read[4].max() < 235, "there is room for what is brighter"

    @pytest.mark.parametrize("curve", [pq, hlg])
    def test_bright_light_keeps_its_order_and_its_hue(self, make_clip, curve):
        levels = 1000 * np.linspace(0, 1, 12)[:, None] ** 2
        row = np.repeat(curve(levels * (1, 0.6, 0.3)), 8, axis=0)
        frames = np.broadcast_to((65535 * row + 0.5).astype(np.uint16), (2, 16, *row.shape))
        tags = {"color_trc": 16 if curve is pq else 18, "color_primaries": 1, "colorspace": 9}
        path = make_clip(
            "a.mkv", frames, codec="ffv1", pixels="yuv444p10le", kind="rgb48le", tags=tags
        )
        read = read_clip(path, 1).frames[0][8, 4::8].astype(float)
        assert (np.diff(read[:, 0]) > 0).all() and read[-1, 0] >= 253
        ratio = (read[4:-1, 1:] / read[4:-1, :1]) ** 2.4  # HLG holds no such light in one colour
        assert np.abs(ratio - (0.6, 0.3)).max() < 0.03

    def test_alpha_lies_over_black(self, make_clip):
        frames = np.full((2, 16, 16, 4), (200, 100, 50, 255), np.uint8)
        frames[:, :, 8:, 3] = 0
        frames[:, 8:, :8, 3] = 128
        read = read_clip(make_clip("a.mkv", frames, codec="ffv1", pixels="bgra"), 1).frames[0]
        assert read[0, 0].tolist() == [200, 100, 50]
        assert read[12, 0].tolist() == [100, 50, 25]
        assert not read[:, 8:].any()

    def test_gray_comes_as_three_equal_channels(self, make_clip):
        path = make_clip("a.mkv", numbered(3), codec="ffv1", pixels="gray")
        read = read_clip(path, 3).frames
        assert read.shape[3] == 3
        assert (read == read[..., :1]).all()
        assert indices(read) == [0, 1, 2]

    def test_a_change_of_size_does_not_tear_the_clip(self, make_clip, tmp_path):
        parts = [make_clip(f"{size}.ts", numbered(10, size)) for size in (32, 64)]
        joined = tmp_path / "joined.ts"
        joined.write_bytes(b"".join(part.read_bytes() for part in parts))
        assert {frame.shape for frame in read_frames(joined)} == {(32, 32, 3)}
        assert read_clip(joined, 15).frames.shape[1:] == (32, 32, 3)


def delay(whole, path, seconds, **options):
    """Copy a clip, its pictures so many seconds later, without encoding it anew."""
    with av.open(whole) as given, av.open(path, "w", options=options) as taken:
        stream = given.streams.video[0]
        copy = taken.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.pts += round(seconds / stream.time_base)
                packet.dts += round(seconds / stream.time_base)
                packet.stream = copy
                taken.mux(packet)


class TestProbe:
    def test_describes_the_clip(self, make_clip):
        path = make_clip("a.mp4", numbered(20))
        info = probe(path)
        assert (info.path, info.codec, info.width, info.height) == (path, "h264", 32, 32)
        assert (info.rate, info.duration, info.frames) == (10, pytest.approx(2), 20)

    def test_admits_what_the_file_does_not_say(self, make_clip):
        info = probe(make_clip("a.mkv", numbered(20), codec="ffv1", pixels="bgr0"))
        assert info.frames is None

    def test_does_not_count_frames_that_an_edit_list_hides(self, make_clip, tmp_path):
        whole, trimmed = make_clip("whole.mp4", numbered(60), group=60), tmp_path / "trimmed.mp4"
        delay(whole, trimmed, -1, use_editlist="1", avoid_negative_ts="disabled")
        info = probe(trimmed)
        assert (info.frames, info.duration, info.rate) == (60, 5.0, 10)
        clip = read_clip(trimmed, 3)
        assert indices(clip.frames) == [57, 58, 59]
        assert clip.times == pytest.approx([4.7, 4.8, 4.9])


class TestLength:
    @pytest.mark.parametrize(
        ("suffix", "codec", "pixels"),
        [
            ("mp4", "libx264", "yuv420p"),
            ("mkv", "libx264", "yuv420p"),
            ("webm", "libvpx", "yuv420p"),
            ("avi", "mpeg4", "yuv420p"),
            ("ts", "libx264", "yuv420p"),
            ("gif", "gif", "gray"),
        ],
    )
    @pytest.mark.parametrize("rate", [12, 24, 25, 30, 50, 60])
    @pytest.mark.parametrize("count", [50, 53])
    def test_ends_with_the_last_frame(self, make_clip, suffix, codec, pixels, rate, count):
        name, options = f"a.{suffix}", {"b": "4M"}
        path = make_clip(
            name, numbered(count), codec=codec, pixels=pixels, rate=rate, options=options
        )
        length = measure_length(probe(path))
        assert length == pytest.approx(count / rate, abs=0.02)
        assert indices(read_clip(path, 1, at=length).frames) == [count - 1]
        (middle,) = indices(read_clip(path, 1, at=length / 2).frames)
        assert abs(middle - count / 2) <= 1

    @pytest.mark.parametrize(
        ("suffix", "codec", "sound"),
        [("mp4", "libx264", "aac"), ("mkv", "libx264", "aac"), ("webm", "libvpx", "libopus")],
    )
    def test_is_not_that_of_the_sound(self, make_clip, caplog, suffix, codec, sound):
        path = make_clip(f"a.{suffix}", numbered(30), codec=codec, sound=(sound, 6))
        assert measure_length(probe(path)) == pytest.approx(3, abs=0.01)
        assert indices(read_clip(path, 2).frames) == [28, 29]
        assert not caplog.messages, "it is not cut short"

    def test_of_a_matroska_file_that_begins_late(self, make_clip, tmp_path, caplog):
        """Its header says when it ends."""
        whole = make_clip("whole.mkv", numbered(30), codec="ffv1", pixels="bgr0")
        late = tmp_path / "late.mkv"
        delay(whole, late, 10)
        assert probe(late).duration == pytest.approx(3, abs=0.1)
        assert indices(read_clip(late, 2).frames) == [28, 29]
        assert not caplog.messages, "it is not cut short"


class TestRefusals:
    def check(self, path, reason):
        for read in (probe, lambda path: read_clip(path, 2), lambda path: next(read_frames(path))):
            with pytest.raises(VideoError, match=reason) as caught:
                read(path)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", [b"", b"not a video\n" * 99, b"\x00" * 5000])
    def test_what_is_no_video(self, tmp_path, text):
        path = tmp_path / "a\nb.mp4"
        path.write_bytes(text)
        self.check(path, "is not a video that can be decoded")

    @pytest.mark.parametrize("name", ["http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "pipe:0"])
    def test_addresses(self, name):
        self.check(Path(name), "no such file")

    def test_frames_too_large_to_hold(self, make_clip, monkeypatch):
        monkeypatch.setitem(opening._OPEN_OPTIONS, "max_pixels", "1000")
        self.check(make_clip("a.mp4", numbered(3, 64)), "decoded")

    def test_a_file_cut_before_its_first_frame(self, make_clip):
        path = make_clip("a.mp4", noise(4, 64, 64), container=FASTSTART)
        path.write_bytes(path.read_bytes()[:2000])
        self.check(path, "no frame that can be decoded")


class TestDamage:
    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
    def test_keeps_the_frames_before_a_cut(self, make_clip, suffix):
        path = make_clip(f"a.{suffix}", noise(20, 64, 64), container=FASTSTART)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
        clip = read_clip(path, 3)
        assert len(clip.frames) == 3
        assert 0.5 < clip.times[-1] < 1.5

    def test_a_cut_is_told(self, make_clip, caplog):
        path = make_clip("a.mkv", noise(40, 64, 64))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        length = measure_length(probe(path))
        assert 1.5 < length < 2.5 and not caplog.messages
        assert read_clip(path, 2).times[-1] == pytest.approx(length - 0.1, abs=0.01)
        assert "though its header says 4.0 s: it may be cut short" in caplog.text

    def test_is_logged_and_passed_over(self, make_clip, caplog):
        path = make_clip("a.avi", noise(20, 64, 64), codec="ffv1", pixels="bgr0")
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 400] = bytes(400)
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert len(list(read_frames(path))) >= 18
        assert all("\n" not in record.message for record in caplog.records)


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["-a.mp4", "a b.mp4", "a\nb.mp4", "concat:a|b.mp4", "http:a.mp4", "%d.mp4", "é☃.mp4"],
    )
    def test_may_be_odd(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        write_clip(Path(name), Clip(numbered(3), TWELVE))
        assert indices(read_clip(Path(name), 3).frames) == [0, 1, 2]
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_that_no_text_can_hold(self, tmp_path):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mkv"))
        write_clip(path, Clip(numbered(3), TWELVE))
        assert indices(read_clip(path, 3).frames) == [0, 1, 2]


class TestWrite:
    @pytest.mark.parametrize("suffix", ["mkv", "png"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_lossless_formats_are_bit_exact(self, tmp_path, suffix, channels):
        frames = noise(channels=channels)
        write_clip(tmp_path / f"a.{suffix}", Clip(frames, TWELVE))
        read = read_clip(tmp_path / f"a.{suffix}", 9)
        assert read.rate == TWELVE
        assert np.array_equal(read.frames, np.broadcast_to(frames, (*frames.shape[:3], 3)))

    def test_mp4_keeps_colours_and_describes_them(self, tmp_path):
        path = tmp_path / "a.mp4"
        write_clip(path, Clip(bars(), TWELVE))
        read = read_clip(path, 3).frames.astype(int)
        assert np.abs(read - bars())[:, :, 8::16].max() <= 4
        with av.open(path) as container:
            context = container.streams.video[0].codec_context
            assert (context.colorspace, context.color_range, context.pix_fmt) == (1, 1, "yuv420p")
        content = path.read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")

    def test_mp4_repeats_the_edge_of_odd_sizes(self, tmp_path):
        frames = np.full((3, 31, 33, 3), 200, np.uint8)
        write_clip(tmp_path / "a.mp4", Clip(frames, TWELVE))
        read = read_clip(tmp_path / "a.mp4", 3).frames
        assert read.shape == (3, 32, 34, 3)
        assert np.abs(read.astype(int) - 200).max() <= 2

    def test_one_pixel_is_a_clip(self, tmp_path):
        for suffix in ("mp4", "gif", "png", "mkv", "webp"):
            write_clip(tmp_path / f"a.{suffix}", Clip(numbered(2, 1), TWELVE))

    def test_gif_is_exact_in_gray_and_good_in_colour(self, tmp_path):
        y, x = np.mgrid[:64, :64]
        smooth = np.stack(
            [np.stack([x * 3 + t * 4, y * 3, (x + y) * 2], axis=-1) for t in range(4)]
        ).astype(np.uint8)
        for name, frames in [("gray", smooth[..., :1]), ("colour", smooth)]:
            write_clip(tmp_path / f"{name}.gif", Clip(frames, Fraction(10)))
        gray, colour = (read_clip(tmp_path / f"{name}.gif", 4) for name in ("gray", "colour"))
        assert np.array_equal(gray.frames[..., :1], smooth[..., :1])
        assert psnr(colour.frames, smooth) > 30
        assert b"NETSCAPE2.0\x03\x01\x00\x00" in (tmp_path / "gray.gif").read_bytes()

    def test_gif_drops_frames_that_no_browser_shows(self, tmp_path):
        write_clip(tmp_path / "a.gif", Clip(numbered(20), Fraction(100)))
        assert indices(read_frames(tmp_path / "a.gif")) == list(range(0, 20, 2))
        assert probe(tmp_path / "a.gif").rate == 50

    def test_gif_keeps_its_mean_rate(self, tmp_path):
        write_clip(tmp_path / "a.gif", Clip(numbered(30), Fraction(30)))
        assert float(probe(tmp_path / "a.gif").rate) == pytest.approx(30, rel=0.02)
        assert indices(read_clip(tmp_path / "a.gif", 30).frames) == list(range(30))

    def test_webp_shows_what_was_given(self, tmp_path):
        frames = np.zeros((3, 32, 32, 3), np.uint8)
        for number, frame in enumerate(frames):
            frame[..., number] = 220
        write_clip(tmp_path / "a.webp", Clip(frames, Fraction(10)))
        _, animation = cv2.imreadanimation(str(tmp_path / "a.webp"))
        shown = np.stack(animation.frames)[..., 2::-1].astype(int)
        assert np.abs(shown - frames).max() <= 12
        assert list(animation.durations)[:2] == [100, 100]

    def test_webp_is_animated_for_ever(self, tmp_path):
        write_clip(tmp_path / "a.webp", Clip(noise(), TWELVE))
        content = (tmp_path / "a.webp").read_bytes()
        assert content.count(b"ANMF") == 4
        loops = content.index(b"ANIM") + 12
        assert content[loops : loops + 2] == b"\x00\x00"

    @pytest.mark.skipif(av.__version__ < "19", reason="PyAV 18 does not decode animated WebP")
    def test_webp_comes_back(self, tmp_path):
        write_clip(tmp_path / "b.webp", Clip(numbered(12), TWELVE))
        assert indices(read_clip(tmp_path / "b.webp", 12).frames) == list(range(12))

    @pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png", "mkv"])
    def test_the_same_clip_gives_the_same_bytes(self, tmp_path, suffix):
        for name in ("a", "b"):
            write_clip(tmp_path / f"{name}.{suffix}", Clip(bars(4), TWELVE))
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()

    def test_what_memory_held_before_does_not_matter(self, tmp_path):
        path, frames = tmp_path / "a.mp4", noise(8, 32, 32) // 8
        for index, frame in enumerate(frames):
            frame[4:20, 3 * index : 3 * index + 12] = 220
        written = set()
        for _ in range(6):
            blocks = [np.full(120_000, 255, np.uint8) for _ in range(40)]
            kept = blocks[1::2]  # the others leave holes, which the encoder fills
            del blocks
            write_clip(path, Clip(frames, TWELVE), overwrite=True)
            del kept
            written.add(path.read_bytes())
        assert len(written) == 1

    def test_refuses_unknown_suffixes(self, tmp_path):
        with pytest.raises(VideoError, match=r"\.mp4.*not '\.xyz'"):
            write_clip(tmp_path / "a.xyz", Clip(numbered(2), TWELVE))

    def test_replaces_only_when_told(self, tmp_path):
        path = tmp_path / "a.mp4"
        path.write_text("mine")
        with pytest.raises(VideoError, match="exists already"):
            write_clip(path, Clip(numbered(2), TWELVE))
        assert path.read_text() == "mine"
        write_clip(path, Clip(numbered(2), TWELVE), overwrite=True)
        assert len(read_clip(path, 2).frames) == 2

    def test_never_replaces_what_is_no_file(self, tmp_path):
        (tmp_path / "a.mp4").mkdir()
        with pytest.raises(VideoError, match="not a regular file"):
            write_clip(tmp_path / "a.mp4", Clip(numbered(2), TWELVE), overwrite=True)

    def test_wants_a_folder(self, tmp_path):
        with pytest.raises(VideoError, match="no folder"):
            write_clip(tmp_path / "none" / "a.mp4", Clip(numbered(2), TWELVE))

    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "gif"])
    def test_a_full_disk_leaves_nothing_behind(self, tmp_path, full_disk, suffix):
        path = tmp_path / f"a.{suffix}"
        path.write_text("mine")
        with full_disk(5000), pytest.raises(ResourceError, match="disk is full"):
            write_clip(path, Clip(noise(8, 128, 128), TWELVE), overwrite=True)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
        assert path.read_text() == "mine"

    def test_an_interruption_leaves_nothing_behind(self, tmp_path, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(writing.ClipWriter, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_clip(tmp_path / "a.mp4", Clip(numbered(2), TWELVE))
        assert not list(tmp_path.iterdir())


class TestFindClips:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("b.mp4", "a.MKV", "sub/c.gif", ".hidden.mp4", ".git/d.mp4", "notes.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    def names(self, found, folder):
        return [str(path.relative_to(folder)) for path in found]

    def test_looks_into_folders(self, folder):
        assert self.names(find_clips([folder]), folder) == ["a.MKV", "b.mp4", "sub/c.gif"]

    def test_passes_over_earlier_results(self, folder):
        for name in ("a_drsvg/grid.mp4", "sub/c_drsvg_2/grid.mp4", "a_drsvg_2.mp4"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        expected = ["a.MKV", "a_drsvg_2.mp4", "b.mp4", "sub/c.gif"]
        assert self.names(find_clips([folder]), folder) == expected

    def test_passes_over_results_in_a_folder_of_any_name(self, folder):
        """What a record names was made; what lies beside it is somebody's clip."""
        (folder / "sub" / "prediction.json").write_text('{"files": ["sample_1.mp4"]}')
        (folder / "sub" / "sample_1.mp4").touch()
        assert self.names(find_clips([folder]), folder) == ["a.MKV", "b.mp4", "sub/c.gif"]
        found = find_clips([folder / "sub"])
        assert self.names(found, folder) == ["sub/c.gif", "sub/sample_1.mp4"], "asked for by name"
        for damaged in ("", "[]", '{"files": 1}', "[" * 200_000):
            (folder / "sub" / "prediction.json").write_text(damaged)
            assert len(find_clips([folder])) == 4

    def test_keeps_the_order_given_and_names_nothing_twice(self, folder):
        given = [folder / "b.mp4", str(folder / "notes.txt"), folder]
        expected = ["b.mp4", "notes.txt", "a.MKV", "sub/c.gif"]
        assert self.names(find_clips(given), folder) == expected

    def test_expands_patterns_unless_a_file_is_named_so(self, folder):
        assert self.names(find_clips([folder / "*.mp4"]), folder) == ["b.mp4"]
        assert self.names(find_clips([folder / "s*"]), folder) == ["sub/c.gif"]
        (folder / "[x].mp4").touch()
        assert self.names(find_clips([folder / "[x].mp4"]), folder) == ["[x].mp4"]

    def test_says_what_is_missing(self, folder):
        with pytest.raises(VideoError, match="no such file"):
            find_clips([folder / "none.mp4"])
        with pytest.raises(VideoError, match="no such file"):
            find_clips([folder / "*.webm"])
        (folder / "empty").mkdir()
        with pytest.raises(VideoError, match="no video file"):
            find_clips([folder / "empty"])
