"""Crops of whole clips with their measured motion, and windows of whole frames."""

import random
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from drsvg_cli.data import motion_clips
from drsvg_cli.data.dataset import DataPaths, Progress
from drsvg_cli.data.motion_clips import MotionClips, gather_motion, move_camera, paste_cutout
from drsvg_cli.data.windows import windows
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.writing import write_clip

SIZE, CONTEXT, HORIZON = 48, 5, 3


def texture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (160, 260, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4) // 2 + np.uint8(60 + 20 * seed)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Three clips of a pan to the right, 3 pixels a frame: two of a source, one of another."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("one/a.mkv", "one/b.mkv", "two/c.mkv")):
        frames = np.stack([texture(number)[:144, 3 * k : 3 * k + 184] for k in range(24)])
        (folder / name).parent.mkdir(exist_ok=True)
        write_clip(folder / name, Clip(frames, Fraction(12)))
    return gather_motion(
        DataPaths([folder], folder / "cache"),
        Progress(lambda _: None, lambda *_: None),
        rate=12.0,
        length=CONTEXT + HORIZON,
        seed=0,
    )


@pytest.fixture
def clips(found):
    return [*found.train, *found.validation]


def make(clips, **changes):
    options = {"context": CONTEXT, "horizon": HORIZON, "size": SIZE, "batch_size": 4, "seed": 0}
    return MotionClips(clips, **options | changes)


def test_a_batch_has_the_shapes_of_the_model(clips):
    batch = make(clips).batch(0)
    assert batch.frames.shape == (8, 4, 3, 48, 48) and batch.evidence.shape == (4, 4, 2, 48, 48)
    assert batch.steps.shape == (8, 4, 2, 24, 24) and not batch.steps[0].any()
    assert all(each.dtype == torch.float32 and each.is_contiguous() for each in batch)
    assert batch.frames.min() >= 0 and 0.2 < batch.frames.max() <= 1


def test_a_batch_depends_on_seed_and_index_alone_in_any_thread(clips):
    with ThreadPoolExecutor(2) as pool:
        batches = list(pool.map(make(clips).batch, [3, 4, 3]))
    alone = make(clips).batch(3)
    for first, other, again, one in zip(*batches, alone, strict=True):
        assert torch.equal(first, again) and torch.equal(first, one)
        assert not torch.equal(first, other)
    assert not torch.equal(make(clips, seed=1).batch(3).frames, alone.frames)


def test_flows_lead_to_where_things_were_before(clips, monkeypatch):
    """The camera pans to the right, so a place was further right a frame earlier, or left."""
    for name in ("SYNTHETIC", "DOUBLE_SPEED", "JITTERED", "REVERSED", "MIRRORED"):
        monkeypatch.setattr(motion_clips, name, 0)
    monkeypatch.setattr(motion_clips, "ZOOM", (1.0, 1.0))
    pixels = 3 * 128 / 144

    def speeds(batch):
        inside = batch.evidence[:, :, :, 12:-12, 12:-18].mean((1, 3, 4))
        return inside, batch.steps[1:, :, :, 6:-6, 6:-9].mean((0, 1, 3, 4)) * 2

    evidence, steps = speeds(make(clips).batch(0))
    assert evidence[:2, 0].tolist() == pytest.approx([pixels] * 2, abs=0.4)
    assert evidence[:2, 1].tolist() == pytest.approx([0, 0], abs=0.4)
    assert steps.tolist() == pytest.approx([pixels, 0], abs=0.6)
    for name in ("REVERSED", "MIRRORED"):
        monkeypatch.setattr(motion_clips, name, 1)
        evidence, _ = speeds(make(clips).batch(0))
        expected = -pixels if name == "REVERSED" else pixels  # mirrored and reversed: as it was
        assert evidence[0].tolist() == pytest.approx([expected, 0], abs=0.4)
    monkeypatch.setattr(motion_clips, "DOUBLE_SPEED", 1)
    _, steps = speeds(make(clips).batch(0))
    assert steps[0] == pytest.approx(2 * pixels, abs=1.5)


def test_sources_are_drawn_by_the_root_of_their_clips(clips):
    sequences, rng = make(clips), random.Random(0)
    drawn = [sequences._choose(rng).source for _ in range(2000)]
    other = sum(source.endswith("two") for source in drawn) / len(drawn)
    assert other == pytest.approx(1 / (1 + 2**0.5), abs=0.04)


def test_no_sequence_has_a_camera_cut_in_it(clips, tmp_path, monkeypatch):
    frames = np.zeros((24, 144, 184, 3), np.uint8)
    frames[12:] = 200
    write_clip(tmp_path / "cut.mkv", Clip(frames, Fraction(12)))
    paths = DataPaths([tmp_path / "cut.mkv"], tmp_path / "cache", [clips[0].path])
    silent = Progress(lambda _: None, lambda *_: None)
    train, _ = gather_motion(paths, silent, rate=12.0, length=8, seed=0)
    monkeypatch.setattr(motion_clips, "ATTEMPTS", 50)
    for name in ("SYNTHETIC", "JITTERED"):
        monkeypatch.setattr(motion_clips, name, 0)
    drawn = make(train, batch_size=20).batch(0).frames
    assert (drawn == drawn[:1]).all()
    assert len(windows(train, context=2, horizon=2, short_side=64).frames) == 0
    assert len(windows(train, context=2, horizon=12, short_side=64).frames) == 0


def test_windows_are_whole_frames_from_the_middle(clips):
    found = windows(clips, context=5, horizon=3, short_side=64)
    assert [frames.shape for frames in found.frames] == [(8, 64, 80, 3)] * 3
    assert found.groups == [str(clip.path) for clip in clips]
    whole = windows(clips[:1], context=5, horizon=3, short_side=144).frames[0]
    assert (whole == clips[0].frames()[12 - 5 : 12 + 3]).all()


class TestSyntheticMotion:
    def test_a_camera_moves_smoothly_over_a_still_and_may_stop(self):
        still, moved, stopped = texture(0)[:144], [], 0
        for seed in range(12):
            frames = move_camera(still, 10, SIZE, random.Random(seed))
            assert frames.shape == (10, SIZE, SIZE, 3) and frames.dtype == np.uint8
            steps = np.abs(np.diff(frames.astype(int), axis=0)).mean((1, 2, 3))
            moved.append(steps.max())
            stopped += steps[-1] == 0 < steps.max()
            again = move_camera(still, 10, SIZE, random.Random(seed))
            assert (again == frames).all()
        assert 1 <= stopped < 12 and np.median(moved) > 0.3 and max(moved) < 10

    def test_a_cutout_covers_a_part_of_a_sequence_and_goes_on_in_it(self):
        sequence = np.full((10, SIZE, SIZE, 3), 20, np.uint8)
        shares, changed = [], 0
        for seed in range(12):
            frames = paste_cutout(sequence, texture(3), random.Random(seed))
            assert frames.shape == sequence.shape and frames.dtype == np.uint8
            covered = (frames != 20).any(-1).mean((1, 2))
            shares.append(covered.mean())
            changed += (frames[0] != frames[-1]).any()
        assert 0.02 < np.mean(shares) < 0.5 and max(shares) < 0.9 and changed > 6
