"""Clips become sequences: decoded once, split by clip, drawn from a seed and nothing else."""

import os
import shutil
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product

import cv2
import numpy as np
import pytest
import torch

from drsvg_cli.config import DataConfig
from drsvg_cli.data import clip_cache, clip_sequences
from drsvg_cli.data import clips as clip_files
from drsvg_cli.data.augmentation import STRENGTHS
from drsvg_cli.data.clip_cache import CachedClip, Rejected, scan
from drsvg_cli.data.clip_sequences import ClipSequences, split, windows
from drsvg_cli.errors import ResourceError, TrainingError
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.reading import read_clip, read_frames
from drsvg_cli.video.writing import write_clip

# At 12 a second the cache holds 24 a second: of a clip at 24, every frame.
DATA = DataConfig(context=2, horizon=3, frame_rate=12.0)


NONE = STRENGTHS["none"]


@pytest.fixture
def model(tiny_config):
    return tiny_config()


@pytest.fixture
def make_clip(tmp_path):
    """Write a lossless clip whose brightness, 4 levels a frame, tells a frame's index."""

    def make(name, *, count=30, rate=24, height=48, width=64, base=8):
        levels = np.arange(count, dtype=np.uint8)[:, None, None, None] * 4 + base
        frames = np.broadcast_to(levels, (count, height, width, 3)).copy()
        write_clip(tmp_path / name, Clip(frames, Fraction(rate)))
        return tmp_path / name

    return make


@pytest.fixture
def scan_all(tmp_path, model):
    def run(*paths, data=DATA):
        return list(scan(paths, tmp_path / "cache", model=model, data=data))

    return run


def indices(frames):
    """Tell the index of every frame from its brightness."""
    return [round((float(frame.mean()) - 8) / 4) for frame in frames]


def test_a_clip_is_decoded_at_twice_the_model_s_rate_and_twice_its_size(make_clip, scan_all):
    (clip,) = scan_all(make_clip("a.mkv"))
    assert isinstance(clip, CachedClip)
    assert clip.frames().shape == (30, 64, 85, 3) == clip.shape
    assert clip.rate == 24 and clip.stride(DATA) == 2 and len(clip) == 30
    assert clip.windows(DATA) == 30 - 4 * 2
    assert indices(clip.frames()) == list(range(30))


@pytest.mark.parametrize(
    ("rate", "kept", "stride"),
    [(24, 1, 2), (48, 2, 2), (12, 1, 1), (30, 1, 2), (8, 1, 1), (36, 1, 3), (60, 1, 5)],
)
def test_the_stride_follows_from_the_rates(make_clip, scan_all, rate, kept, stride):
    """Of `kept` source frames one is cached; a sequence takes one cached frame of `stride`."""
    (clip,) = scan_all(make_clip("a.mkv", count=40, rate=rate))
    assert clip.rate == Fraction(rate, kept)
    assert indices(clip.frames()) == list(range(0, 40, kept))
    assert clip.stride(DATA) == stride
    assert clip.stride(DATA, 2.0) == max(1, round(float(clip.rate) / 12 * 2))


RATES = [8, 17, 24, 25, 29, 30, 35, 36, 43, 48, 50, 55, 60, 72, 75, 84, 100, 108, 120, 132, 144]
NTSC = [Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 120)]


@pytest.mark.parametrize("rate", RATES + NTSC, ids=lambda rate: f"{float(rate):.2f}")
@pytest.mark.parametrize("asked", [10.0, 12.0, 25.0])
def test_sequences_are_as_fast_as_a_prediction(make_clip, scan_all, model, rate, asked):
    data = replace(DATA, context=2, horizon=1, frame_rate=asked)
    path = make_clip("a.mkv", count=60, rate=rate, height=8, width=8)
    (clip,) = scan_all(path, data=data)
    taken = read_clip(path, 3, rate=Fraction(asked))
    assert clip.rate / clip.stride(data) == taken.rate
    (cut,) = windows([clip], model=model, data=data, most=1)
    assert set(np.diff(indices(cut.numpy() * 255))) == set(np.diff(indices(taken.frames)))


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_the_cache_holds_what_will_be_cropped_whole(make_clip, scan_all, how):
    data = replace(DATA, fit=how)
    (clip,) = scan_all(make_clip("a.mkv", height=96, width=144), data=data)
    assert clip.shape[1:] == ((64, 96, 3) if how == "crop" else (32, 32, 3))


def test_of_a_clip_that_is_much_wider_than_high_the_middle_is_cached(make_clip, scan_all):
    """Else a line of pixels would fill the disk."""
    for name, height, width in (("wide.mkv", 2, 1024), ("high.mkv", 1024, 2)):
        (clip,) = scan_all(make_clip(name, count=9, height=height, width=width))
        assert sorted(clip.shape[1:3]) == [64, 256]


def test_a_clip_that_is_there_is_kept(make_clip, scan_all, tmp_path):
    path = make_clip("a.mkv")
    (first,) = scan_all(path)
    marked = np.memmap(first.cache, np.uint8, "r+")
    marked[:] = 77
    marked.flush()
    (again,) = scan_all(path)
    assert again == first
    assert (again.frames() == 77).all()
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_copy_is_the_same_clip(make_clip, scan_all, tmp_path):
    path = make_clip("a.mkv")
    copy = tmp_path / "elsewhere" / "a.mkv"
    copy.parent.mkdir()
    shutil.copyfile(path, copy)
    os.utime(copy, (1, 1))
    (first,), (again,) = scan_all(path), scan_all(copy)
    assert again.cache == first.cache
    assert clip_files.origin([again], []) == clip_files.origin([first], [])


def test_a_changed_clip_or_another_setting_is_decoded_anew(make_clip, scan_all, tmp_path):
    path = make_clip("a.mkv")
    (first,) = scan_all(path)
    (padded,) = scan_all(path, data=replace(DATA, fit="pad"))
    path.unlink()
    (changed,) = scan_all(make_clip("a.mkv", base=100))
    assert len({first.cache, padded.cache, changed.cache}) == 3
    assert changed.frames()[0].mean() == 100
    assert first.frames()[0].mean() == 8


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_cache_that_a_crash_cut_short_is_decoded_anew(make_clip, scan_all, share):
    path = make_clip("a.mkv")
    (first,) = scan_all(path)
    whole = first.cache.read_bytes()
    first.cache.write_bytes(whole[: int(share * len(whole))])
    first.cache.with_name(first.cache.name.split("-")[0] + "-strange.frames").touch()
    (again,) = scan_all(path)
    assert again == first
    assert again.cache.read_bytes() == whole


def test_frames_that_are_gone_or_cut_while_they_are_learned_are_named(make_clip, scan_all, model):
    (clip,) = scan_all(make_clip("a.mkv"))
    sequences = ClipSequences([clip], model, DATA)
    assert sequences.batch(2, seed="1").shape[1] == 2
    clip.cache.write_bytes(b"short")
    with pytest.raises(TrainingError, match=r"a\.mkv are gone or damaged.*--resume"):
        sequences.batch(2, seed="1")
    clip.cache.unlink()
    with pytest.raises(TrainingError, match=r"a\.mkv are gone or damaged.*--resume"):
        sequences.batch(2, seed="1")


@pytest.mark.parametrize("what", ["changed", "vanished"])
def test_a_clip_that_changes_or_vanishes_while_it_is_read_is_not_used(
    make_clip, scan_all, tmp_path, monkeypatch, what
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
    found, used = scan_all(path, other)
    assert isinstance(found, Rejected) and f"a.mkv {what} while it was read" in found.reason
    assert list((tmp_path / "cache").iterdir()) == [used.cache]


def test_the_order_of_the_clips_does_not_mix_them_up(make_clip, scan_all):
    one, two = make_clip("a.mkv"), make_clip("b.mkv", base=100)
    scan_all(one, two)
    found = scan_all(two, one)
    assert [int(clip.frames()[0].mean()) for clip in found] == [100, 8]
    assert [clip.path for clip in found] == [two, one]


def test_a_clip_of_just_the_length_that_is_needed_will_do(make_clip, scan_all):
    """Five frames of which every second one counts are nine, or 0.375 s."""
    enough, short = scan_all(make_clip("9.mkv", count=9), make_clip("8.mkv", count=8))
    assert isinstance(enough, CachedClip)
    assert short.reason.endswith("0.33 s is too short; 0.38 s are needed")


@pytest.mark.parametrize("size", range(2, 8))
def test_neighbours_are_of_different_clips_unless_one_makes_up_more_than_half(size):
    """The last one's neighbour is the first one (Eq. 5)."""
    for chosen in product(range(3), repeat=size):
        apart = clip_sequences._apart(list(chosen))
        assert sorted(apart) == sorted(chosen)
        if max(map(chosen.count, chosen)) <= size / 2:
            assert all(one != other for one, other in pairwise([*apart, apart[0]])), chosen


def test_short_and_broken_files_are_rejected_with_the_reason(make_clip, scan_all, tmp_path):
    short, good = make_clip("short.mkv", count=6), make_clip("good.mkv")
    text = tmp_path / "text.mp4"
    text.write_text("not a clip")
    missing = tmp_path / "missing.mp4"
    found = scan_all(short, text, good, missing)
    assert [type(each) for each in found] == [Rejected, Rejected, CachedClip, Rejected]
    assert [each.path for each in found] == [short, text, good, missing]
    assert "0.25 s is too short; 0.38 s are needed" in found[0].reason
    assert "text.mp4" in found[1].reason
    assert "missing.mp4" in found[3].reason
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_clip_just_long_enough_is_taken(make_clip, scan_all, model):
    """Five frames, two cached frames apart: nine."""
    (clip,) = scan_all(make_clip("a.mkv", count=9))
    assert clip.windows(DATA) == 1
    assert isinstance(scan_all(make_clip("b.mkv", count=8))[0], Rejected)
    batch = ClipSequences([clip], model, DATA, NONE._replace(speed=(0.5, 2.0))).batch(20, seed="0")
    assert batch.shape == (5, 20, 3, 32, 32)


def test_a_cache_that_cannot_be_written_is_named(make_clip, tmp_path, model):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(ResourceError, match="cache"):
        list(scan([make_clip("a.mkv")], tmp_path / "cache", model=model, data=DATA))


@pytest.fixture
def some(make_clip, scan_all):
    """Four clips, told apart by their red."""
    return scan_all(*(make_clip(f"{n}.mkv", base=8 + n, count=30) for n in range(4)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_split_is_by_clip_and_never_overlaps(some, share, seed):
    training, validation = split(some, DATA, share=share, seed=seed)
    assert training and validation
    paths = [clip.path for clip in training + validation]
    assert sorted(paths) == sorted(clip.path for clip in some)
    assert len(validation) == min(3, max(1, round(share * 4)))


def test_the_split_depends_on_the_seed_alone(some):
    held = [split(some, DATA, share=0.25, seed=seed)[1][0].path for seed in range(8)]
    again = [split(some, DATA, share=0.25, seed=seed)[1][0].path for seed in range(8)]
    assert held == again and len(set(held)) > 1


def test_a_single_clip_is_cut_in_two_where_it_is_long_enough(make_clip, scan_all):
    (clip,) = scan_all(make_clip("a.mkv", count=40))
    (training,), (validation,) = split([clip], DATA, share=0.25, seed=0)
    assert indices(training.frames()) == list(range(30))
    assert indices(validation.frames()) == list(range(30, 40))
    assert len(training) == 30 and len(validation) == 10
    (both,), (same,) = split([clip], DATA, share=0.1, seed=0)  # four frames are too few
    assert both == same == clip


def test_a_batch_depends_on_its_seed_alone(some, model):
    data = replace(DATA, augmentation="full")
    sequences, others = (ClipSequences(some, model, data) for _ in range(2))
    sequences.batch(2, seed="5")
    state = torch.get_rng_state()
    one, two = sequences.batch(6, seed="7"), others.batch(6, seed="7")
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(one, sequences.batch(6, seed="8"))
    assert one.shape == (5, 6, 3, 32, 32) and one.dtype == torch.uint8


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_gray_batches(make_clip, scan_all, tiny_config, how):
    data = replace(DATA, fit=how, augmentation="full")
    clips = scan_all(make_clip("a.mkv"), data=data)
    batch = ClipSequences(clips, tiny_config(channels=1), data).batch(3, seed="0")
    assert batch.shape == (5, 3, 1, 32, 32) and batch.dtype == torch.uint8


def test_a_sequence_runs_forwards_at_an_even_pace_unless_told_otherwise(some, model):
    batch = ClipSequences(some[:1], model, DATA, NONE._replace(speed=(0.5, 2.0))).batch(
        60, seed="0"
    )
    paces = set()
    for number in range(60):
        found = indices(batch[:, number].numpy())
        steps = set(np.diff(found))
        assert len(steps) == 1, found
        paces |= steps
    assert paces == {1, 2, 3, 4}  # half to twice the model's own rate
    fixed = ClipSequences(some[:1], model, DATA, NONE._replace(reversed=1.0)).batch(20, seed="0")
    assert all(np.diff(indices(fixed[:, number].numpy())).max() < 0 for number in range(20))


def test_a_batch_stays_within_the_part_it_was_given(make_clip, scan_all, model):
    (clip,) = scan_all(make_clip("a.mkv", count=40))
    (training,), (validation,) = split([clip], DATA, share=0.25, seed=0)
    for part, first, last in ((training, 0, 29), (validation, 30, 39)):
        batch = ClipSequences([part], model, DATA).batch(40, seed="0")
        found = indices(batch.flatten(0, 1).numpy())
        assert first <= min(found) and max(found) <= last


def test_every_clip_is_drawn(some, model):
    batch = ClipSequences(some, model, DATA).batch(60, seed="0")
    assert {int(level) % 4 for level in batch.float().mean((2, 3, 4))[0]} == {0, 1, 2, 3}


def test_a_tint_changes_colours_the_same_in_every_frame(make_clip, scan_all, model):
    (clip,) = scan_all(make_clip("a.mkv"))
    np.memmap(clip.cache, np.uint8, "r+")[:] = 120
    plain = ClipSequences([clip], model, DATA).batch(4, seed="0")
    assert (plain == 120).all()
    tinted = ClipSequences([clip], model, DATA, NONE._replace(tint=1.0)).batch(4, seed="0")
    assert not (tinted == 120).all()
    assert (tinted == tinted[:1]).all()
    assert (tinted == tinted[..., :1, :1]).all()


def test_a_camera_moves_over_a_clip_that_stands_still(tmp_path, scan_all, model):
    row = np.arange(96, dtype=np.uint8) * 2
    frames = np.broadcast_to(row[None, None, :, None], (30, 64, 96, 3)).copy()
    write_clip(tmp_path / "slope.mkv", Clip(frames, Fraction(24)))
    (clip,) = scan_all(tmp_path / "slope.mkv")
    for camera, moves in ((0.0, False), (1.0, True)):
        batch = ClipSequences([clip], model, DATA, NONE._replace(camera=camera)).batch(8, seed="0")
        assert (batch.float() - batch[:1].float()).abs().amax((0, 2, 3, 4)).gt(2).any() == moves


def test_a_piece_of_another_clip_moves_across_a_sequence(tmp_path, scan_all, model):
    for name, level in (("dark", 30), ("light", 220)):
        frames = np.full((40, 48, 64, 3), level, np.uint8)
        write_clip(tmp_path / f"{name}.mp4", Clip(frames, Fraction(24)))
    clips = scan_all(tmp_path / "dark.mp4", tmp_path / "light.mp4")
    plain, pasted = (
        ClipSequences(clips, model, DATA, NONE._replace(pasted=share)).batch(16, seed="0").float()
        for share in (0.0, 1.0)
    )
    assert plain.movedim(1, 0).flatten(1).std(-1).max() < 3
    mixed = [sequence for sequence in pasted.unbind(1) if sequence.std() > 20]
    assert mixed  # a piece of the same clip does not show
    assert any((sequence[0] - sequence[-1]).abs().max() > 100 for sequence in mixed)
    assert all(sequence.min() > 20 and sequence.max() < 230 for sequence in mixed)


def test_up_to_three_pieces_move_across_a_sequence(tmp_path, scan_all, model, monkeypatch):
    write_clip(tmp_path / "gray.mp4", Clip(np.full((40, 48, 64, 3), 90, np.uint8), Fraction(24)))
    found, pasted, paste = scan_all(tmp_path / "gray.mp4"), [], clip_sequences.paste

    def counted(*arguments):
        pasted.append(1)
        return paste(*arguments)

    monkeypatch.setattr(clip_sequences, "paste", counted)
    for share, most, least in ((0.0, 0, 0), (0.5, 16, 1), (1.0, 24, 24)):
        pasted.clear()
        ClipSequences(found, model, DATA, NONE._replace(pasted=share)).batch(8, seed="0")
        assert least <= len(pasted) <= most


def test_a_still_stands_unless_it_is_bent(tmp_path, scan_all, model):
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in noise])
    write_clip(tmp_path / "noise.mkv", Clip(smooth, Fraction(24)))
    clips = scan_all(tmp_path / "noise.mkv")
    still, bent = (
        ClipSequences(clips, model, DATA, NONE._replace(still=1.0, bent=share)).batch(8, seed="0")
        for share in (0.0, 1.0)
    )
    assert torch.equal(still, still[:1].expand_as(still))
    step = (bent[1:].float() - bent[:-1].float()).abs().mean((0, 2, 3, 4))
    apart = (still[0, :1].float() - still[0, 1:].float()).abs().mean()
    assert (step > 0).all() and step.max() < apart  # each moves, and none jumps


def test_windows_are_fixed_and_at_the_model_s_own_rate(some, model):
    cut = windows(some, model=model, data=DATA, most=8)
    assert cut.shape == (8, 5, 3, 32, 32) and cut.dtype == torch.float32
    assert cut.min() >= 0 and cut.max() <= 1
    assert torch.equal(cut, windows(some, model=model, data=DATA, most=8))
    first = indices(cut[0].numpy() * 255)
    assert first == [0, 2, 4, 6, 8]
    assert indices(cut[1].numpy() * 255) == [21, 23, 25, 27, 29]  # the last one there is
    reds = [float(one[0, 0].mean()) for one in windows(some, model=model, data=DATA, most=3)]
    whole = [float(one[0, 0].mean()) for one in windows(some, model=model, data=DATA, most=4)]
    assert reds == [whole[0], whole[2], whole[3]]  # of four clips three, not the first three
    assert len(set(whole)) == 4
    assert len(windows(some[:1], model=model, data=DATA, most=100)) == 22  # all there are


def test_windows_stay_within_the_part_they_were_given(make_clip, scan_all, model):
    (clip,) = scan_all(make_clip("a.mkv", count=40))
    _, (validation,) = split([clip], DATA, share=0.25, seed=0)
    cut = windows([validation], model=model, data=DATA, most=10)
    assert min(indices(cut.flatten(0, 1).numpy() * 255)) >= 30
