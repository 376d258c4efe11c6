"""Windows of clips: whole frames, one of each clip, none across a cut."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from drsvg_cli.data.windows import WindowCutter, shrink
from drsvg_cli.errors import VideoError
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.writing import write_clip

SHAPE = partial(shrink, side=32)


def cutter(**changes):
    options = {"context": 6, "horizon": 4, "rate": Fraction(10), "shape": SHAPE} | changes
    return WindowCutter(**options)


def test_one_is_of_the_middle(make_clip, tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 30)
    (window,) = cutter().cut(path)
    assert window.shape == (10, 32, 38, 3) and window.dtype == np.uint8
    (longest,) = cutter(context=100).cut(path)
    assert len(longest) == 15 + 4, "all that is observed before the middle"
    assert (longest[-10:] == window).all()
    assert [len(each) for each in cutter(each=5).cut(path)] == [10] * 5


def test_short_clips_have_shorter_contexts(make_clip, tmp_path):
    (window,) = cutter(context=20).cut(make_clip(tmp_path / "clip.mp4", 9))
    assert len(window) == 9
    with pytest.raises(VideoError, match=r"short\.mp4 has 8 frames .* 9 are needed"):
        cutter().cut(make_clip(tmp_path / "short.mp4", 8))


@pytest.mark.parametrize(("at", "is_cut"), [(12, True), (16, True), (28, False), (3, False)])
def test_nothing_is_predicted_across_a_cut(tmp_path, at, is_cut):
    frames = np.full((30, 48, 48, 3), 20, np.uint8)
    frames[at:] = 220
    write_clip(tmp_path / "cut.mp4", Clip(frames, Fraction(10)))
    if is_cut:
        with pytest.raises(VideoError, match="there is a cut"):
            cutter().cut(tmp_path / "cut.mp4")
    else:
        assert len(cutter().cut(tmp_path / "cut.mp4")) == 1
