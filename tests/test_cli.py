"""The commands as a user meets them: what they write, say and end with."""

import hashlib
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
import torch
from processes import Command, run

from drsvg_cli.commands import clip_input, prediction
from drsvg_cli.commands import predict as work
from drsvg_cli.commands.clip_input import read_moment
from drsvg_cli.commands.console import one_line
from drsvg_cli.frames import resize, to_frames, to_tensor
from drsvg_cli.inference import paper
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.inference.rollout import swap
from drsvg_cli.model.folding import fold_batchnorm
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import read_clip, read_frames
from drsvg_cli.video.writing import write_frames
from drsvg_cli.weights.files import load_model, save_model

SMALL = ("--size", "32", "--horizon", "4", "--samples", "2", "--seed", "7")
BARE = ("--only-future", "--format", "png")


@pytest.fixture(scope="module")
def clip_bytes(tmp_path_factory, make_clip):
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4").read_bytes()


@pytest.fixture
def clip(tmp_path, clip_bytes):
    """A clip of 2 seconds, 20 frames."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_bytes)
    return path


@pytest.fixture
def draw(drsvg, model_folder):
    """Run `drsvg predict` with the tiny model."""
    return lambda *arguments: drsvg("predict", "--model", model_folder, *SMALL, *arguments)


@pytest.fixture
def exchange(drsvg, model_folder):
    """Run `drsvg swap` with the tiny model."""
    return lambda *arguments: drsvg("swap", "--model", model_folder, *SMALL, *arguments)


def contents(folder):
    """Map every file below a folder to its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names(folder):
    return {path.name for path in folder.iterdir()}


def record(folder, name="prediction.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def at_32(clip, count, rate=None):
    """The last frames of a clip as results show them at `--size 32`, `(T, 32, 38, 3)`."""
    frames = read_clip(clip, count, rate=rate, exact_rate=rate is not None).frames
    return np.stack([resize(frame, width=38, height=32) for frame in frames])


def floats(frames):
    """Frames `(..., H, W, 3)` as numbers `(..., 3, H, W)` in [0, 1]."""
    return torch.from_numpy(frames).movedim(-1, -3).float() / 255


def start(*arguments, **options):
    """Start the command line in a process that has nothing from this one."""
    command = [sys.executable, "-m", "drsvg_cli", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)


def assert_refused(outcome, code, *parts):
    """A mistake is one line on stderr and an exit code."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1, outcome.err
    for part in parts:
        assert part in outcome.err


@pytest.fixture
def seen_on_a_terminal(drsvg, monkeypatch):
    """Return a function that runs the command line on a terminal: what is shown there."""

    def run(*arguments):
        terminal, inside = os.openpty()
        shown = []

        def read():
            with suppress(OSError):  # it was hung up
                while part := os.read(terminal, 4096):
                    shown.append(part)

        reader = Thread(target=read)
        reader.start()
        with monkeypatch.context() as patch, os.fdopen(inside, "w") as stream:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            patch.setenv("TERM", "xterm")
            patch.setenv("COLUMNS", "100")
            code = drsvg(*arguments).code
        reader.join()
        os.close(terminal)
        assert code == 0, shown
        return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", b"".join(shown).decode())

    return run


@pytest.mark.parametrize(
    ("verb", "said"), [("predict", "Predicting clip.mp4"), ("swap", "moving as B")]
)
def test_a_terminal_shows_how_far_it_is(
    drsvg, seen_on_a_terminal, model_folder, clip, tmp_path, verb, said
):
    clips = [clip] * (1 if verb == "predict" else 2)
    options = "--model", model_folder, *SMALL
    shown = seen_on_a_terminal(verb, *clips, *options, "-o", "shown")
    assert said in shown and re.search(r" (\d+)/\1 ", shown), shown
    assert re.search(r"[\r\n]shown: ", shown), "on a line of its own"
    outcome = drsvg(verb, *clips, *options, "-o", "not_shown")
    assert "Writing" not in outcome.err, "where nobody looks nothing is drawn"


def test_a_printed_name_can_be_copied_unless_a_terminal_would_obey_it():
    for name in ("a b.mp4", "10.11.12\u202fAM.mov", "a\u00a0b", "né🙂", "👩\u200d💻"):
        assert one_line(name) == name
    for sign in "\n\r\t\x1b\x07\u2028\u202e\x85":
        assert one_line(f"a{sign}b") not in (f"a{sign}b", "ab")


def test_a_colour_that_is_asked_for_does_not_move_results_to_stderr(draw, clip, monkeypatch):
    """Many a CI sets FORCE_COLOR, where no stream is a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    outcome = draw(clip)
    assert "samples of" in outcome.out and "Writing" in outcome.err


class TestPredict:
    def test_writes_the_documented_files(self, draw, clip, tmp_path):
        outcome = draw(clip)
        assert outcome.code == 0, outcome
        folder = tmp_path / "clip_drsvg"
        written = {
            "sample_1.mp4",
            "sample_2.mp4",
            "sheet.png",
            "index.html",
            "prediction.json",
        }
        assert set(contents(folder)) == written
        assert set(record(folder)["files"]) == written
        assert names(tmp_path) == {"clip.mp4", "clip_drsvg"}
        for name in ("sample_1.mp4", "sample_2.mp4"):
            frames = list(read_frames(folder / name))
            assert [frame.shape for frame in frames] == [(32, 38, 3)] * (20 + 4)
            assert probe(folder / name).rate == 10
        assert cv2.imread(str(folder / "sheet.png")).std() > 0
        assert draw(clip, "--grid", "-y").code == 0
        assert len(list(read_frames(folder / "grid.mp4"))) == 3 + 4

    def test_how_a_clip_becomes_squares_and_their_frames_the_clip_s_size(
        self, draw, clip, tmp_path
    ):
        """What lies outside of the square that the model sees keeps the last observed frame."""
        last, sides, made = read_clip(clip, 3).frames[-1], np.r_[:4, 44:48], {}
        for how in ("as trained", "crop", "pad", "stretch"):
            fit = () if how == "as trained" else ("--fit", how)
            assert draw(clip, "--size", "source", *fit, *BARE, "-s", "1", "-o", how).code == 0
            frames = made[how] = np.stack(list(read_frames(tmp_path / how / "sample_1.png")))
            assert frames.shape == (4, 40, 48, 3)
            assert record(tmp_path / how)["settings"]["size"] == "source"
            kept = np.array_equal(frames[:, :, sides], [last[:, sides]] * 4)
            assert kept == (how in ("as trained", "crop"))
            assert not np.array_equal(frames[0, :, 4:44], last[:, 4:44])
        assert np.array_equal(made["as trained"], made["crop"])
        assert not np.array_equal(made["pad"], made["stretch"])

    def test_says_where_the_results_are(self, draw, clip):
        outcome = draw(clip)
        assert outcome.err == ""
        assert re.fullmatch(
            r"clip_drsvg: 2 samples of 4 frames \(0\.40 s\) · model \S+ · seed 7 · "
            r"open clip_drsvg/index\.html\n",
            outcome.out,
        )

    def test_the_record_is_true(self, draw, clip, tmp_path, model_folder):
        draw(clip, "-n", "6", "--samples", "3", "--temperature", "0.5", "--at", "1")
        told = record(tmp_path / "clip_drsvg")
        assert told["seed"] == 7
        assert told["sample_seeds"] == [8, 9, 10]
        assert told["clip"] == str(clip)
        assert told["folder"] == "clip_drsvg"
        assert told["rate"] == 10.0
        assert told["observed_times"] == [0.8, 0.9, 1.0]
        assert told["predicted_times"] == [1.1, 1.2, 1.3, 1.4, 1.5, 1.6]
        assert told["device"] == "cpu" or torch.accelerator.is_available()
        asked = told["settings"]
        assert asked["model"] == str(model_folder)
        assert (asked["horizon"], asked["samples"], asked["temperature"]) == (6, 3, 0.5)
        assert (asked["at"], asked["size"], asked["format"]) == ("1", 32, "mp4")
        assert told["temperature"] == 0.5
        assert "scores" not in told

    def test_a_drawn_seed_is_told_and_can_be_given(self, drsvg, clip, model_folder, tmp_path):
        common = ("predict", clip, "--model", model_folder, "--size", "32", "-n", "2", "-s", "1")
        assert drsvg(*common, "-o", "first").code == 0
        seed = record(tmp_path / "first")["seed"]
        assert drsvg(*common, "-o", "second", "--seed", seed).code == 0
        for name in ("sample_1.mp4", "sheet.png"):
            first, second = (tmp_path / folder / name for folder in ("first", "second"))
            assert first.read_bytes() == second.read_bytes()

    def test_samples_that_would_be_the_same_are_one(self, draw, clip, tmp_path):
        outcome = draw(clip, "--samples", "3", "--temperature", "0")
        assert "all samples would be the same: one is drawn" in outcome.err
        assert record(tmp_path / "clip_drsvg")["sample_seeds"] == [8]
        assert not (tmp_path / "clip_drsvg" / "sample_2.mp4").exists()

    def test_a_single_sample_disagrees_with_nothing(self, draw, clip, tmp_path):
        pages = []
        for count in ("1", "2"):
            assert draw(clip, "--samples", count, "-y").code == 0
            pages.append((tmp_path / "clip_drsvg" / "index.html").read_text())
        assert ["samples disagree" in page for page in pages] == [False, True]

    def test_the_same_seed_gives_the_same_bytes(self, draw, clip, tmp_path):
        draw(clip)
        first = contents(tmp_path / "clip_drsvg")
        draw(clip, "-y")
        assert contents(tmp_path / "clip_drsvg") == first
        draw(clip, "-y", "--seed", "8")
        other = contents(tmp_path / "clip_drsvg")
        assert other["sample_2.mp4"] != first["sample_2.mp4"]
        assert other["sample_1.mp4"] == first["sample_2.mp4"], "sample k depends on SEED + k alone"

    def test_more_samples_keep_the_first_ones(self, draw, clip, tmp_path):
        draw(clip, "--samples", "3", "-o", "three")
        draw(clip, "--samples", "5", "-o", "five")
        three, five = contents(tmp_path / "three"), contents(tmp_path / "five")
        for name in ("sample_1.mp4", "sample_2.mp4", "sample_3.mp4"):
            assert three[name] == five[name]

    def test_at_names_the_last_observed_moment(self, draw, clip, tmp_path):
        for moment in ("1", "1.0", "0:01", "0:00:01", "50%"):
            assert read_moment(moment, lambda: 2.0) == 1
        assert draw(clip, "--at", "50%", "-s", "1", "-n", "1").code == 0
        assert record(tmp_path / "clip_drsvg")["observed_times"] == [0.8, 0.9, 1.0]

    @pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
    def test_a_share_is_one_of_the_frames(self, draw, make_clip, tmp_path, name):
        clip = make_clip(tmp_path / name, 50, rate=30)
        for share, last in (("100%", 49), ("50%", 25)):
            asked = ("--at", share, "--rate", "30", "-s", "1", "-n", "1")
            assert draw(clip, "-y", *asked).code == 0
            observed = record(tmp_path / "a_drsvg")["observed_times"]
            assert observed == pytest.approx([(last - 2 + n) / 30 for n in range(3)], abs=1e-3)

    def test_the_end_is_observed_without_at(self, draw, clip, tmp_path):
        draw(clip)
        assert record(tmp_path / "clip_drsvg")["observed_times"] == [1.7, 1.8, 1.9]

    def test_context_and_rate(self, draw, clip, tmp_path):
        assert draw(clip, "--context", "5", "--rate", "5").code == 0
        told = record(tmp_path / "clip_drsvg")
        assert told["rate"] == 5.0
        assert told["observed_times"] == [1.1, 1.3, 1.5, 1.7, 1.9]
        assert told["predicted_times"][0] == 2.1
        assert probe(tmp_path / "clip_drsvg" / "sample_1.mp4").rate == 10, "the clip's own"

    def test_compare_scores_what_was_held_back(self, draw, clip, tmp_path, model_folder):
        outcome = draw(clip, "--compare")
        told = record(tmp_path / "clip_drsvg")
        assert told["observed_times"] == [1.3, 1.4, 1.5]
        frames = at_32(clip, 7)
        predictor = PaperPredictor(fold_batchnorm(load_model(model_folder)[0]), fit="crop")
        moments = predictor.predict(frames[:3], 4, seeds=[8, 9])
        made = np.stack([moment.frames for moment in moments], axis=1)
        samples, observed, truth = floats(made), floats(frames[:3]), floats(frames[3:])
        errors = ((samples - truth) ** 2).mean((2, 3, 4))
        by_hand = (10 * torch.log10(1 / errors)).mean(1)
        scores = told["scores"]
        assert scores["samples"]["psnr_of_each"] == pytest.approx(by_hand.tolist(), abs=1e-2)
        assert scores["samples"]["psnr"] == pytest.approx(float(by_hand.mean()), abs=1e-2)
        assert scores["samples"]["best_sample"] == int(by_hand.argmax()) + 1
        copied = 10 * torch.log10(1 / ((observed[-1:] - truth) ** 2).mean((1, 2, 3)))
        assert scores["copy"]["psnr"] == pytest.approx(float(copied.mean()), abs=1e-2)
        for name in ("samples", "copy", "motion", "motion-speeds"):
            assert 0 < scores[name]["energy"] <= scores[name]["lpips"] ** 0.5 + 1e-6
            assert f"{scores[name]['psnr']:.2f}" in outcome.out

    def test_a_baseline_predicts_whole_frames(self, drsvg, clip, tmp_path):
        outcome = drsvg("predict", clip, "--model", "motion", "-n", "3", "--device", "cpu")
        assert outcome.code == 0 and "one is drawn" in outcome.err
        assert not (tmp_path / "clip_drsvg" / "sample_2.mp4").exists()
        assert probe(tmp_path / "clip_drsvg" / "sample_1.mp4").width == 48
        options = ("--model", "motion-speeds", "-n", "3", "--size", "24", "-y", "--compare")
        assert drsvg("predict", clip, *options).code == 0
        assert probe(tmp_path / "clip_drsvg" / "sample_2.mp4").height == 24
        outcome = drsvg("predict", clip, "--model", "motion", "--fit", "crop", "-y")
        assert outcome.code == 2 and "predicts whole frames" in outcome.err

    def test_json_is_one_object(self, draw, clip, tmp_path, model_folder):
        outcome = draw(clip, "--json", "--compare")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.count("\n") == 1
        told = json.loads(outcome.out)
        weights = (model_folder / "model.safetensors").read_bytes()
        assert told["results"][0]["weights_sha256"] == hashlib.sha256(weights).hexdigest()
        assert told == {"results": [record(tmp_path / "clip_drsvg")], "failures": {}}

    def test_quiet_says_nothing(self, draw, clip):
        assert draw(clip, "-q", "--compare") == (0, "", "")

    def test_a_model_that_was_trained_on_one_observed_frame_gets_two(
        self, drsvg, clip, model_folder, tmp_path
    ):
        model, recipe = load_model(model_folder)
        data = replace(recipe.data, context=1, min_context=1)
        save_model(tmp_path / "one", replace(recipe, data=data), model.state_dict())
        assert drsvg("predict", clip, "--model", "one", *SMALL).code == 0
        assert len(record(tmp_path / "clip_drsvg")["observed_times"]) == 2

    def test_what_takes_too_much_memory_is_refused_before_it_is_read(
        self, draw, clip, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(clip_input, "MOST_BYTES", 10**6)
        assert_refused(draw(clip, "--size", "1280x4096"), 1, "GB of memory", "--size or --past")
        assert names(tmp_path) == {"clip.mp4"}

    def test_an_empty_name_is_not_the_current_folder(self, draw, clip):
        assert_refused(draw(""), 1, "a clip's name is empty")

    def test_a_table_in_a_file_is_as_wide_as_it_needs(self, tmp_path, monkeypatch):
        monkeypatch.delenv("COLUMNS", raising=False)
        listed = run("models", "list", cwd=tmp_path).stdout
        assert "…" not in listed
        assert re.search(
            r"^ moving-mnist-svg-fp .* drsvg train moving-mnist-svg-fp *$", listed, re.M
        )

    def test_frames_too_small_to_be_shown(self, draw, clip, tmp_path):
        frames = np.zeros((8, 12, 40, 3), np.uint8)
        write_frames(tmp_path / "tiny.mp4", frames, Fraction(10))
        outcome = draw("tiny.mp4", clip, "--size", "source", "-o", ".")
        assert outcome.code == 1 and "tiny.mp4: frames of 40x12 cannot be written" in outcome.err
        assert (tmp_path / "clip_drsvg").is_dir()

    def test_dry_run_writes_nothing(self, draw, clip, tmp_path):
        outcome = draw(clip, "--dry-run")
        assert outcome.code == 0
        assert "clip_drsvg" in outcome.out
        assert names(tmp_path) == {"clip.mp4"}
        (plan,) = json.loads(draw(clip, "--dry-run", "--json").out)["plan"]
        assert plan == {
            "clip": str(clip),
            "folder": "clip_drsvg",
            "width": 48,
            "height": 40,
            "rate": 10.0,
        }
        (tmp_path / "text.mp4").write_text("not a video")
        outcome = draw(clip, "text.mp4", "--dry-run")
        assert outcome.code == 1 and outcome.out.startswith(f"{clip} → ")
        assert "1 of 2 clips" in outcome.err and "text.mp4 is not a video" in outcome.err
        assert_refused(draw(clip, "--dry-run", "--at", "soon"), 2, "--at is 'soon'")
        assert_refused(draw(clip, "--dry-run", "--at", "9"), 1, "there is no frame at 9 s")
        outcome = draw(clip, "text.mp4", "--dry-run", "--json")
        told = json.loads(outcome.out)
        assert ([plan["clip"] for plan in told["plan"]], len(told["failures"])) == ([str(clip)], 1)

    @pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
    def test_formats(self, draw, clip, tmp_path, suffix):
        assert draw(clip, "--format", suffix, "--grid").code == 0
        folder = tmp_path / "clip_drsvg"
        for stem, count in (("sample_1", 24), ("sample_2", 24), ("grid", 7)):
            content = (folder / f"{stem}.{suffix}").read_bytes()
            if suffix == "webp":  # PyAV 18 cannot read what it writes
                assert (content[8:12], content.count(b"ANMF")) == (b"WEBP", count)
                assert "reads no animated WebP" in draw(folder / f"{stem}.webp").err
            else:
                assert len(list(read_frames(folder / f"{stem}.{suffix}"))) == count

    def test_several_clips_get_a_folder_each(self, draw, clip, tmp_path, make_clip):
        make_clip(tmp_path / "other" / "clip.mp4", seed=1)
        make_clip(tmp_path / "more" / "clip.gif", seed=2)
        outcome = draw(clip, "other", "more/*.gif", "-o", "all", "--json")
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)["results"]
        folders = ["all/clip_drsvg", "all/clip_drsvg_2", "all/clip_drsvg_3"]
        assert [result["folder"] for result in told] == folders
        assert [result["clip"] for result in told] == [
            str(clip),
            "other/clip.mp4",
            "more/clip.gif",
        ]
        assert len({(tmp_path / name / "sheet.png").read_bytes() for name in folders}) == 3

    def test_a_bad_clip_does_not_stop_the_others(self, draw, clip, tmp_path, make_clip):
        (tmp_path / "broken.mp4").write_text("not a video")
        make_clip(tmp_path / "still.mp4", 1)
        make_clip(tmp_path / "third.mp4")
        outcome = draw("broken.mp4", clip, "still.mp4", "third.mp4")
        assert outcome.code == 1
        first, second, *table, last = outcome.err.splitlines()
        assert all(line.startswith("error: ") for line in (first, second, last))
        assert "broken.mp4" in first and "still.mp4" in second and "2 of 4 clips" in last
        assert not table, "each is told once"
        folder = tmp_path / "predictions"
        assert names(folder) == {"clip_drsvg", "third_drsvg", "manifest.jsonl"}

    def test_failures_are_in_the_json(self, draw, clip, tmp_path):
        (tmp_path / "broken.mp4").write_text("not a video")
        outcome = draw("broken.mp4", clip, "--json")
        assert outcome.code == 1
        told = json.loads(outcome.out)
        assert [result["clip"] for result in told["results"]] == [str(clip)]
        assert list(told["failures"]) == ["broken.mp4"]
        alone = draw("broken.mp4", "--json")
        told = json.loads(alone.out)
        assert (alone.code, told["exit_code"]) == (1, 1) and "broken.mp4" in told["error"]

    def test_a_clip_cut_short_is_used_as_far_as_it_goes(self, draw, tmp_path, make_clip):
        whole = make_clip(tmp_path / "whole.mkv", 40).read_bytes()
        (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
        assert draw("cut.mkv").code == 0
        assert 1 < record(tmp_path / "cut_drsvg")["observed_times"][-1] < 2.5

    def test_quiet_silences_warnings_of_the_library(self, draw, clip, monkeypatch, caplog):
        def warned(*arguments, **options):
            logging.getLogger("drsvg_cli.video").warning("clip.mp4 is damaged")
            return read_clip(*arguments, **options)

        monkeypatch.setattr(clip_input, "read_clip", warned)
        assert draw(clip).code == 0
        assert caplog.messages == ["clip.mp4 is damaged"]
        caplog.clear()
        assert draw(clip, "-y", "-q") == (0, "", "")
        assert not caplog.messages

    def test_a_clip_without_a_suffix(self, draw, clip, tmp_path):
        clip.rename(tmp_path / "recording")
        assert draw("recording").code == 0
        assert (tmp_path / "recording_drsvg" / "prediction.json").is_file()

    def test_the_device_from_the_environment(self, draw, clip, monkeypatch):
        monkeypatch.setenv("DRSVG_DEVICE", "nonsense")
        assert_refused(draw(clip), 2, "nonsense")
        assert draw(clip, "--device", "cpu").code == 0


class TestEarlierResults:
    def test_are_not_overwritten_unasked(self, draw, clip, tmp_path, monkeypatch):
        draw(clip)
        before = contents(tmp_path)
        monkeypatch.setattr(work, "open_session", None)  # refused before any work
        assert_refused(draw(clip, "--seed", "8"), 2, "clip_drsvg exists already", "-y")
        assert contents(tmp_path) == before

    def test_are_replaced_when_asked(self, draw, clip, tmp_path):
        folder = tmp_path / "clip_drsvg"
        draw(clip, "--samples", "4", "--format", "gif")
        (folder / "notes.txt").write_text("mine")
        (folder / "package.json").write_text('{"files": ["notes.txt"]}')
        (folder / "list.json").write_text('{"files": 3, "drsvg": 1, "sample_seeds": []')
        assert draw(clip, "-y").code == 0
        assert set(contents(folder)) == {
            *record(folder)["files"],
            "notes.txt",
            "package.json",
            "list.json",
        }
        assert "sample_1.gif" not in contents(folder)

    def test_stay_when_the_new_ones_fail(self, draw, clip, tmp_path, monkeypatch):
        draw(clip)
        before = contents(tmp_path)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(prediction, "write_record", full)
        assert_refused(draw(clip, "-y", "--samples", "3"), 4, "No space left")
        assert contents(tmp_path) == before
        assert not list(tmp_path.rglob(".*"))

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stay_when_interrupted(self, draw, clip, tmp_path, monkeypatch, number):
        draw(clip)
        before = contents(tmp_path)

        def interrupt(*_):
            signal.raise_signal(number)

        monkeypatch.setattr(prediction, "write_record", interrupt)
        assert draw(clip, "-y", "--samples", "3") == (130, "", "")
        assert draw(clip, "-o", "a/b/c") == (130, "", "")
        assert contents(tmp_path) == before
        assert names(tmp_path) == {"clip.mp4", "clip_drsvg"}

    def test_an_empty_folder_and_a_new_one_below_are_free(self, draw, clip, tmp_path):
        (tmp_path / "empty").mkdir()
        assert draw(clip, "-o", "empty").code == 0
        assert draw(clip, "-o", "a/b/c").code == 0
        assert (tmp_path / "a" / "b" / "c" / "prediction.json").is_file()

    def test_a_link_to_a_folder_is_followed(self, draw, clip, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to("elsewhere")
        assert draw(clip, "-o", "link").code == 0
        assert (tmp_path / "elsewhere" / "prediction.json").is_file()

    def test_a_file_in_the_way(self, draw, clip, tmp_path):
        (tmp_path / "clip_drsvg").write_text("mine")
        assert_refused(draw(clip, "-y"), 2, "clip_drsvg is in the way")
        before = clip.read_bytes()
        assert_refused(draw(clip, "-y", "-o", clip, "-s", "1"), 2, "is the clip itself")
        assert clip.read_bytes() == before


class TestSwap:
    @pytest.fixture
    def pair(self, clip, tmp_path, make_clip):
        return clip, make_clip(tmp_path / "pose.mp4", seed=1)

    @pytest.mark.parametrize("rate", [10, 12])
    def test_is_that_of_the_library(self, drsvg, model_folder, pair, tmp_path, make_clip, rate):
        """A gives the content and B the pose, both at the rate of A."""
        pair = make_clip(tmp_path / "a.mp4", rate=rate), pair[1]
        options = ("--model", model_folder, *SMALL, "--samples", "1", "--format", "png")
        assert drsvg("swap", *pair, "--both", *options, "-o", "out").code == 0
        model = fold_batchnorm(load_model(model_folder)[0])
        a, b = (
            to_tensor(at_32(path, 5, rate=Fraction(rate))[:, :, 3:35], channels=3)[None]
            for path in pair
        )
        for way, content, pose in (("A_as_B", a, b), ("B_as_A", b, a)):
            expected = to_frames(swap(model, content, pose, seeds=[8]).frames[0, 0])
            made = list(read_frames(tmp_path / "out" / f"swap_{way}_1.png"))[1:]
            assert np.abs(np.stack(made)[:, :, 3:35].astype(int) - expected).max() <= 1

    def test_one_way(self, exchange, pair, tmp_path):
        outcome = exchange(*pair, "--samples", "1")
        assert outcome.code == 0, outcome
        folder = tmp_path / "clip_pose_drsvg"
        clips = {"swap_A_as_B_1.mp4", "clip_A.mp4", "clip_B.mp4", "reconstruction_A.mp4"}
        written = clips | {"index.html", "sheet.png", "swap.json"}
        assert set(contents(folder)) == written
        told = record(folder, "swap.json")
        assert set(told["files"]) == written
        assert (told["content"], told["pose"]) == tuple(map(str, pair))
        assert (told["seed"], told["sample_seeds"]) == (7, [8])
        assert len(list(read_frames(folder / "swap_A_as_B_1.mp4"))) == 5, "the first frame as well"
        assert "clip_pose_drsvg" in outcome.out

    def test_both_ways_and_several_samples(self, exchange, pair, tmp_path):
        outcome = exchange(*pair, "--both", "--samples", "2", "-o", "both", "--json")
        told = json.loads(outcome.out)
        assert told == record(tmp_path / "both", "swap.json")
        assert {f"swap_{way}_{k}.mp4" for way in ("A_as_B", "B_as_A") for k in (1, 2)} < set(
            told["files"]
        )
        first = contents(tmp_path / "both")
        exchange(*pair, "--both", "--samples", "2", "-o", "both", "-y")
        assert contents(tmp_path / "both") == first
        outcome = exchange(*pair, "--temperature", "0", "-o", "alike")
        assert outcome.err == "all samples would be the same: one is drawn\n"
        assert not (tmp_path / "alike" / "swap_A_as_B_2.mp4").exists()
        exchange(*pair, "-o", "one")
        assert contents(tmp_path / "one")["swap_A_as_B_1.mp4"] == first["swap_A_as_B_1.mp4"]

    def test_each_clip_has_a_moment_of_its_own(self, exchange, clip, tmp_path, make_clip):
        """A clip's first second, moving as its last one: as with a clip that ends there."""
        early = make_clip(tmp_path / "early.mp4", 10)
        exchange(clip, clip, "--at", "0.95", "--at-b", "100%", "-o", "moments")
        assert record(tmp_path / "moments", "swap.json")["at_b"] == "100%"
        exchange(early, clip, "-o", "cut")
        exchange(clip, clip, "--at", "0.95", "-o", "one")
        shown = [
            np.stack(list(read_frames(tmp_path / name / "swap_A_as_B_1.mp4"))).astype(int)
            for name in ("moments", "cut", "one")
        ]
        same, other = (np.abs(shown[0] - each).mean() for each in shown[1:])
        assert same < other / 4

    def test_refusals(self, exchange, pair, tmp_path, make_clip):
        assert_refused(exchange(*pair, "--at-b", "soon"), 2, "--at-b is 'soon'")
        short = make_clip(tmp_path / "short.mp4", 3)
        assert_refused(exchange(pair[0], short), 1, "short.mp4 has 3 frames", "--horizon")
        assert_refused(exchange(short, short), 1, "short.mp4 has 3 frames there, and 5 are needed")
        outcome = exchange(pair[0], pair[0], "--at", "0.2", "--at-b", "1.5")
        assert_refused(outcome, 1, "clip.mp4 has 3 frames there, and 5 are needed")
        assert_refused(exchange(pair[0], "none.mp4"), 1, "none.mp4: no such file")
        assert_refused(exchange(*pair, "--samples", "0"), 2, "--samples")
        exchange(*pair)
        assert_refused(exchange(*pair), 2, "clip_pose_drsvg exists already")


class TestWrongUse:
    @pytest.fixture(autouse=True)
    def leaves_nothing(self, tmp_path, clip):
        (tmp_path / "empty").mkdir()
        (tmp_path / "bare").mkdir()
        before = sorted(tmp_path.rglob("*"))
        yield
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("missing.mp4", "missing.mp4: no such file"),
            ("*.mkv", "no such file"),
            ("empty", "empty: no video file"),
            ("n" * 300, "too long"),
            ("https://example.org/a.mp4", "is an address"),
        ],
    )
    def test_clips(self, draw, given, said):
        assert_refused(draw(given), 1, said)

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            (("-n", "0"), 2, "--horizon is 0"),
            (("-n", "many"), 2, "--horizon is 'many'"),
            (("-n", "0s"), 2, "--horizon in seconds is 0"),
            (("--shard", "4/3"), 2, "--shard is '4/3'"),
            (("-o", "out.mp4"), 2, "out.mp4 is a single video; give --samples 1"),
            (("--samples", "0"), 2, "--samples is 0"),
            (("--size", "3"), 2, "--size is 3"),
            (("--size", "own"), 2, "--size is own"),
            (("--size", "640x3"), 2, "--size is 3"),
            (("--context", "0"), 2, "--context is 0"),
            (("--rate", "nan"), 2, "--rate is nan"),
            (("--temperature", "-1"), 2, "--temperature is -1"),
            (("--seed", "-1"), 2, "--seed is -1"),
            (("--seed", str(2**70)), 2, "--seed is"),
            (("--at", "nonsense"), 2, "--at is 'nonsense'"),
            (("--at", ""), 2, "--at is ''"),
            (("--at", "101%"), 2, "--at is 101%"),
            (("--at", "1:00"), 1, "clip.mp4 lasts 2.000 s"),
            (("--at", "1.9", "--compare"), 1, "earlier moment"),
            (("--compare", "-n", "20"), 1, "too short"),
            (("--device", "nonsense"), 2, "'nonsense' is no device"),
            (("--model", "nonsense"), 3, "no model 'nonsense'"),
            (("--model", "generel"), 3, "Did you mean general?"),
            (("--model", "bare"), 3, "no weights"),
            (("-o", ""), 2, "-o is ''; give it a value"),
            (("--out=",), 2, "--out is ''"),
            (("--", "--out="), 1, "--out=: no such file"),
            (("--model", ""), 2, "--model is ''"),
            (("-o", "clip.mp4/below"), 4, "cannot write to clip.mp4/below"),
            (("-o", "/proc/below"), 4, "cannot write to /proc/below"),
            (("-o", "n" * 300), 4, "too long"),
        ],
    )
    def test_options(self, draw, clip, options, code, said):
        assert_refused(draw(clip, *options), code, said)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("predict", "clip.mp4", "--nonsense"),
            ("predict", "clip.mp4", "--fit", "nonsense"),
            ("predict",),
            ("swap", "clip.mp4"),
            ("nonsense",),
        ],
    )
    def test_usage(self, drsvg, arguments):
        outcome = drsvg(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("error: ") and outcome.err.endswith("see --help\n")

    def test_models(self, draw, clip, model_folder, tmp_path):
        bad = tmp_path.parent / f"{tmp_path.name}-bad"
        bad.mkdir()
        (bad / "preset.toml").write_bytes((model_folder / "preset.toml").read_bytes())
        assert_refused(draw(clip, "--model", bad), 3, "no weights")
        (bad / "model.safetensors").write_bytes(b"damaged")
        assert_refused(draw(clip, "--model", bad), 3, "damaged")
        model, recipe = load_model(model_folder)
        weights = model.state_dict()
        save_model(
            bad,
            recipe,
            {
                name: value + value * math.nan if value.is_floating_point() else value
                for name, value in weights.items()
            },
        )
        assert_refused(draw(clip, "--model", bad), 3, "predicts no numbers")

    def test_memory(self, draw, clip, monkeypatch):
        def greedy(*_, **__):
            torch.empty(2**46)

        monkeypatch.setattr(paper, "stream", greedy)
        assert_refused(draw(clip), 4, "memory", "--samples")


class TestNames:
    """Names are shown as they are, on one line, and obeyed by no terminal."""

    @pytest.mark.parametrize("name", ["[red]a:smile:.mp4", "-[b]\\[ c'd.mp4"])
    def test_markup(self, draw, clip, tmp_path, name):
        clip.rename(tmp_path / name)
        outcome = draw("-q", "--", name)
        assert outcome == (0, "", "")
        folder = f"{Path(name).stem}_drsvg"
        assert record(tmp_path / folder)["clip"] == name
        outcome = draw("-y", "--", name)
        assert outcome.out.startswith(f"{folder}: 2 samples")
        assert_refused(draw("--", name), 2, folder)
        assert draw("--dry-run", "-y", "--", name).out.startswith(f"{name} → {folder}\n")

    def test_control_characters(self, draw, clip, tmp_path):
        name = "a\nb\x1b[31m.mp4"
        clip.rename(tmp_path / name)
        outcome = draw(name)
        assert outcome.out.startswith("a\\nb\\x1b[31m_drsvg: 2 samples")
        assert outcome.out.count("\n") == 1
        assert_refused(draw(name), 2, "a\\nb\\x1b[31m_drsvg")
        assert_refused(draw("c\nd.mp4"), 1, "c\\nd.mp4")
        assert_refused(draw(name, "-y", "--model", "e\nf"), 3, "e\\nf")

    def test_bytes_that_are_no_text(self, draw, clip, tmp_path):
        name = os.fsdecode(b"caf\xe9.mp4")
        try:
            clip.rename(tmp_path / name)
        except OSError:
            pytest.skip("this file system wants text")
        outcome = draw(name)
        assert outcome.code == 0, outcome
        assert outcome.out.startswith("caf\\udce9_drsvg: 2 samples")
        assert json.loads(draw(name, "-y", "--json").out)["results"][0]["clip"] == name


class TestProcess:
    def test_a_stream_without_unicode(self):
        environment = os.environ | {"PYTHONIOENCODING": "ascii"}
        process = start("--help", env=environment, stdout=subprocess.PIPE)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")
        assert rb"0 done \xb7 1 an input failed" in out

    def test_a_closed_pipe(self, clip, model_folder, tmp_path):
        arguments = ("predict", clip, "--model", model_folder, *SMALL, "--json", "-q")
        reader, writer = os.pipe()
        process = start(*arguments, cwd=tmp_path, stdout=writer)
        os.close(writer)
        os.close(reader)
        _, err = process.communicate()
        assert (process.returncode, err) == (1, b"")
        assert (tmp_path / "clip_drsvg" / "prediction.json").is_file()

    def test_all_of_the_output_is_there(self, clip, model_folder, tmp_path):
        (tmp_path / "bad.mp4").write_bytes(b"no video")
        arguments = ("predict", clip, "bad.mp4", "--model", model_folder, *SMALL, "--json")
        done = run(*arguments, cwd=tmp_path)
        answer = json.loads(done.stdout)
        assert len(answer["results"]) == len(answer["failures"]) == done.returncode == 1
        assert "bad.mp4" in done.stderr and done.stderr.endswith("could not be predicted\n")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
    def test_output_that_cannot_be_written(self, tmp_path):
        with Path("/dev/full").open("wb") as full:
            process = start("models", "list", "--json", cwd=tmp_path, stdout=full)
        assert b"No space left" in process.communicate(timeout=60)[1]
        assert process.returncode == 4

    def test_ctrl_c_leaves_nothing_behind(self, clip, model_folder, tmp_path):
        arguments = ("predict", clip, "--model", model_folder, "-n", "60", "-s", "2", "-q")
        process = Command(*arguments, cwd=tmp_path)
        patience = time.monotonic() + 60
        while not list(tmp_path.glob(".clip_drsvg.*.part/*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < patience
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (130, b"", b"")
        assert names(tmp_path) == {"clip.mp4"}


def test_rate_and_size_of_odd_clips(draw, tmp_path, make_clip):
    make_clip(tmp_path / "film.mkv", 60, rate=Fraction(24000, 1001))
    few = ("-s", "1", "-n", "1", "--past", "0.5", "-y")
    for size, shape in (("34", (40, 34)), ("60x60", (60, 50)), ("source", (48, 40))):
        assert draw("film.mkv", "--size", size, *few).code == 0
        info = probe(tmp_path / "film_drsvg" / "sample_1.mp4")
        assert (info.rate, info.width, info.height) == (Fraction(24000, 1001), *shape)
    assert draw("film.mkv", "--only-future", *few).code == 0
    assert probe(tmp_path / "film_drsvg" / "sample_1.mp4").rate == Fraction(12000, 1001)


class TestGoesOn:
    """A sample is the end of the clip, and then what is predicted."""

    def test_at_the_clip_s_own_rate(self, drsvg, make_clip, tmp_path):
        clip = make_clip(tmp_path / "clip.mp4", 90, rate=30)
        options = ("-m", "motion", "-n", "4", "--past", "1", "--size", "source", "-q")
        assert drsvg("predict", clip, *options).code == 0
        path = tmp_path / "clip_drsvg" / "sample_1.mp4"
        made = np.stack(list(read_frames(path))).astype(int)
        told = record(tmp_path / "clip_drsvg")
        assert (told["rate"], told["video_rate"], probe(path).rate) == (15, 30, 30)
        assert len(made) == 30 + 2 * 4
        seen = read_clip(clip, 30).frames
        assert np.abs(made[:30] - seen).mean() < 2

    def test_the_future_is_marked_and_the_past_is_not(self, drsvg, clip, tmp_path):
        options = ("-m", "copy", "-n", "2", "--size", "160", "-q")
        for name, more in (("marked", ()), ("plain", ("--no-mark",))):
            assert drsvg("predict", clip, *options, *more, "-o", name).code == 0
        marked, plain = (
            np.stack(list(read_frames(tmp_path / name / "sample_1.mp4"))).astype(int)
            for name in ("marked", "plain")
        )
        changed = np.abs(marked - plain).max((0, 3)) > 40
        assert changed[:12, -12:].any()
        changed[:12, -12:] = False
        assert not changed.any(), "no more than a corner"
        assert (np.abs(marked - plain).max((1, 2, 3)) > 40).tolist() == [False] * 20 + [True] * 2

    def test_in_seconds(self, draw, clip, tmp_path):
        assert draw(clip, "-n", "0.6s").code == 0
        assert len(record(tmp_path / "clip_drsvg")["predicted_times"]) == 6

    def test_a_video_of_its_own(self, drsvg, clip, tmp_path):
        common = ("predict", clip, "-m", "motion", "-n", "3")
        outcome = drsvg(*common, "-o", "next.gif")
        assert outcome.code == 0 and outcome.out.endswith("open next.gif\n")
        assert names(tmp_path) == {"clip.mp4", "next.gif"}
        assert_refused(drsvg(*common, "-q", "-o", "next.gif"), 2, "next.gif exists already")
        assert drsvg(*common, "-o", "next.gif", "-y", "--only-future").code == 0
        assert len(list(read_frames(tmp_path / "next.gif"))) == 3
        assert_refused(drsvg(*common, "-q", "-o", "no/next.mp4"), 2, "there is no folder no")

    def test_what_is_said_before_looking(self, draw, drsvg, clip, monkeypatch):
        assert "far beyond the 4 that" in draw(clip, "-n", "13").err
        assert draw(clip, "-n", "12", "-y").err == ""
        monkeypatch.setattr("drsvg_cli.commands.prediction.UNLIKE", 24)
        grays = drsvg("predict", clip, "-m", "moving-mnist", "-n", "1", "-s", "1", "-y")
        assert "moving-mnist learned from clips of another kind" in grays.err
        for model in ("general", "motion-speeds"):
            assert drsvg("predict", clip, "-m", model, "-n", "1", "-s", "2", "-y").err == ""


class TestBatch:
    """Many clips, stopped and gone on with."""

    @pytest.fixture
    def clips(self, tmp_path, make_clip):
        for number in range(4):
            make_clip(tmp_path / "clips" / f"{number}.mp4", 12, seed=number)
        (tmp_path / "clips" / "bad.mp4").write_text("not a video")
        return tmp_path / "clips"

    @pytest.fixture
    def batch(self, drsvg, clips):
        common = ("predict", clips, "-m", "motion", "-s", "1", "-n", "2", "-o", "out", "--json")
        return lambda *arguments: drsvg(*common, *arguments)

    def lines(self, tmp_path):
        text = (tmp_path / "out" / "manifest.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def test_a_bad_clip_is_a_line(self, batch, tmp_path):
        outcome = batch()
        assert outcome.code == 1 and outcome.err.count("bad.mp4") == 1
        told = json.loads(outcome.out)
        assert len(told["results"]) == 4 and told["error"].startswith("1 of 5 clips")
        lines = {Path(line["clip"]).name: line for line in self.lines(tmp_path)}
        assert lines["bad.mp4"]["outcome"] == "failed" and "error" in lines["bad.mp4"]
        assert (
            lines["0.mp4"]["outcome"] == "done" and lines["0.mp4"]["seed"] == lines["1.mp4"]["seed"]
        )
        assert {"digest", "settings", "seconds", "folder"} <= set(lines["0.mp4"])

    def test_the_same_command_again_does_what_is_missing(self, batch, clips, tmp_path, make_clip):
        batch()
        (clips / "bad.mp4").unlink()
        make_clip(clips / "3.mp4", 20, overwrite=True)
        outcome = batch()
        assert outcome.code == 2, "the result of a clip that has changed is in the way"
        seed = self.lines(tmp_path)[0]["seed"]
        for path in (tmp_path / "out" / "3_drsvg").iterdir():
            path.unlink()
        told = json.loads(batch().out)["results"]
        assert [Path(result["clip"]).name for result in told] == ["3.mp4"]
        assert told[0]["seed"] == seed, "as the others"
        assert json.loads(batch().out)["results"] == []
        assert len(json.loads(batch("--redo").out)["results"]) == 4

    def test_other_settings_are_refused(self, batch):
        batch()
        outcome = batch("-n", "3")
        assert outcome.code == 2 and "(horizon: 2, now 3)" in outcome.err

    def test_a_run_that_was_killed_before_its_line_was_written(self, batch, clips, tmp_path):
        (clips / "bad.mp4").unlink()
        batch()
        manifest = tmp_path / "out" / "manifest.jsonl"
        whole = manifest.read_text().splitlines(keepends=True)
        manifest.write_text("".join(whole[:2]) + whole[2][:50])
        assert json.loads(batch().out)["results"] == []

    def test_shards_share_the_work(self, batch, clips, tmp_path):
        (clips / "bad.mp4").unlink()
        done = [json.loads(batch("--shard", f"{part}/2").out)["results"] for part in (1, 2)]
        assert len(self.lines(tmp_path)) == sum(map(len, done)) == 4
        assert len({line["clip"] for line in self.lines(tmp_path)}) == 4
