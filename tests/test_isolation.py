"""What a clip does in a process of its own harms nothing else."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from hostile_clips import HOSTILE, damaged, huge, noise, write

from drsvg_cli.errors import VideoError
from drsvg_cli.video.isolation import read_isolated
from drsvg_cli.video.reading import read_clip


def test_a_clip_is_the_same(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "drsvg_cli")
    path = damaged("a.mp4")(tmp_path)
    here = read_clip(path, 3, at=2.7)
    said = list(caplog.messages)
    assert said
    caplog.clear()
    there = read_isolated(path, 3, at=2.7)
    assert np.array_equal(here.frames, there.frames)
    assert (here.rate, here.start) == (there.rate, there.start)
    assert caplog.messages == said


def test_an_error_is_the_same(tmp_path):
    path = HOSTILE["audio only"].build(tmp_path)
    with pytest.raises(VideoError, match="holds sound and no pictures"):
        read_isolated(path, 3)


def test_memory_and_time_are_limited(tmp_path):
    with pytest.raises(VideoError, match=r"memory|decoded"):
        read_isolated(huge("large.mov", 4320, 8192)(tmp_path), 3, memory=700 * 2**20)
    with pytest.raises(VideoError, match=r"in 0\.01 seconds"):
        read_isolated(write(tmp_path / "a.mkv", noise()), 3, seconds=0.01)


def test_a_process_does_not_load_pytorch():
    code = "import sys, drsvg_cli.video.isolation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
