"""Pictures are read as a clip: in the order of their numbers, in true colours, at a given rate."""

import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest

from drsvg_cli.errors import VideoError
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.finding import find_clips
from drsvg_cli.video.reading import measure_length, read_clip, read_frames

TEN = Fraction(10)


def pictures(count=12, height=24, width=36, depth=np.uint8):
    """Pictures whose brightness tells their number, brighter to the right, reddish."""
    most = np.iinfo(depth).max
    levels = np.arange(count)[:, None, None, None] / 40 + np.arange(width)[None, None, :, None] / 80
    frames = np.broadcast_to(levels + 0.1, (count, height, width, 3)) * (1, 0.8, 0.6)
    return (frames * most).astype(depth)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes pictures into a folder, numbered from 1 without zeros."""

    def make(frames, suffix="png", *, folder="frames", first=1):
        (tmp_path / folder).mkdir(exist_ok=True)
        for number, frame in enumerate(frames, start=first):
            shown = frame[..., [2, 1, 0, 3][: frame.shape[2]]] if frame.ndim == 3 else frame
            path = tmp_path / folder / f"shot {number}.{suffix}"
            assert cv2.imwrite(str(path), np.ascontiguousarray(shown))
        return tmp_path / folder

    return make


@pytest.mark.parametrize(
    ("suffix", "depth", "most"),
    [
        ("png", np.uint8, 0),
        ("png", np.uint16, 1),
        ("tif", np.uint8, 0),
        ("tiff", np.uint16, 1),
        ("jpg", np.uint8, 6),
        ("JPEG", np.uint8, 6),
    ],
)
@pytest.mark.parametrize("gray", [False, True])
def test_all_are_read_in_order(write, suffix, depth, most, gray):
    given = pictures(depth=depth)
    folder = write(given[..., 1] if gray else given, suffix)
    clip = read_clip(folder, 100, info=probe(folder, rate=TEN))
    wanted = given.astype(float) * 255 / np.iinfo(depth).max
    wanted = np.repeat(wanted[..., 1:2], 3, axis=3) if gray else wanted
    assert clip.frames.shape == wanted.shape
    assert np.abs(clip.frames - wanted).max() <= most + 0.51
    assert clip.rate == 10


def test_a_moment_of_them(write):
    folder = write(pictures())
    info = probe(folder, rate=TEN)
    assert (info.width, info.height, info.frames, info.duration) == (36, 24, 12, 1.2)
    assert measure_length(info) == pytest.approx(1.2)
    clip = read_clip(folder, 3, at=0.9, after=1, info=info)
    whole = list(read_frames(folder, rate=TEN))
    assert np.array_equal(clip.frames, whole[7:11])
    assert clip.times == pytest.approx([0.7, 0.8, 0.9, 1.0])
    half = read_clip(folder, 3, info=info, rate=Fraction(5))
    assert np.array_equal(half.frames, whole[7::2][-3:])
    with pytest.raises(VideoError, match=r"lasts 1\.200 s"):
        read_clip(folder, 3, at=2.0, info=info)


def test_a_pattern_chooses_some(write):
    folder = write(pictures())
    pattern = folder / "shot 1*.png"
    assert find_clips([pattern]) == [pattern]
    assert probe(pattern, rate=TEN).frames == 4  # 1, 10, 11 and 12


def test_what_is_transparent_is_black(write):
    alpha = np.zeros((3, 24, 36, 1), np.uint8)
    alpha[:, :, 18:] = 255
    folder = write(np.concatenate([pictures(3), alpha], axis=3))
    read = read_clip(folder, 3, info=probe(folder, rate=TEN)).frames
    assert not read[:, :, :18].any()
    assert np.array_equal(read[:, :, 18:], pictures(3)[:, :, 18:])


def test_photographs_come_upright(write):
    """Cameras note how they were held: here the picture is to be turned to the right."""
    folder = write(pictures(3), "jpg")
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    for path in folder.iterdir():
        data = path.read_bytes()
        path.write_bytes(
            data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
        )
    info = probe(folder, rate=TEN)
    read = read_clip(folder, 1, info=info).frames[0].astype(float)
    assert read.shape == (36, 24, 3)
    assert np.abs(read - np.rot90(pictures(3)[2], -1)).max() <= 8


def test_a_picture_that_cannot_be_decoded_is_passed_over(write, caplog):
    folder = write(pictures())
    (folder / "shot 6.png").write_bytes(b"nothing")
    clip = read_clip(folder, 12, info=probe(folder, rate=TEN))
    assert len(clip.frames) == 12
    assert "shot 6.png cannot be decoded" in caplog.text


def test_pictures_of_several_sizes_are_refused(write):
    folder = write(pictures(3))
    write(pictures(1, 20, 20), first=4)
    with pytest.raises(VideoError, match=r"shot 4\.png has 20x20 pixels .* first one 36x24"):
        read_clip(folder, 4, info=probe(folder, rate=TEN))


def test_a_rate_is_asked_for(write):
    with pytest.raises(VideoError, match="say with --rate how many are a second"):
        probe(write(pictures(3)))


class TestFinding:
    def test_a_folder_of_pictures_is_a_clip(self, write):
        folder = write(pictures(2))
        (folder / "times.txt").touch()
        (folder / ".hidden.png").touch()
        assert find_clips([folder]) == [folder]
        assert probe(folder, rate=TEN).frames == 2

    def test_so_is_each_folder_inside(self, write, tmp_path):
        folders = [write(pictures(2), folder=name) for name in ("b", "a", "c_drsvg")]
        assert find_clips([tmp_path]) == [folders[1], folders[0]]

    def test_beside_videos_pictures_are_none(self, write):
        folder = write(pictures(2))
        (folder / "clip.mp4").touch()
        assert find_clips([folder]) == [folder / "clip.mp4"]


def test_a_time_lapse_goes_on(drsvg, model_folder, write):
    folder = write(pictures(12, 32, 48))
    asked = ("predict", folder, "--model", model_folder, "-n", "2", "-s", "1", "--seed", "1")
    outcome = drsvg(*asked, "--rate", "10", "-o", "out")
    assert outcome.code == 0, outcome
    assert (folder.parent / "out" / "index.html").is_file()
    outcome = drsvg(*asked, "-o", "other")
    assert outcome.code == 1 and "--rate" in outcome.err


def test_a_time_lapse_is_learned(drsvg, model_folder, write, tmp_path):
    folder = write(pictures(32, 32, 48))
    asked = ("finetune", folder, "--model", model_folder, "--steps", 1, "--batch", 2, "-o", "run")
    outcome = drsvg(*asked)
    assert outcome.code == 1 and "--rate" in outcome.err
    outcome = drsvg(*asked, "--rate", 20, "-q")
    assert outcome == (0, "", ""), "at the model's 10 a second: every other one"
    assert len([*tmp_path.glob("run/training/clips/train/*-16x*.frames")]) == 1
