"""`drsvg surprise`: events are found where and when they are, and nothing else is."""

import csv
import json
import signal
import time
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import torch
from processes import Command

from drsvg_cli.commands.session import Settings, open_session
from drsvg_cli.commands.surprise import walk
from drsvg_cli.config import MotionConfig
from drsvg_cli.data.windows import is_cut
from drsvg_cli.evaluation.scores import judge_ensemble
from drsvg_cli.evaluation.surprise import judge_blocks, learn_usual, score_moments
from drsvg_cli.inference.moments import as_predicted, draw_moments
from drsvg_cli.inference.motion import MotionPredictor
from drsvg_cli.motion_model.network import build_network
from drsvg_cli.video.writing import write_frames

RATE = Fraction(12)
CHEAP = ("--model", "motion", "-q")


def scene(count, seed=0):
    """Film a wall before which a ball goes to and fro: 64×96, uint8 `(T, H, W, 3)`."""
    rng = np.random.default_rng(seed)
    wall = np.kron(rng.integers(40, 200, (8, 12, 3)), np.ones((8, 8, 1)))
    y, x = np.mgrid[:64, :96]
    frames = np.empty((count, 64, 96, 3), np.uint8)
    for index, frame in enumerate(frames):
        ball = (y - 20) ** 2 + (x - 48 - 30 * np.sin(index / 9)) ** 2 < 64
        frame[:] = np.where(ball[..., None], (250, 240, 60), wall + rng.normal(0, 1.5, wall.shape))
    return frames


def with_patch(frames, begin, end):
    """Let something flicker at the lower right, x 72 to 88 and y 44 to 60."""
    changed = frames.copy()
    for index in range(begin, end):
        changed[index, 44:60, 72:88] = 255 * (index // 2 % 2)
    return changed


def settings(model, **changes):
    given = {"model": model, "horizon": 0.5, "samples": 1, "seed": 0, "temperature": None}
    given |= {"at": None, "rate": None, "fit": None, "device": "cpu", "format": "mp4", "size": None}
    return Settings(**(given | changes))


def test_an_event_is_found_with_its_time_and_box(drsvg, tmp_path):
    write_frames(tmp_path / "a.mp4", with_patch(scene(180), 120, 132), RATE)  # from 10 s to 11 s
    done = drsvg("surprise", "a.mp4", *CHEAP, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    [record], folder = told["results"], tmp_path / "a_drsvg"
    [event] = record["events"]
    assert 9.5 <= event["begin"] <= 10.3 and 10.4 <= event["end"] <= 11.6
    assert event["probability"] < 0.25 / 3600
    centre = event["x"] + event["width"] / 2, event["y"] + event["height"] / 2
    assert abs(centre[0] - 80) <= 10 and abs(centre[1] - 52) <= 10
    [row] = csv.DictReader((folder / "events.csv").read_text().splitlines())
    assert float(row["begin"]) == event["begin"] and int(row["x"]) == event["x"]
    assert set(record["files"]) == {path.name for path in folder.iterdir()}
    assert {"index.html", "curve.png", "heat.mp4", "event_1.mp4"} < set(record["files"])
    # The same clip with what is normal known from another one.
    write_frames(tmp_path / "quiet.mp4", scene(180), RATE)
    done = drsvg("surprise", "a.mp4", *CHEAP, "--json", "-y", "--normal", "quiet.mp4")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["results"][0]["events"]) == 1


def test_a_quiet_clip_and_one_with_a_cut_have_no_event(drsvg, tmp_path):
    write_frames(tmp_path / "quiet.mp4", scene(150), RATE)
    write_frames(tmp_path / "cut.mp4", np.concatenate([scene(96), scene(96, seed=5)]), RATE)
    done = drsvg("surprise", "quiet.mp4", "cut.mp4", *CHEAP, "-o", "out", "--json")
    assert done.code == 0, done.err
    quiet, cut = json.loads(done.out)["results"]
    assert (quiet["events"], quiet["cuts"]) == ([], [])
    assert (cut["events"], cut["cuts"]) == ([], [8.0])


@pytest.mark.parametrize("seed", range(3))
def test_a_change_in_a_part_of_the_frame_is_no_cut(seed):
    frames = with_patch(scene(4, seed=seed), 2, 4)
    assert not is_cut(frames[1], frames[2])
    assert is_cut(frames[1], scene(1, seed=seed + 10)[0])
    darker = (frames[1] * 0.7).astype(np.uint8)
    assert not is_cut(frames[1], darker), "the light goes off"


def test_memory_does_not_grow_with_the_clip(tmp_path):
    session = open_session(settings("copy"), None)

    def peak(count):
        path = tmp_path / f"{count}.mp4"
        if not path.exists():
            write_frames(path, scene(count), RATE)
        tracemalloc.start()
        course = walk(session, path, every=0.5, tick=lambda _: None)
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert course.frames == count
        return traced

    # By chance a window more is waiting while another one is measured, so not every walk counts.
    short = max(peak(60) for _ in range(2))
    assert any(peak(240) < 1.1 * short for _ in range(5))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none.mp4"], 1, "no such file"),
        (["short.mp4"], 1, "too few"),
        (["short.mp4", "--normal", "short.mp4"], 1, "--normal"),
        (["short.mp4", "--every", "0"], 2, "--every"),
    ],
)
def test_bad_input_is_one_line(drsvg, tmp_path, arguments, code, said):
    write_frames(tmp_path / "short.mp4", scene(20), RATE)
    done = drsvg("surprise", *arguments, *CHEAP)
    assert (done.code, done.out) == (code, "")
    assert len(done.err.splitlines()) == 1 and said in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["short.mp4"]


def test_nothing_is_left_of_a_run_that_is_stopped(tmp_path):
    write_frames(tmp_path / "long.mp4", np.concatenate([scene(40)] * 30), RATE)
    run = Command("surprise", "long.mp4", *CHEAP, cwd=tmp_path)
    while run.poll() is None and not any(tmp_path.glob(".long_drsvg.*.part")):
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    run.communicate()
    assert run.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["long.mp4"]


def test_moments_are_predicted_together_as_one_by_one():
    network = build_network(MotionConfig(content_dim=2, pose_dim=2, whole_dim=2, width=8)).eval()
    predictor = MotionPredictor(network)
    frames = np.stack([np.kron(f, np.ones((2, 2, 1))) for f in scene(8)]).astype(np.uint8)
    windows = [frames[:5], frames[2:7]]
    drawn = draw_moments(predictor, windows, 2, seeds=[1, 2])
    assert drawn.shape == (2, 2, 2, 3, 64, 96)
    for window, futures in zip(windows, drawn, strict=True):
        for moment in predictor.predict(window, 2, seeds=[1, 2]):
            alone = as_predicted(moment.frames)
            assert (futures[:, moment.time] - alone).abs().mean() < 0.01


def test_a_block_has_the_energy_score_of_its_pixels(noisy_frames):
    samples, truth = noisy_frames(1, 4, 2, 3, 8, 16), noisy_frames(1, 2, 3, 8, 16, seed=1)
    found = judge_blocks(samples, truth)
    for column in range(2):
        part = (slice(None), slice(None), slice(8 * column, 8 * column + 8))
        wanted = torch.stack(
            [
                judge_ensemble(samples[0, :, n][:, *part].flatten(1), truth[0, n][part].flatten())
                .energy for n in range(2)
            ]
        ).mean() / (3 * 64) ** 0.5  # fmt: skip
        torch.testing.assert_close(found[0, 0, column], wanted)


def test_once_an_hour_is_about_once_an_hour():
    """Of two hours of noise four times a second, with a strong event every minute."""
    rng, count = np.random.default_rng(0), 2 * 3600 * 4
    maps = rng.gamma(3, 0.01, (count, 4, 6)).astype(np.float32)
    events = np.arange(100, count, 240)
    maps[events, 1:3, 1:3] += 0.3
    usual = learn_usual(maps, trusted=False)
    rare = usual.probability(score_moments(usual.standard(maps))) < 1 / (3600 * 4)
    assert rare[events].all()
    assert rare.sum() - len(events) <= 8
