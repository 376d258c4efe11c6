"""`drsvg evaluate`: the same sequences for every model, whole, in part, and resumed."""

import io
import json
import math
import shutil
import signal
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

from drsvg_cli.cli.app import main
from drsvg_cli.commands import evaluate as work
from drsvg_cli.commands import evaluation_report, evaluation_setup
from drsvg_cli.commands.evaluation_results import Findings, Protocol, Row
from drsvg_cli.commands.output_folder import kept_for_one
from drsvg_cli.config import DataConfig, Recipe
from drsvg_cli.data import dataset
from drsvg_cli.data.dataset import Benchmark, Published, as_clips
from drsvg_cli.data.moving_mnist import MovingDigits, part
from drsvg_cli.evaluation.classifier import Classifier
from drsvg_cli.evaluation.lpips import LPIPS
from drsvg_cli.evaluation.prediction import Judge, Scores, score
from drsvg_cli.inference.baselines import Copy, Motion
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.weights.files import load_model, save_model, save_state

QUICK = ("--horizon", 4, "--samples", 3, "--sequences", 5, "--device", "cpu")
FILES = {"curves.png", "evaluation.json", "examples.png", "table.md"}


@pytest.fixture(scope="module", autouse=True)
def few_sequences():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "TEST_SEQUENCES", 6)
        yield


@pytest.fixture(scope="module")
def mnist(write_mnist, tmp_path_factory):
    return write_mnist(tmp_path_factory.mktemp("data") / "mnist")


@pytest.fixture(scope="module")
def save_in(tiny_model, tiny_config):
    """Return a function that writes a model of Moving MNIST into a folder."""

    def make(folder, name, *, seed=0, channels=1, **changes):
        data = DataConfig(source="moving-mnist", context=3, horizon=2)
        config = tiny_config(channels=channels, **changes)
        weights = tiny_model(seed=seed, channels=channels, **changes).state_dict()
        save_model(folder / name, Recipe(name, model=config, data=data), weights)
        return name

    return make


@pytest.fixture
def save(save_in, tmp_path):
    """Return a function that writes a model of Moving MNIST where the command runs."""
    return partial(save_in, tmp_path)


@pytest.fixture
def measure(drsvg, mnist, save):
    """Run `drsvg evaluate` with two models: DR-SVG and SVG-LP."""
    names = save("ours"), save("lp", seed=1, content_dim=0)
    return lambda *options: drsvg("evaluate", *names, "--data", mnist, *QUICK, *options)


class Whole(NamedTuple):
    """What an evaluation that nothing interrupted said, and its folder, beside the two models."""

    out: str
    folder: Path


@pytest.fixture(scope="module")
def whole(save_in, mnist, tmp_path_factory):
    """Run once what `measure` runs."""
    place = tmp_path_factory.mktemp("whole")
    names = save_in(place, "ours"), save_in(place, "lp", seed=1, content_dim=0)
    words = ("drsvg", "evaluate", *names, "--data", mnist, *QUICK)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.chdir(place)
        patch.delenv("COLUMNS", raising=False)  # a width, which wraps tables
        patch.setattr(sys, "argv", [*map(str, words)])
        with pytest.raises(SystemExit, match="0"):
            main()
    return Whole(printed.getvalue(), place / "evaluation")


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function: press Ctrl-C when so much has been drawn, seven times a sequence."""
    real = work.score_clip

    def after(pieces):
        left = [pieces]

        def some(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                signal.raise_signal(signal.SIGINT)
            return real(*arguments, **options)

        monkeypatch.setattr(work, "score_clip", real if pieces is None else some)

    return after


def record(folder):
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def names(folder):
    return {path.name for path in folder.iterdir()}


class TestResults:
    def test_are_what_the_library_measures(self, whole, mnist):
        told = record(whole.folder)
        assert names(whole.folder) == FILES == set(told["files"])
        assert (told["sequences"], told["complete"]) == (5, True)
        assert (
            told["protocol"]["data"]
            == "5 sequences of Moving MNIST's test digits, stochastic walls"
        )
        model, recipe = load_model(whole.folder.with_name("lp"))
        digits = MovingDigits(part(mnist, "test"), recipe.model, 7, "stochastic")
        clips = as_clips(digits.batch(6, seed="test").transpose(0, 1)[:5])
        judge = Judge(LPIPS(), similarity=True, channels=1, device=torch.device("cpu"))
        for name, predictor, seeds in (
            ("lp", PaperPredictor(model, fit="crop"), [1, 2, 3]),
            ("copy", Copy(), [1]),
            ("motion", Motion(), [1]),
        ):
            scores = score(predictor, clips, horizon=4, seeds=seeds, judge=judge)
            said = told["scores"][name]
            for metric in ("psnr", "ssim"):
                values = getattr(scores, metric)
                mean, low, high = said[metric]["horizons"]["4"]["mean"]
                assert mean == pytest.approx(float(values.mean()), rel=1e-4)
                assert low < mean < high
                best = said[metric]["horizons"]["4"]["best"][0]
                assert best == pytest.approx(float(values.mean(2).amax(1).mean()), rel=1e-4)
                frames = [value for value, *_ in said[metric]["frames"]]
                assert frames == pytest.approx(values.mean((0, 1)).tolist(), rel=1e-4, abs=1e-5)
            for metric in ("lpips", "energy"):
                expected = float(getattr(scores, metric).mean())
                assert said[metric]["mean"][0] == pytest.approx(expected, rel=1e-3)
        assert told["marks"] == [1, 4]
        assert set(told["models"]["ours"]["latents"]) == {"content", "pose"}

    def test_table(self, whole):
        text = (whole.folder / "table.md").read_text(encoding="utf-8")
        tables = [
            [line.strip("| \n").split(" | ") for line in table.splitlines()]
            for table in text.split("\n\n")
        ]
        scores, by_frame, differences, papers, latents = tables
        baselines = ["copy", "motion", "motion-speeds"]
        rows = ["ours, temperature 0", "ours", "lp, temperature 0", "lp", *baselines]
        assert [row[0] for row in scores[2:]] == [*rows, "true frames"]
        assert scores[0][:5] == ["frames 1, 4", "PSNR (dB)", "best sample", "LPIPS", "energy"]
        assert [row[0] for row in by_frame[2:]] == rows
        assert [row[0] for row in differences[2:]] == [
            "ours, temperature 0 − copy",
            "ours, temperature 0 − motion",
            "ours − copy",
            "ours − motion-speeds",
            "lp, temperature 0 − copy",
            "lp, temperature 0 − motion",
            "lp − copy",
            "lp − motion-speeds",
            "ours, temperature 0 − lp, temperature 0",
            "ours − lp",
        ]
        assert all("[" in cell for cell in differences[-1][1:])
        assert [row[:2] for row in papers[2:]] == [["4", name] for name in rows]
        assert [row[0] for row in latents[2:]] == ["ours, content", "ours, pose", "lp, pose"]
        for row in (*scores[2:-1], *latents[2:]):
            assert row[0] in whole.out and row[1] in whole.out

    def test_at_another_temperature(self, measure, whole, tmp_path):
        """At zero there is one row a model; else samples differ, and the best one is better."""
        still = json.loads(measure("--json", "--temperature", "0").out)
        assert still == record(tmp_path / "evaluation")
        own = record(whole.folder)
        assert [still["models"]["lp"]["temperature"], own["models"]["lp"]["temperature"]] == [0, 1]
        assert "lp" not in still["scores"]
        zero = "lp, temperature 0"
        assert still["scores"][zero]["psnr"] == own["scores"][zero]["psnr"]
        mean, best = (own["scores"]["lp"]["psnr"]["horizons"]["4"][k][0] for k in ("mean", "best"))
        assert best > mean

    def test_pictures(self, whole):
        curves, examples = (
            cv2.imread(str(whole.folder / name)) for name in ("curves.png", "examples.png")
        )
        green = (curves == (100, 200, 80)).all(-1)
        assert green.any(), "training stopped after 2 of 4 frames"
        assert len(set(green.any(0).nonzero()[0].tolist())) == 4, "a line in each of two panels"
        assert examples.std() > 10
        assert examples.shape[0] > 2 * 14 * 64, "two sequences: the truth, three of each row or one"

    def test_one_sequence_has_no_interval(self, measure, tmp_path):
        outcome = measure("--sequences", 1, "--json")
        assert outcome.code == 0, outcome
        assert "NaN" not in outcome.out
        told = json.loads(outcome.out)
        assert told["scores"]["copy"]["psnr"]["frames"][0][1:] == [None, None]
        table = (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")
        assert "±" not in table and "[" not in table

    def test_the_name_of_a_model_is_no_markup(self, drsvg, mnist, save, tmp_path):
        save("a[v2]|b")
        options = (*QUICK, "--samples", 1, "--sequences", 1)
        outcome = drsvg("evaluate", "./a[v2]|b", "--data", mnist, *options)
        assert "a[v2]|b" in outcome.out
        table = (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")
        assert "a[v2]\\|b" in table

    def test_content(self, measure, tmp_path, monkeypatch):
        """A classifier that says the same of every frame keeps all content or none."""
        classifier = Classifier({"digits": 55}, size=32, channels=1).eval()
        with torch.no_grad():
            for parameter in classifier.decide[-1].parameters():
                parameter.zero_()
            classifier.decide[-1].bias[7] = 1
        monkeypatch.setattr(evaluation_setup, "load_classifier", lambda _: classifier)
        outcome = measure("--json", "--samples", 1)
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)
        table = (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")
        assert "content kept" in table and "| 4 | true frames |" in table
        ceiling = told["true_frames"]["content"]
        shares = {value for value, *_ in ceiling["frames"]}
        assert shares == {ceiling["horizons"]["4"]["mean"][0]}
        for scores in told["scores"].values():
            assert {value for value, *_ in scores["content"]["frames"]} == shares

    def test_clips_of_any_kind(self, drsvg, model_folder, make_clip, tmp_path):
        for number in range(2):
            make_clip(tmp_path / "clips" / f"{number}.mp4", seed=number)
        outcome = drsvg(
            "evaluate", model_folder, "--data", "clips", "-s", 2, "--sequences", 4, "--json"
        )
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)
        assert told["protocol"]["data"] == "4 windows of 2 clips"
        assert list(told["models"]) == ["tiny"]
        assert "ssim" not in told["scores"]["tiny"], "nobody publishes it of these"

    def test_baselines_alone_on_whole_frames(self, drsvg, make_clip, tmp_path):
        """Two clips of a square that moves on: motion is ahead of a copy in both."""
        for number in range(2):
            make_clip(tmp_path / "clips" / f"{number}.mp4", 30, seed=number)
        outcome = drsvg("evaluate", "motion", "--data", "clips", "-n", 2, "--size", 64, "--json")
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)
        assert list(told["scores"]) == ["copy", "motion", "motion-speeds"]
        assert told["protocol"]["samples"] == 10
        difference, other = told["differences"]
        assert (difference["of"], difference["minus"]) == ("motion", "copy")
        assert (other["of"], other["minus"]) == ("motion-speeds", "copy")
        assert difference["psnr"][0] > 0 and difference["energy"][0] < 0

    def test_general_is_measured_on_whole_frames(self, drsvg, make_clip, tmp_path):
        clip = make_clip(tmp_path / "clip.mp4", 30)
        options = ("--data", clip, "-n", 2, "-s", 2, "--sequences", 2, "--size", 64, "--json")
        outcome = drsvg("evaluate", "general", *options)
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)
        assert list(told["models"]) == ["general"]
        assert list(told["scores"])[:2] == ["general, temperature 0", "general"]

    def test_of_more_clips_than_sequences_some_are_taken_from_all_over(
        self, drsvg, model_folder, make_clip, tmp_path
    ):
        for name in ("clips/1.mp4", "clips/2.mp4", "clips/3.mp4", "ends/1.mp4", "ends/3.mp4"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            make_clip(tmp_path / name, seed=int(name[-5]))
        digests = []
        for folder in ("clips", "ends"):
            options = ("--data", folder, "-s", 2, "--sequences", 2, "-o", f"{folder}-found")
            outcome = drsvg("evaluate", model_folder, *options, "--json")
            assert outcome.code == 0, outcome
            protocol = json.loads(outcome.out)["protocol"]
            assert protocol["data"] == "2 windows of 2 clips"
            digests.append(protocol["digest"])
        assert digests[0] == digests[1]

    def test_each_of_two_models_of_one_name_is_in_the_results(
        self, drsvg, model_folder, make_clip, tmp_path
    ):
        make_clip(tmp_path / "clip.mp4")
        other = shutil.copytree(model_folder, tmp_path / "other" / model_folder.name)
        options = ("--data", "clip.mp4", "--sequences", 2, "--json")
        outcome = drsvg("evaluate", model_folder, other, *options, "-s", 2)
        assert outcome.code == 0, outcome
        assert list(json.loads(outcome.out)["models"]) == [str(model_folder), str(other)]


class TestInterruptions:
    def test_what_is_measured_is_kept_and_gone_on_with(self, measure, whole, interrupt, tmp_path):
        interrupt(31)  # four sequences are whole, and a part of the fifth
        outcome = measure("-o", "parts")
        assert outcome.code == 130
        assert "stopped after 4 of 5 sequences" in outcome.err.splitlines()[-1]
        folder = tmp_path / "parts"
        assert names(folder) == FILES | {"partial.pt"}
        part = record(folder)
        assert (part["sequences"], part["complete"]) == (4, False)
        interrupt(None)
        assert measure("-o", "parts", "--resume").code == 0
        assert names(folder) == FILES
        assert record(folder) == record(whole.folder)

    def test_while_examples_are_drawn(self, measure, whole, monkeypatch, tmp_path):
        """All has been measured by then, and nothing is measured again."""
        with monkeypatch.context() as now:
            now.setattr(
                evaluation_report, "draw", lambda *_, **__: signal.raise_signal(signal.SIGINT)
            )
            assert measure("-o", "parts").code == 130
        assert names(tmp_path / "parts") == {"partial.pt"}
        monkeypatch.setattr(work, "score_clip", None)
        assert measure("-o", "parts", "--resume").code == 0
        assert record(tmp_path / "parts") == record(whole.folder)

    def test_shards_joined_are_one_run(self, measure, interrupt, tmp_path):
        """The second of two is stopped before its last sequence, which is measured at the end."""
        whole, folder = json.loads(measure("-o", "whole", "--json").out), tmp_path / "parts"
        first = json.loads(measure("-o", "parts", "--shard", "1/2", "--json").out)
        assert (first["sequences"], first["complete"]) == (3, False)
        interrupt(7)
        assert measure("-o", "parts", "--shard", "2/2").code == 130
        interrupt(7)
        outcome = measure("-o", "parts", "--resume")
        assert outcome.code == 0, outcome
        assert record(folder) == whole
        shards = {"shard-1-of-2", "shard-2-of-2"}
        assert names(folder) == FILES | shards
        assert names(folder / "shard-1-of-2") == FILES | {"partial.pt"}
        assert "none is in shard 6 of 7" in measure("-o", "many", "--shard", "6/7").err

    def test_no_two_at_once_in_one_folder(self, measure, tmp_path):
        with kept_for_one(tmp_path / "evaluation"):
            outcome = measure()
            assert outcome.code == 2 and "another run is at work on evaluation" in outcome.err
            assert measure("-o", "other", "--sequences", 1, "--samples", 1).code == 0
        assert not (tmp_path / "evaluation").exists()
        assert measure("--sequences", 1, "--samples", 1).code == 0
        assert names(tmp_path / "evaluation") == FILES

    def test_before_anything_is_measured(self, measure, interrupt, tmp_path):
        interrupt(0)
        assert measure().code == 130
        assert not (tmp_path / "evaluation").exists()

    def test_nothing_else_is_gone_on_with(self, measure, save, interrupt, tmp_path):
        interrupt(15)
        measure()
        interrupt(None)
        before = (tmp_path / "evaluation" / "partial.pt").read_bytes()
        for options, said in (
            (("--samples", 2), "samples = 3, not 2"),
            (("--temperature", 0.5), "temperature = None, not 0.5"),
            (("--sequences", 4), "data = 5 sequences of Moving MNIST"),
        ):
            outcome = measure("--resume", *options)
            assert outcome.code == 2 and outcome.err.count("error: ") == 1, outcome
            assert said in outcome.err
        save("ours", seed=5)
        assert "the model ours = " in measure("--resume").err
        assert (tmp_path / "evaluation" / "partial.pt").read_bytes() == before


ROWS = "ours", "copy", "motion", "motion-speeds"


def findings(values, *, samples=3, published=(), horizons=(4, 6)):
    """Findings of one row, all of whose metrics have the values `(N, S, T)`."""
    clips = [np.zeros((9, 32, 32, 3), np.uint8)] * len(values)
    task = Benchmark(clips, "ab"[: len(values)], "words", horizons, published=published)
    protocol = Protocol("words", 3, 6, samples, seed=0, temperature=None, digest="")
    close, steady = values[..., [0, 3, 5]], values[:, 0, [0, 3, 5]]
    scores = Scores(values, values, values[..., :0], close, *[steady] * 4)
    rows = [Row(name, Copy(), [1], None) for name in ROWS]
    return Findings([], rows, task, protocol, {row.name: scores for row in rows}, scores, {})


def test_every_horizon_has_its_own_average():
    curve = torch.tensor([10.0] * 4 + [4.0] * 2)
    found = findings(curve.expand(2, 3, 6))
    *_, (_, rows) = evaluation_report.tables(found)
    assert [row[2][:4] for row in rows] == ["10.0"] * 4 + ["8.00"] * 4
    summary = evaluation_report._summary(found, found.truth)["psnr"]["horizons"]
    assert [summary[str(n)][kind][0] for n in (4, 6) for kind in ("mean", "best")] == [10, 10, 8, 8]


class TestRefusals:
    def test_each_is_a_line(self, drsvg, mnist, save, whole, model_folder, tmp_path):
        save("ours")
        save("large", size=64)
        shutil.copytree(whole.folder, tmp_path / "there")
        for arguments, code, said in (
            (("ours", "large"), 2, "32×32 pixels and 64×64 pixels"),
            (("ours", model_folder), 2, "gray and colour"),
            (("ours", "nonsense"), 3, "no model 'nonsense'"),
            (("ours", "-o", "there"), 2, "there exists already"),
            (("ours", "--resume", "-o", "there"), 2, "no evaluation that stopped"),
            (("ours", "--samples", 0), 2, "--samples is 0"),
            (("ours", "--data", "nowhere"), 3, "nowhere: no such folder"),
            (("ours", "--size", 64), 2, "ours predicts squares of 32 pixels"),
            (("ours", "ours"), 2, "ours is named twice"),
            (("ours", "./ours"), 2, "./ours is named twice (ours)"),
        ):
            outcome = (
                drsvg("evaluate", *arguments[:1], "--data", mnist, *QUICK, *arguments[1:])
                if ("--data" not in arguments)
                else drsvg("evaluate", *arguments, *QUICK)
            )
            assert (outcome.code, outcome.out) == (code, ""), (arguments, outcome)
            *_, last = outcome.err.splitlines()
            assert last.startswith("error: ") and said in last, (arguments, outcome)
            assert not (tmp_path / "evaluation").exists()

    def test_a_file_of_the_user_s_is_found_before_any_work(self, measure, tmp_path, monkeypatch):
        monkeypatch.delattr(work, "load")
        for name in FILES:
            (tmp_path / name).mkdir()
            (tmp_path / name / name).write_text("mine")
            outcome = measure("-o", name, "-y")
            assert (outcome.code, outcome.out) == (2, "")
            assert f"{name} is not of an earlier result" in outcome.err
            assert names(tmp_path / name) == {name}

    def test_a_partial_file_of_something_else(self, measure, tmp_path):
        (tmp_path / "parts").mkdir()
        save_state(tmp_path / "parts" / "partial.pt", {"step": 1})
        outcome = measure("-o", "parts", "--resume")
        assert (outcome.code, outcome.out) == (3, "")
        assert "partial.pt is no evaluation that stopped" in outcome.err


def test_more_sequences_than_there_are(measure):
    outcome = measure("--sequences", 9, "--samples", 1)
    assert outcome.code == 0 and "there are 6 sequences, not 9" in outcome.err


@pytest.mark.parametrize("samples", [100, 99])
def test_published_rows_stand_below_where_they_compare(samples):
    other = Published("others, published", 28.06, 0.8438)
    found = findings(torch.rand(2, samples, 6), samples=samples, published=(other,))
    *_, (heads, rows) = evaluation_report.tables(found)
    assert {len(row) for row in rows} == {len(heads)}
    published = [row for row in rows if row[1] == "others, published"]
    # The best of 100, of all frames.
    assert published == [["6", "others, published", "", "28.06", "", "0.8438"]] * (samples == 100)
    assert rows[-len(published) :] == published or not published


def test_a_copy_of_a_model_is_no_better_than_it_and_a_hair_better_is_seen():
    """Paired differences: what is the same for both models does not widen the interval."""
    hard = torch.linspace(10, 40, 20).view(20, 1, 1).expand(20, 3, 6)
    found = findings(hard[:2])
    scores = {
        name: Scores(hard + shift, hard, hard[..., :0], *[hard[..., :3]] * 1, *[hard[:, 0, :3]] * 4)
        for name, shift in zip(ROWS, (0.2, 0.0, 0.0, 0.0), strict=True)
    }
    found = Findings(
        [],
        found.rows,
        found.task._replace(groups=[*map(str, range(20))]),
        found.protocol,
        scores,
        scores["copy"],
        {},
    )
    (_, _, values), *_ = evaluation_report._compared(found)
    assert values["psnr"] == pytest.approx((0.2, 0.2, 0.2), abs=1e-4)
    assert values["energy"] == pytest.approx((0, 0, 0)) and not math.isnan(values["best"].value)


@pytest.mark.parametrize(
    "damage",
    [
        {"copy": None},
        {"copy": []},
        {evaluation_report.TRUE_FRAMES: None},
        {"psnr": None},
        {"psnr": [1.0]},
        {"psnr": torch.full((2, 1, 3), math.nan)},
        {"ssim": torch.zeros(3, 1, 3)},
        {"evil": torch.zeros(2)},
    ],
    ids=str,
)
def test_what_was_measured_is_read_with_a_check(damage):
    scores = {name: torch.ones(2, 1, 3) for name in Scores._fields}
    state = {evaluation_report.TRUE_FRAMES: dict(scores), "copy": scores}
    assert work._read_scores(state, [4, 2])[2]["copy"].psnr.shape == (1, 1, 3)
    (name,) = damage
    (state if name in state else scores).update(damage)
    assert work._read_scores(state, [4, 2]) is None


@pytest.mark.parametrize("state", [None, [], {}, {"copy": {}}])
def test_what_was_measured_is_not_something_else(state):
    assert work._read_scores(state, [0]) is None
