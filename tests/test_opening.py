"""What is opened is a file with pictures, and neither bytes nor time are spent without one."""

import os
import time

import av
import cv2
import numpy as np
import pytest
from hostile_clips import moving, noise, write

from drsvg_cli.errors import ConfigError, VideoError
from drsvg_cli.video import decoding, opening
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.finding import find_clips
from drsvg_cli.video.reading import measure_length, read_clip, read_frames


@pytest.fixture
def small_budget(monkeypatch):
    """As 64 MB take a while."""
    monkeypatch.setattr(opening, "_MOST_BYTES", 2**22)


@pytest.mark.parametrize("suffix", ["mkv", "avi", "gif", "flv", "ts", "mp4", "webm"])
def test_a_sparse_file_of_zeros_is_given_up(tmp_path, small_budget, suffix):
    path = tmp_path / f"sparse.{suffix}"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(VideoError, match="not a video that can be decoded"):
        read_clip(path, 3)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mkv", {}),
        ("avi", {"codec": "mpeg4"}),
        ("gif", {"codec": "gif", "pixels": "rgb8"}),
        ("flv", {"codec": "flv"}),
        ("ts", {}),
    ],
)
def test_zeros_after_the_pictures_are_given_up(tmp_path, small_budget, suffix, options):
    path = write(tmp_path / f"sparse.{suffix}", noise(20), **options)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
        file.truncate(10 * 2**30)
    try:
        assert 1 <= len(read_clip(path, 3).frames) <= 3
    except VideoError as error:
        assert "no picture in" in str(error)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="not a regular file"):
        probe(tmp_path / "a.mp4")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc")  # noqa: PTH110
def test_files_of_the_system_are_not_read(tmp_path):
    (tmp_path / "a.mp4").symlink_to("/proc/self/status")
    with pytest.raises(VideoError, match="it is empty"):
        probe(tmp_path / "a.mp4")


def test_a_clip_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4")
    monkeypatch.setenv("DRSVG_CLIP_SECONDS", "0")
    with pytest.raises(VideoError, match="no picture in 0 seconds"):
        probe(path)
    monkeypatch.setenv("DRSVG_CLIP_SECONDS", "soon")
    with pytest.raises(ConfigError, match="DRSVG_CLIP_SECONDS is a number of seconds, not 'soon'"):
        probe(path)


def test_the_time_between_two_questions_does_not_count(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mkv", noise(40))
    monkeypatch.setenv("DRSVG_CLIP_SECONDS", "2")
    frames = read_frames(path)
    next(frames)
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 1000)
    assert len(list(frames)) == 39


def test_packets_without_a_picture_are_given_up(tmp_path, monkeypatch, caplog):
    whole, path = write(tmp_path / "whole.mkv", codec="mpeg4", repeats=5), tmp_path / "a.mkv"
    with av.open(whole) as given, av.open(path, "w") as taken:
        stream = taken.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(video=0)):
            if packet.dts is not None:
                empty = packet if number == 0 else av.Packet(bytes(10))
                empty.pts, empty.dts, empty.time_base = packet.pts, packet.dts, packet.time_base
                empty.stream = stream
                taken.mux(empty)
    monkeypatch.setattr(decoding, "_MOST_PACKETS", 20)
    assert len(list(read_frames(path))) == 1
    assert "there is no picture in 21 parts of it" in caplog.text


def test_a_cover_is_no_clip(tmp_path):
    """Music has one, and films do."""
    cover = write(tmp_path / "cover.mov", moving(1, 32, 32), codec="png", pixels="rgb24")
    film = write(tmp_path / "film.mp4", moving(20))
    for name, sources in (("both.mp4", [cover, film]), ("music.mp4", [cover])):
        with av.open(tmp_path / name, "w") as target:
            opened = [av.open(source) for source in sources]
            streams = [target.add_stream_from_template(one.streams.video[0]) for one in opened]
            streams[0].disposition = av.stream.Disposition.attached_pic
            for one, stream in zip(opened, streams, strict=True):
                for packet in one.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = stream
                        target.mux(packet)
                one.close()
    assert (probe(tmp_path / "both.mp4").width, probe(tmp_path / "both.mp4").height) == (64, 48)
    with pytest.raises(VideoError, match="no video stream"):
        probe(tmp_path / "music.mp4")


def test_a_gap_of_more_than_an_hour_is_damage(tmp_path):
    path = write(tmp_path / "a.mkv", moving(4), stamps=[0, 100, 86_400_000, 86_400_100])
    assert measure_length(probe(path)) < 3600
    path = write(tmp_path / "b.mkv", moving(4), stamps=[0, 100, 3_000_000, 3_000_100])
    assert measure_length(probe(path)) == pytest.approx(3000, rel=0.1)
    assert np.ptp(read_clip(path, 2).times) > 0


def silence(path, codec="libmp3lame"):
    """Write a file with sound and nothing else."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, 48000, layout="mono")
        for start in range(0, 8 * 960, 960):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 48000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp3", "libmp3lame"), ("a.wav", "pcm_s16le"), ("a.ogg", "libopus")]
)
def test_sound_is_called_so(tmp_path, name, codec):
    with pytest.raises(VideoError, match="holds sound and no pictures"):
        probe(silence(tmp_path / name, codec))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_a_picture_is_called_so(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), noise(1)[0])
    with pytest.raises(VideoError, match="is a single picture"):
        probe(path)


def test_what_is_cut_after_its_first_bytes_is_refused(tmp_path):
    for head in (b"RIFF\0\0\0\0WEBPVP8X", b"\x89PNG", b"RIFF", b"\0\0\0\x18ftyp"):
        (tmp_path / "a.webp").write_bytes(head)
        with pytest.raises(VideoError, match=r"decoded|picture"):
            probe(tmp_path / "a.webp")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("https://example.org/a.mp4", "is an address, not a file; download the clip"),
        ("rtsp://camera/1", "is an address"),
        ("-", "standard input"),
        ("none.mp4", "no such file"),
        ("C:/a.mp4", "no such file"),
    ],
)
def test_what_is_no_file_is_called_by_what_it_is(given, said):
    with pytest.raises(VideoError, match=said):
        find_clips([given])
