"""Where a clip ends with nothing to see, a better moment is known."""

from fractions import Fraction

import numpy as np
import pytest
from hostile_clips import write

from drsvg_cli.video.decoding import probe
from drsvg_cli.video.ending import better_moment, dullness
from drsvg_cli.video.reading import read_clip


def scene(count, height=48, width=64):
    """A bright square that moves over a slope."""
    frames = np.full((count, height, width, 3), 60, np.uint8)
    frames += np.arange(width, dtype=np.uint8)[:, None]
    for index, frame in enumerate(frames):
        left = (3 * index) % (width - 14)
        frame[10:24, left : left + 14] = (230, 200, 90)
    return frames


def fade(frame, count):
    """To black."""
    shares = np.linspace(1, 0, count)[:, None, None, None]
    return (frame * shares).astype(np.uint8)


ENDS = {
    "still": lambda frame: np.repeat(frame[None], 30, axis=0),
    "black": lambda frame: np.zeros((30, *frame.shape), np.uint8),
    "white": lambda frame: np.full((30, *frame.shape), 250, np.uint8),
}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("end", ENDS)
def test_the_end_is_told_and_a_better_moment_named(tmp_path, end, suffix):
    moving = scene(40)
    frames = np.concatenate([moving, ENDS[end](moving[-1])])
    path = write(tmp_path / f"a.{suffix}", frames)
    info = probe(path)
    assert dullness(read_clip(path, 10, info=info).frames) == end
    moment = better_moment(info)
    assert moment is not None and 2.5 <= moment <= 3.9
    assert not dullness(read_clip(path, 10, at=moment, info=info).frames)


def test_a_fade_to_black_is_gone_behind(tmp_path):
    frames = np.concatenate(
        [scene(40), fade(scene(40)[-1], 10), np.zeros((20, 48, 64, 3), np.uint8)]
    )
    path = write(tmp_path / "a.mp4", frames)
    assert dullness(read_clip(path, 5).frames) == "black"
    moment = better_moment(probe(path))
    assert moment is not None and 3 <= moment < 4.5
    assert read_clip(path, 1, at=moment).frames.mean() > 40


def test_what_moves_is_not_dull(tmp_path):
    path = write(tmp_path / "a.mp4", scene(30))
    assert dullness(read_clip(path, 10).frames) == ""
    moment = better_moment(probe(path))
    assert moment is not None and moment > 1.5
    small = np.full((10, 360, 640, 3), 90, np.uint8)
    for index, frame in enumerate(small):
        frame[100:124, 20 * index : 20 * index + 24] = 200  # a person, far away
    assert dullness(small) == ""


def test_noise_is_no_motion():
    noise = np.random.default_rng(0).normal(120, 6, (10, 360, 640, 3))
    assert dullness(noise.astype(np.uint8)) == "still"


def test_where_nothing_is_to_be_seen_no_moment_is_named(tmp_path):
    path = write(tmp_path / "a.mp4", np.repeat(scene(1), 60, axis=0))
    assert better_moment(probe(path)) is None
    path = write(tmp_path / "b.mp4", scene(1))
    assert better_moment(probe(path)) is None


def test_a_moment_before_another_one_is_found(tmp_path):
    frames = np.concatenate([scene(30), np.zeros((20, 48, 64, 3), np.uint8), scene(30)])
    path = write(tmp_path / "a.mkv", frames, rate=Fraction(10))
    moment = better_moment(probe(path), before=4.5)
    assert moment is not None and 1.5 <= moment < 3


def test_a_prediction_from_such_an_end_says_so(drsvg, model_folder, tmp_path):
    frames = np.concatenate([scene(40), np.zeros((30, 48, 64, 3), np.uint8)])
    path = write(tmp_path / "a.mp4", frames)
    asked = ("predict", path, "--model", model_folder, "-n", "1", "-s", "1", "--seed", "1")
    outcome = drsvg(*asked)
    assert outcome.code == 0 and "ends black; at --at " in outcome.err, outcome
    moment = outcome.err.partition("at --at ")[2].split()[0]
    outcome = drsvg(*asked, "--at", moment, "-y")
    assert outcome.code == 0 and "ends" not in outcome.err, outcome
