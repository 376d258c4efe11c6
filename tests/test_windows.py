"""Windows of clips: whole frames, one of each clip, none across a cut."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from drsvg_cli.data.windows import read_windows
from drsvg_cli.errors import VideoError
from drsvg_cli.frames import resize_whole
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.writing import write_clip


def cut(path, *, context=6, each=1):
    return read_windows(
        path,
        context=context,
        horizon=4,
        rate=Fraction(10),
        resized=partial(resize_whole, side=32),
        each=each,
    )


def test_one_is_of_the_middle(make_clip, tmp_path):
    path = make_clip(tmp_path / "clip.mp4", 30)
    (window,) = cut(path)
    assert window.shape == (10, 32, 38, 3) and window.dtype == np.uint8
    (longest,) = cut(path, context=100)
    assert len(longest) == 15 + 4, "all that is observed before the middle"
    assert (longest[-10:] == window).all()
    assert [len(each) for each in cut(path, each=5)] == [10] * 5


def test_short_clips_have_shorter_contexts(make_clip, tmp_path):
    (window,) = cut(make_clip(tmp_path / "clip.mp4", 9), context=20)
    assert len(window) == 9
    with pytest.raises(VideoError, match=r"short\.mp4 has 8 frames .* 9 are needed"):
        cut(make_clip(tmp_path / "short.mp4", 8))


@pytest.mark.parametrize(("at", "is_cut"), [(12, True), (16, True), (28, False), (3, False)])
def test_nothing_is_predicted_across_a_cut(tmp_path, at, is_cut):
    frames = np.full((30, 48, 48, 3), 20, np.uint8)
    frames[at:] = 220
    write_clip(tmp_path / "cut.mp4", Clip(frames, Fraction(10)))
    if is_cut:
        with pytest.raises(VideoError, match="there is a camera cut"):
            cut(tmp_path / "cut.mp4")
    else:
        assert len(cut(tmp_path / "cut.mp4")) == 1
