"""Clips become sequences: decoded once, split by clip, drawn from a seed and nothing else."""

import os
import shutil
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from drsvg_cli.config import DataConfig
from drsvg_cli.data import clip_cache
from drsvg_cli.data.clip_cache import CachedClip, CacheFormat, decode_clips
from drsvg_cli.data.clips import ClipSplit, find_sources, gather, split
from drsvg_cli.data.dataset import DataPaths, Progress
from drsvg_cli.data.windows import (
    ClipSequences,
    fixed_windows,
    interleave,
    square_format,
)
from drsvg_cli.errors import ConfigError, ResourceError, TrainingError, VideoError
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.reading import read_clip, read_frames
from drsvg_cli.video.writing import write_clip

DATA = DataConfig(context=2, horizon=3, frame_rate=12.0)
WHOLE = CacheFormat(12.0, 64, "crop", 5)


@pytest.fixture
def model(tiny_config):
    return tiny_config()


@pytest.fixture
def make_clip(tmp_path):
    """Write a lossless clip whose brightness, 4 levels a frame, tells a frame's index."""

    def make(name, *, count=30, rate=12, height=48, width=64, base=8):
        levels = np.arange(count, dtype=np.uint8)[:, None, None, None] * 4 + base
        frames = np.broadcast_to(levels, (count, height, width, 3)).copy()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_clip(tmp_path / name, Clip(frames, Fraction(rate)))
        return tmp_path / name

    return make


@pytest.fixture
def decode_all(tmp_path):
    def run(*paths, cached=WHOLE):
        sources = dict.fromkeys(paths, "source")
        return list(decode_clips(sources, tmp_path / "cache", cached=cached))

    return run


def indices(frames):
    """Tell the index of every frame from its brightness."""
    return [round((float(frame.mean()) - 8) / 4) for frame in frames]


class TestCache:
    @pytest.mark.parametrize(
        ("height", "width", "shape"),
        [(96, 144, (64, 96)), (50, 40, (80, 64)), (2, 1024, (64, 256)), (1024, 2, (256, 64))],
    )
    def test_holds_whole_frames_and_the_middle_of_very_long_ones(
        self, make_clip, decode_all, height, width, shape
    ):
        (clip,) = decode_all(make_clip("a.mkv", count=9, height=height, width=width))
        assert isinstance(clip, CachedClip)
        assert clip.frames().shape == (9, *shape, 3) == clip.shape
        assert indices(clip.frames()) == list(range(9))

    @pytest.mark.parametrize("how", ["pad", "stretch"])
    def test_holds_squares_where_nothing_is_cropped(self, make_clip, decode_all, how):
        (clip,) = decode_all(make_clip("a.mkv"), cached=replace(WHOLE, fit=how))
        assert clip.shape == (30, 64, 64, 3)

    @pytest.mark.parametrize("rate", [8, 24, 25, Fraction(30000, 1001), 60, 144])
    @pytest.mark.parametrize("asked", [10.0, 12.0, 25.0])
    def test_is_as_fast_as_a_prediction(self, make_clip, decode_all, rate, asked):
        path = make_clip("a.mkv", count=60, rate=rate, height=8, width=8)
        (clip,) = decode_all(path, cached=CacheFormat(asked, 8, "crop", 2))
        taken = read_clip(path, 3, rate=Fraction(asked))
        assert clip.rate == taken.rate
        assert set(np.diff(indices(clip.frames()))) == set(np.diff(indices(taken.frames)))

    def test_keeps_a_clip_that_is_there_wherever_it_lies(self, make_clip, decode_all, tmp_path):
        path = make_clip("a.mkv")
        copy = tmp_path / "elsewhere" / "a.mkv"
        copy.parent.mkdir()
        shutil.copyfile(path, copy)
        os.utime(copy, (1, 1))
        (first,) = decode_all(path)
        marked = np.memmap(first.file, np.uint8, "r+")
        marked[:] = 77
        marked.flush()
        for again in (decode_all(path)[0], decode_all(copy)[0]):
            assert again.file == first.file and (again.frames() == 77).all()
        assert len(list((tmp_path / "cache").iterdir())) == 1

    def test_decodes_a_changed_clip_or_another_format_anew(self, make_clip, decode_all):
        path = make_clip("a.mkv")
        (first,) = decode_all(path)
        (padded,) = decode_all(path, cached=replace(WHOLE, fit="pad"))
        path.unlink()
        (changed,) = decode_all(make_clip("a.mkv", base=100))
        assert len({first.file, padded.file, changed.file}) == 3
        assert (changed.frames()[0].mean(), first.frames()[0].mean()) == (100, 8)

    @pytest.mark.parametrize("share", [0, 0.5])
    def test_decodes_anew_what_a_crash_cut_short(self, make_clip, decode_all, share):
        path = make_clip("a.mkv")
        (first,) = decode_all(path)
        whole = first.file.read_bytes()
        first.file.write_bytes(whole[: int(share * len(whole))])
        first.file.with_name(first.file.name.split("-")[0] + "-strange.frames").touch()
        assert decode_all(path) == [first] and first.file.read_bytes() == whole

    def test_is_bounded_on_the_disk(self, make_clip, decode_all, monkeypatch):
        """Every clip has an equal share, but at least one sequence."""
        frame = 64 * 88 * 3
        one, two = make_clip("a.mkv"), make_clip("b.mkv", base=9)
        for limit, kept in ((20 * frame, 10), (frame, 5), (1000 * frame, 30)):
            monkeypatch.setattr(clip_cache, "CACHE_LIMIT", limit)
            assert [len(clip) for clip in decode_all(one, two)] == [kept, kept]

    def test_names_a_folder_that_cannot_be_written_to(self, make_clip, decode_all, tmp_path):
        (tmp_path / "cache").write_text("in the way")
        with pytest.raises(ResourceError, match="cache"):
            decode_all(make_clip("a.mkv"))

    @pytest.mark.parametrize("what", ["changed", "vanished"])
    def test_rejects_a_clip_that_changes_while_it_is_read(
        self, make_clip, decode_all, tmp_path, monkeypatch, what
    ):
        path, other = make_clip("a.mkv"), make_clip("b.mkv", base=100)

        def disturbed(read, *arguments, **options):
            yield from read_frames(read, *arguments, **options)
            if read == path and what == "vanished":
                path.unlink()
            elif read == path:
                with path.open("ab") as file:
                    file.write(b"more")

        monkeypatch.setattr(clip_cache, "read_frames", disturbed)
        found, used = decode_all(path, other)
        assert isinstance(found, str) and f"a.mkv {what} while it was read" in found
        assert list((tmp_path / "cache").iterdir()) == [used.file]

    def test_rejects_short_and_broken_files_with_the_reason(self, make_clip, decode_all, tmp_path):
        short, good = make_clip("short.mkv", count=4), make_clip("good.mkv", count=5)
        text, missing = tmp_path / "text.mp4", tmp_path / "missing.mp4"
        text.write_text("not a clip")
        found = decode_all(short, text, good, missing)
        assert [type(each) for each in found] == [str, str, CachedClip, str]
        assert "0.33 s is too short; 0.42 s are needed" in found[0]
        assert "text.mp4" in found[1] and "missing.mp4" in found[3]
        assert not list((tmp_path / "cache").glob("*.part"))

    def test_frames_that_are_gone_or_cut_during_training_are_named(
        self, make_clip, decode_all, model
    ):
        (clip,) = decode_all(make_clip("a.mkv"))
        sequences = ClipSequences([clip], model, DATA)
        sequences.batch(2, seed="1")
        clip.file.write_bytes(b"short")
        with pytest.raises(TrainingError, match=r"a\.mkv are gone or damaged.*--resume"):
            sequences.batch(2, seed="1")
        clip.file.unlink()
        with pytest.raises(TrainingError, match=r"a\.mkv are gone or damaged.*--resume"):
            sequences.batch(2, seed="1")


class TestSources:
    def test_are_the_folders_in_a_named_folder(self, make_clip, tmp_path):
        names = ("in/a/1.mkv", "in/a/deep/2.mkv", "in/b/3.mkv", "in/4.mkv", "other/5.mkv")
        paths = [make_clip(name, count=1, height=8, width=8) for name in names]
        found = find_sources([tmp_path / "in", paths[4], str(tmp_path / "*" / "?.mkv")])
        sources = {path.name: source for path, source in found.items()}
        base = str(tmp_path)
        assert sources == {
            "1.mkv": f"{base}/in/a",
            "2.mkv": f"{base}/in/a",
            "3.mkv": f"{base}/in/b",
            "4.mkv": f"{base}/in",
            "5.mkv": f"{base}/other",
        }

    def test_may_be_named_in_a_list(self, make_clip, tmp_path):
        paths = [make_clip(f"in/{name}", count=1, height=8, width=8) for name in ("a.mkv", "b.mkv")]
        wanted = tmp_path / "list.txt"
        wanted.write_text(f"in/b.mkv\n\n  {paths[0]}  \n")
        assert [*find_sources([wanted])] == paths[::-1]
        wanted.write_text("in/none.mkv")
        with pytest.raises(VideoError, match=r"none\.mkv: no such file"):
            find_sources([wanted])
        wanted.write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match="list of clips"):
            find_sources([wanted])


class TestGathering:
    @pytest.fixture
    def run(self, tmp_path):
        notes = []

        def gather_them(paths, validation=(), **options):
            progress = Progress(notes.append, lambda *_: None)
            where = DataPaths(paths, tmp_path / "cache", validation, **options)
            return gather(where, progress, cached=WHOLE)

        gather_them.notes = notes
        return gather_them

    def test_names_what_was_found_and_what_it_takes_on_the_disk(self, run, make_clip, tmp_path):
        for number in range(4):
            make_clip(f"in/{number}.mkv", base=8 + number)
        found = run([tmp_path / "in"], validation_share=0.25)
        assert (len(found.train), len(found.validation)) == (3, 1)
        assert "train: 3 clips, 8 s, 78 sequences" in run.notes
        assert any(note.startswith("decoded frames take 2 MB in") for note in run.notes)

    def test_never_trains_on_what_is_named_for_validation(self, run, make_clip, tmp_path):
        paths = [make_clip(f"in/{number}.mkv", base=8 + number) for number in range(3)]
        found = run([tmp_path / "in"], [paths[1]])
        assert [clip.path for clip in found.validation] == [paths[1]]
        assert [clip.path for clip in found.train] == [paths[0], paths[2]]
        with pytest.raises(TrainingError, match="none is left"):
            run(paths[:1], paths)

    def test_without_clips_is_refused(self, run, tmp_path):
        with pytest.raises(ConfigError, match="--data"):
            run([])
        (tmp_path / "bad.mp4").write_text("no clip")
        with pytest.raises(TrainingError, match="none of the 1 clips"):
            run([tmp_path / "bad.mp4"])


class TestSplit:
    @pytest.fixture
    def some(self, make_clip, decode_all):
        return decode_all(*(make_clip(f"{n}.mkv", base=8 + n) for n in range(4)))

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
    def test_is_by_clip_and_never_overlaps(self, some, share):
        found = split(some, length=5, share=share, seed=1)
        assert found.train and not found.shared
        paths = [clip.path for clips in found for clip in clips]
        assert sorted(paths) == sorted(clip.path for clip in some)
        assert len(found.validation) == min(3, max(1, round(share * 4)))

    def test_depends_on_the_seed_alone(self, some):
        kept = [split(some, length=5, share=0.25, seed=seed).validation[0] for seed in range(8)]
        again = [split(some, length=5, share=0.25, seed=seed).validation[0] for seed in range(8)]
        assert kept == again and len(set(kept)) > 1

    def test_cuts_a_single_clip_in_two_where_it_is_long_enough(self, some, model):
        found = split(some[:1], length=5, share=0.25, seed=0)
        assert [len(clip) for clips in found for clip in clips] == [22, 8]
        for part, first, last in zip(found, (0, 22), (21, 29), strict=True):
            batch = ClipSequences(part, model, DATA).batch(40, seed="0")
            drawn = indices(batch.flatten(0, 1).numpy())
            assert first <= min(drawn) and max(drawn) <= last
            cut = fixed_windows(part, model=model, data=DATA, most=10)
            assert first <= min(indices(cut.flatten(0, 1).numpy() * 255))
        assert split(some[:1], length=5, share=0.1, seed=0).shared, "three frames are too few"

    def test_has_a_fingerprint_of_what_clips_hold(self, some):
        found = ClipSplit(some[:2], some[1:3])
        moved = [replace(clip, path=clip.path.parent / "x" / clip.path.name) for clip in some]
        assert ClipSplit(moved[:2], moved[1:3]).fingerprint == found.fingerprint
        assert ClipSplit(some[:2], some[2:3]).fingerprint != found.fingerprint
        assert sorted(found.fingerprint) == ["0.mkv", "1.mkv", "2.mkv"]


class TestSquares:
    @pytest.fixture
    def some(self, make_clip, decode_all, model):
        """Four clips, told apart by their brightness."""
        paths = [make_clip(f"{n}.mkv", base=8 + n) for n in range(4)]
        return decode_all(*paths, cached=square_format(model, DATA))

    def test_depend_on_the_seed_alone(self, some, model):
        sequences, others = (ClipSequences(some, model, DATA) for _ in range(2))
        state = torch.get_rng_state()
        one, two = sequences.batch(6, seed="7"), others.batch(6, seed="7")
        assert torch.equal(one, two) and torch.equal(torch.get_rng_state(), state)
        assert not torch.equal(one, sequences.batch(6, seed="8"))
        assert one.shape == (5, 6, 3, 32, 32) and one.dtype == torch.uint8
        assert {
            int(level) % 4 for level in sequences.batch(60, seed="0").float().mean((2, 3, 4))[0]
        }

    @pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
    def test_may_be_gray_and_run_at_the_clip_s_pace(self, make_clip, decode_all, tiny_config, how):
        data, model = replace(DATA, fit=how), tiny_config(channels=1)
        clips = decode_all(make_clip("a.mkv", width=48), cached=square_format(model, data))
        batch = ClipSequences(clips, model, data).batch(3, seed="0")
        assert batch.shape == (5, 3, 1, 32, 32) and batch.dtype == torch.uint8
        for number in range(3):
            assert set(np.diff(indices(batch[:, number].numpy()))) == {1}

    @pytest.mark.parametrize("size", range(2, 8))
    def test_of_one_clip_are_neighbours_only_where_it_makes_up_more_than_half(self, size):
        """The last one's neighbour is the first one (Eq. 5)."""
        for chosen in product(range(3), repeat=size):
            apart = interleave(list(chosen))
            assert sorted(apart) == sorted(chosen)
            if max(map(chosen.count, chosen)) <= size / 2:
                assert all(one != other for one, other in pairwise([*apart, apart[0]])), chosen

    def test_for_validation_are_fixed_and_spread_over_the_clips(self, some, model):
        cut = fixed_windows(some, model=model, data=DATA, most=8)
        assert cut.shape == (8, 5, 3, 32, 32) and cut.min() >= 0 and cut.max() <= 1
        assert torch.equal(cut, fixed_windows(some, model=model, data=DATA, most=8))
        assert indices(cut[0].numpy() * 255) == [0, 1, 2, 3, 4]
        assert indices(cut[1].numpy() * 255) == [25, 26, 27, 28, 29], "the last one there is"
        three, four = (
            [float(one[0].mean()) for one in fixed_windows(some, model=model, data=DATA, most=most)]
            for most in (3, 4)
        )
        assert three == [four[0], four[2], four[3]], "of four clips three, not the first three"
        assert len(fixed_windows(some[:1], model=model, data=DATA, most=100)) == 26
