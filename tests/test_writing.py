"""Videos that begin alike, and their sound."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from drsvg_cli.commands.video_files import VideoFiles
from drsvg_cli.errors import VideoError
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import read_frames
from drsvg_cli.video.sound import read_sound
from drsvg_cli.video.writing import write_frames

RATE = Fraction(30)


def drifting(count, seed=0):
    """Frames of a soft pattern that moves, `(count, 48, 64, 3)`."""
    y, x = np.mgrid[:48, :64]
    if not count:
        return np.empty((0, 48, 64, 3), np.uint8)
    waves = [128 + 100 * np.sin((x + 3 * t + 40 * seed) / 9 + y / 11) for t in range(count)]
    return np.stack([np.stack([wave, wave[::-1], 255 - wave], -1) for wave in waves]).astype(
        np.uint8
    )


def write(paths, past, futures, **options):
    settings = {"suffix": paths[0].suffix, "length": len(futures[0]), "past": past} | options
    with VideoFiles(paths, RATE, **settings) as files:
        for time in range(len(futures[0])):
            for number, future in enumerate(futures):
                files.write(number, time, future[time])


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
@pytest.mark.parametrize("observed", [0, 1, 20])
def test_files_begin_with_the_same_frames_and_go_on_with_their_own(tmp_path, suffix, observed):
    paths = [tmp_path / f"{number}{suffix}" for number in range(3)]
    past, futures = drifting(observed), [drifting(7, seed) for seed in (1, 2, 3)]
    write(paths, past, futures)
    for path, future in zip(paths, futures, strict=True):
        made = np.stack(list(read_frames(path))).astype(int)
        expected = np.concatenate([past, future])
        assert made.shape == expected.shape
        assert np.abs(made - expected).mean((1, 2, 3)).max() < {".mp4": 5, ".gif": 9}.get(
            suffix, 0.1
        )
    whole = tmp_path / f"whole{suffix}"
    if suffix != ".mp4":
        write_frames(whole, np.concatenate([past, futures[0]]), RATE)
        assert whole.read_bytes() == paths[0].read_bytes()


def test_a_frame_that_comes_again_is_written_once(tmp_path):
    """Where memory is used up, a batch is begun anew."""
    past, future = drifting(4), drifting(6, 1)
    write([tmp_path / "a.mp4"], past, [future])
    with VideoFiles([tmp_path / "b.mp4"], RATE, suffix=".mp4", length=6, past=past) as files:
        for time in (0, 1, 2, 0, 1, 2, 3, 4, 5):
            files.write(0, time, future[time])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_an_error_of_a_file_ends_all(tmp_path):
    with pytest.raises(VideoError, match="no folder"):
        write([tmp_path / "no" / "a.mp4", tmp_path / "b.mp4"], drifting(3), [drifting(5)] * 2)


@pytest.fixture
def talkie(tmp_path):
    """Two seconds, the first silent, the second with a tone of 440 Hz on the left."""
    path = tmp_path / "talkie.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", 30)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", 44100, layout="stereo")
        for frame in drifting(60):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        tone = np.zeros((1, 2 * 88200), np.int16)
        tone[0, 88200::2] = 12000 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="stereo")
        frame.rate, frame.pts = 44100, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def test_the_sound_of_what_was_observed_is_kept(tmp_path, talkie):
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    begin = 0.5
    write(
        paths,
        drifting(45),
        [drifting(15)] * 2,
        sound=lambda: read_sound(probe(talkie), begin, 2.0),
    )
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(list(read_frames(paths[0]))) == 60
    with av.open(str(paths[0])) as container:
        heard = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
        rate = container.streams.audio[0].rate
    loud = np.abs(heard[0]).reshape(-1)
    first = np.flatnonzero(loud > 0.05)[0] / rate
    assert first == pytest.approx(0.5, abs=0.05), "in time with the pictures"
    assert loud[int(0.7 * rate) : int(1.4 * rate)].max() > 0.2
    assert np.abs(heard[1]).max() < 0.05, "on the left alone"


def test_a_clip_without_sound_has_none(tmp_path):
    write_frames(tmp_path / "a.mp4", drifting(10), RATE)
    assert read_sound(probe(tmp_path / "a.mp4"), 0.0, 0.3) is None


STARVED = """
import re, resource, sys
import numpy as np
from fractions import Fraction
from pathlib import Path
from drsvg_cli.errors import ResourceError
from drsvg_cli.video.writing import write_frames
frames = np.zeros((8, 720, 1280, 3), np.uint8)
write_frames(Path("a.mp4"), frames[:, :64, :64], Fraction(10))
size = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 10 * 2**20, resource.RLIM_INFINITY))
try:
    write_frames(Path("b.mp4"), frames, Fraction(10))
except ResourceError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell")
def test_an_encoder_without_memory_is_no_bad_clip(tmp_path):
    said = subprocess.check_output([sys.executable, "-c", STARVED], cwd=tmp_path, text=True)
    assert said == "b.mp4 cannot be written: memory is used up\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
