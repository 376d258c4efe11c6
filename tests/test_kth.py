"""KTH: which files are found, which frames of them are used, and by whom."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drsvg_cli.config import DataConfig, Recipe, TrainingConfig
from drsvg_cli.data import kth
from drsvg_cli.data.dataset import BenchmarkOptions, DataPaths, Progress
from drsvg_cli.data.registry import benchmark, training_data
from drsvg_cli.errors import ConfigError, DataError, TrainingError

SILENT = Progress(note=lambda _: None, update=lambda *_: None)
RANGES = """person01_boxing_d1\t\tframes\t1-6, 9-14\r
person02_walking_d1\t\tframes\t3-99\r
person03_jogging_d2\t\tframes\t1-8, 12-5\r
person13_handclapping_d3\t*missing*\r
person21_running_d1\tframes\t2-7, 10-20\r
"""


@pytest.fixture(scope="module")
def films(make_clip, tmp_path_factory):
    """Five clips of 20 frames, 25 a second, under the official names."""
    folder = tmp_path_factory.mktemp("kth")
    names = (
        "person01_boxing_d1",
        "boxing/person02_walking_d1",
        "person03_jogging_d2",
        "person04_handwaving_d1",
        "person21_running_d1",
    )
    for number, name in enumerate(names):
        path = folder / f"{name}_uncomp.avi"
        make_clip(path.with_suffix(".mp4"), 20, seed=number % 3, rate=25).rename(path)
    make_clip(folder / "other.mp4").rename(folder / "holiday.avi")
    (folder / kth.RANGES_FILE).write_text(RANGES, encoding="utf-8", newline="")
    return folder


@pytest.fixture
def recipe(tiny_config):
    data = DataConfig(
        source="kth",
        fit="stretch",
        frame_rate=25.0,
        context=2,
        horizon=2,
        min_context=1,
    )
    return Recipe("kth", model=tiny_config(channels=1), data=data, training=TrainingConfig(batch=2))


@pytest.fixture
def place(films, tmp_path):
    return DataPaths([films], tmp_path / "cache")


def test_the_official_files_are_found(films):
    clips = kth.find(films)
    assert [(clip.person, clip.action) for clip in clips] == [
        (1, "boxing"),
        (2, "walking"),
        (3, "jogging"),
        (4, "handwaving"),
        (21, "running"),
    ]
    assert kth.summary(clips) == (
        "5 of the 599 clips, persons 1-4, 21; "
        "boxing 1, handwaving 1, jogging 1, running 1, walking 1"
    )


def test_the_whole_set_has_599_files():
    names = [name for action in kth.ACTIONS for name in kth.file_names(action)]
    assert len(names) == len(set(names)) == kth.TOTAL
    assert kth.file_names("boxing")[-1] == "person25_boxing_d4_uncomp.avi"


class TestRanges:
    def test_are_read(self, films):
        ranges = kth.read_ranges(films / kth.RANGES_FILE)
        assert ranges["person01_boxing_d1"] == [(1, 6), (9, 14)]
        assert ranges["person03_jogging_d2"] == [(1, 8)], "the other one runs backwards"
        assert "person13_handclapping_d3" not in ranges

    def test_are_refused_where_there_are_none(self, tmp_path):
        (tmp_path / "list.txt").write_text("<html>not found</html>")
        with pytest.raises(DataError, match="names no frames"):
            kth.read_ranges(tmp_path / "list.txt")

    def learned(self, recipe, place):
        clips = training_data(recipe, place, SILENT).sequences.clips
        return {(clip.path.stem[:8], clip.begin, clip.end) for clip in clips}

    def test_bound_what_is_learned(self, recipe, place):
        # The first frame is number 1, the last one is included, and 99 is beyond the clip's end.
        assert self.learned(recipe, place) == {
            ("person01", 0, 6),
            ("person01", 8, 14),
            ("person02", 2, 20),
            ("person03", 0, 8),
        }

    def test_are_of_the_clip_where_only_some_of_its_frames_are_kept(self, recipe, place):
        slow = replace(recipe, data=replace(recipe.data, frame_rate=12.5, context=1, horizon=1))
        # Every second frame, from the first one on: none from before a range or after it.
        assert self.learned(slow, place) == {
            ("person01", 0, 3),
            ("person01", 4, 7),
            ("person02", 1, 10),
            ("person03", 0, 4),
        }

    def test_that_are_too_short_are_left_out(self, recipe, place):
        longer = replace(recipe, data=replace(recipe.data, horizon=5))
        assert {who for who, _, _ in self.learned(longer, place)} == {"person02", "person03"}

    @pytest.mark.parametrize(("rate", "frames"), [(25.0, 20), (12.5, 10)])
    def test_may_be_missing(self, recipe, place, films, rate, frames):
        notes = []
        some = replace(recipe, data=replace(recipe.data, frame_rate=rate, context=1, horizon=1))
        (films / kth.RANGES_FILE).rename(films / "aside.txt")
        try:
            found = training_data(some, place, Progress(notes.append, lambda *_: None))
        finally:
            (films / "aside.txt").rename(films / kth.RANGES_FILE)
        assert {(clip.begin, clip.end) for clip in found.sequences.clips} == {(0, frames)}
        assert any("no 00sequences.txt" in note for note in notes)


class TestSplit:
    def test_persons_are_apart(self, recipe, place):
        notes = []
        found = training_data(recipe, place, Progress(notes.append, lambda *_: None))
        learned = {clip.path.stem[:8] for clip in found.sequences.clips}
        assert learned == {"person01", "person02", "person03"}
        assert "persons 1-3; boxing 1, jogging 1, walking 1" in found.train_description
        assert found.validation_description.endswith("person(s) 4, who were kept apart")
        assert found.validation.shape == (17, 4, 1, 32, 32)
        assert any("5 of the 599 clips" in note for note in notes)
        batch = found.sequences.batch(4, seed="0")
        assert batch.shape == (4, 4, 1, 32, 32) and batch.dtype == torch.uint8
        assert not any("person21" in name for name in found.fingerprint)

    def test_the_test_has_its_own(self, recipe, place):
        found = benchmark(recipe, place, SILENT, BenchmarkOptions(2, horizon=3, count=4))
        assert [clip.shape for clip in found.clips] == [(5, 32, 32, 3)] * 4 and found.channels == 1
        assert "(1 of the 599 clips, persons 21; running 1)" in found.words
        assert found.horizons == (3,) and not found.labels and not found.published
        assert not list(place.cache.glob("*.frames")), "nothing is left on the disk"

    def test_sequences_of_one_clip_are_one_group(self, recipe, place):
        found = benchmark(recipe, place, SILENT, BenchmarkOptions(2, horizon=3, count=4))
        assert len(found.groups) == 4 and len(set(found.groups)) == 1

    def test_published_numbers_are_of_one_protocol(self, recipe, place, tiny_config, make_clip):
        large = replace(recipe, model=tiny_config(channels=1, size=64))
        folder = place.cache.parent / "long"
        path = folder / "person22_boxing_d1_uncomp.avi"
        make_clip(path.with_suffix(".mp4"), 42, rate=25).rename(path)
        long = replace(place, paths=[folder])
        found = benchmark(large, long, SILENT, BenchmarkOptions(10))
        assert found.horizons == (10, 20, 30) and [len(clip) for clip in found.clips] == [40] * 3
        assert [(other.psnr, other.ssim) for other in found.published] == [
            (28.06, 0.8438),
            (29.69, 0.8697),
        ]
        for context, horizon in ((5, None), (10, 20)):
            options = BenchmarkOptions(context, horizon=horizon, count=9)
            other = benchmark(large, long, SILENT, options)
            assert not other.published
        colour = replace(large, model=tiny_config(channels=3, size=64))
        cropped = replace(large, data=replace(large.data, fit="crop"))
        slower = replace(large, data=replace(large.data, frame_rate=24.0))
        for other in (recipe, colour, cropped, slower):
            seen = benchmark(other, long, SILENT, BenchmarkOptions(10, count=9))
            assert not seen.published

    def test_frames_are_stretched(self, recipe, place):
        """What a clip shows at its left and right edges is in the frame; a crop would lose it."""
        found = benchmark(recipe, place, SILENT, BenchmarkOptions(2, horizon=3, count=1))
        row = found.clips[0][0, 2, :, 0].astype(int)  # a ramp from 40 to 87 across all of the clip
        assert row[0] < 43 and row[-1] > 82 and np.all(np.diff(row) >= -2)


class TestRefusals:
    def test_no_files(self, recipe, place, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"no file like person01.*drsvg data kth"):
            training_data(recipe, replace(place, paths=[tmp_path / "empty"]), SILENT)

    def test_a_single_person(self, recipe, place, make_clip, tmp_path):
        path = tmp_path / "one" / "person07_boxing_d1_uncomp.avi"
        make_clip(path.with_suffix(".mp4"), rate=25).rename(path)
        with pytest.raises(TrainingError, match="only 1 of KTH's persons"):
            training_data(recipe, replace(place, paths=[path.parent]), SILENT)
        with pytest.raises(DataError, match="no clip of KTH's persons 21 to 25"):
            benchmark(
                recipe, replace(place, paths=[path.parent]), SILENT, BenchmarkOptions(2, horizon=2)
            )

    def test_too_long_a_sequence(self, recipe, place):
        settings = r"--horizon of drsvg evaluate, data\.horizon of a recipe"
        with pytest.raises(TrainingError, match=f"none of the .* clips.*{settings}"):
            benchmark(recipe, place, SILENT, BenchmarkOptions(2, horizon=15, count=2))

    def test_clips_named_for_validation(self, recipe, place):
        with pytest.raises(ConfigError, match="--validation"):
            training_data(recipe, replace(place, validation=["x"]), SILENT)
