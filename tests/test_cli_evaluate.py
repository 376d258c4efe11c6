"""`drsvg evaluate`: the same sequences for every model, whole, in part, and resumed."""

import json
import re
import shutil
import signal

import cv2
import pytest
import torch

from drsvg_cli.commands import evaluate as evaluate_predictions
from drsvg_cli.commands import evaluation_report
from drsvg_cli.commands.evaluation_report import Findings, Protocol
from drsvg_cli.commands.output_folder import kept_for_one
from drsvg_cli.config import DataConfig, Recipe
from drsvg_cli.data import moving_mnist
from drsvg_cli.data.dataset import Benchmark, Published
from drsvg_cli.data.moving_mnist import MovingDigits, part
from drsvg_cli.evaluation import prediction
from drsvg_cli.evaluation.classifier import Classifier
from drsvg_cli.evaluation.prediction import Curves, evaluate
from drsvg_cli.weights.files import load_model, save_classifier, save_model, save_state

QUICK = ("--horizon", 4, "--samples", 3, "--sequences", 5, "--device", "cpu")
FILES = {"curves.png", "evaluation.json", "examples.png", "table.md"}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(moving_mnist, "TEST_SEQUENCES", 6)
    monkeypatch.setattr(evaluate_predictions, "CLIPS_AT_ONCE", 2)


@pytest.fixture
def mnist(write_mnist, tmp_path):
    return write_mnist(tmp_path / "mnist")


@pytest.fixture
def save(tiny_model, tiny_config, tmp_path):
    """Return a function that writes a model of Moving MNIST."""

    def make(name, *, seed=0, channels=1, **changes):
        data = DataConfig(source="moving-mnist", context=3, horizon=2)
        config = tiny_config(channels=channels, **changes)
        weights = tiny_model(seed=seed, channels=channels, **changes).state_dict()
        save_model(tmp_path / name, Recipe(name, model=config, data=data), weights)
        return name

    return make


@pytest.fixture
def measure(drsvg, mnist, save):
    """Run `drsvg evaluate` with two models: DR-SVG and SVG-LP."""
    names = save("ours"), save("lp", seed=1, content_dim=0)
    return lambda *options: drsvg("evaluate", *names, "--data", mnist, *QUICK, *options)


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function: press Ctrl-C when so many pieces have been measured."""
    real = evaluate_predictions.evaluate

    def after(pieces):
        left = [pieces]

        def some(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                signal.raise_signal(signal.SIGINT)
            return real(*arguments, **options)

        monkeypatch.setattr(evaluate_predictions, "evaluate", real if pieces is None else some)

    return after


def record(folder):
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def names(folder):
    return {path.name for path in folder.iterdir()}


class TestResults:
    def test_are_what_the_library_measures(self, measure, mnist, tmp_path):
        outcome = measure("--json")
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)
        assert told == record(tmp_path / "evaluation")
        assert names(tmp_path / "evaluation") == FILES == set(told["files"])
        assert (told["sequences"], told["complete"]) == (5, True)
        assert (
            told["protocol"]["data"]
            == "5 sequences of Moving MNIST's test digits, stochastic walls"
        )
        model, recipe = load_model(tmp_path / "lp")
        digits = MovingDigits(part(mnist, "test"), recipe.model, 7, "stochastic")
        clips = digits.batch(6, seed="test").transpose(0, 1)[:5]
        scores = evaluate(model, clips, context=3, seeds=[1, 2, 3]).shown
        said = told["models"]["lp"]
        for name in ("psnr", "ssim"):
            curves = getattr(scores, name)
            mean, half = said[name]["horizons"]["4"]["mean"]
            assert mean == pytest.approx(float(curves.samples.mean()), rel=1e-5)
            each = curves.samples.mean((1, 2))
            assert half == pytest.approx(1.96 * float(each.std()) / 5**0.5, rel=1e-4)
            best = said[name]["horizons"]["4"]["best"][0]
            assert best == pytest.approx(float(curves.samples.mean(2).amax(1).mean()), rel=1e-5)
            frames = [value for value, _ in said[name]["frames"]]
            expected = curves.samples.double().mean((0, 1)).tolist()
            assert frames == pytest.approx(expected, rel=1e-5, abs=1e-6)
            copied = told["copy_last"][name]["horizons"]["4"]["mean"][0]
            assert copied == pytest.approx(float(curves.copied.mean()), rel=1e-5)

    def test_table(self, measure, tmp_path):
        outcome = measure()
        assert outcome.code == 0, outcome
        table = (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")
        accuracy, steadiness = table.split("\n\n")
        heads, _, *rows = (line.strip("| \n").split(" | ") for line in accuracy.splitlines())
        assert heads[2:4] == ["PSNR (dB), mean", "best of 3"] and "SSIM (SRVP), mean" in heads
        assert [row[:2] for row in rows] == [
            ["4", "ours"],
            ["4", "lp"],
            ["4", "copy of the last frame"],
        ]
        for row in rows:
            assert row[0] in outcome.out and row[2] in outcome.out
        assert "| true frames | 100 % | 100 % |" in steadiness

    def test_at_another_temperature(self, measure):
        """Without noise all samples are the same, so the best one is as good as their mean."""
        still = json.loads(measure("--json", "--temperature", "0", "-o", "still").out)
        own = json.loads(measure("--json").out)
        for told, temperature in ((still, 0), (own, 1)):
            model = told["models"]["lp"]
            assert model["temperature"] == temperature
            mean, best = (model["psnr"]["horizons"]["4"][kind][0] for kind in ("mean", "best"))
            assert (best - mean < 1e-6) == (temperature == 0)

    def test_pictures(self, measure, tmp_path):
        measure()
        curves, examples = (
            cv2.imread(str(tmp_path / "evaluation" / name))
            for name in ("curves.png", "examples.png")
        )
        green = (curves == (100, 200, 80)).all(-1)
        assert green.any(), "training stopped after 2 of 4 frames"
        assert len(set(green.any(0).nonzero()[0].tolist())) == 6, "a line in each of three panels"
        assert examples.std() > 10
        assert examples.shape[0] > 2 * 7 * 64, "two sequences: the truth and three a model"

    def test_one_sequence_has_no_interval(self, measure, tmp_path):
        outcome = measure("--sequences", 1, "--json")
        assert outcome.code == 0, outcome
        assert "NaN" not in outcome.out
        assert json.loads(outcome.out)["copy_last"]["psnr"]["frames"][0][1] is None
        assert "±" not in (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")

    def test_the_other_definition_of_ssim(self, measure, tmp_path):
        measure("-o", "srvp")
        measure("-o", "svg", "--ssim", "svg")
        one, other = record(tmp_path / "srvp"), record(tmp_path / "svg")
        assert one["models"]["ours"]["psnr"] == other["models"]["ours"]["psnr"]
        assert one["models"]["ours"]["ssim"] != other["models"]["ours"]["ssim"]
        assert "SSIM (SVG)" in (tmp_path / "svg" / "table.md").read_text(encoding="utf-8")

    def test_the_name_of_a_model_is_no_markup(self, drsvg, mnist, save, tmp_path):
        save("a[v2]|b")
        outcome = drsvg("evaluate", "./a[v2]|b", "--data", mnist, *QUICK)
        assert "a[v2]|b" in outcome.out
        table = (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")
        assert "a[v2]\\|b" in table

    def test_content(self, measure, tmp_path):
        """A classifier that says the same of every frame keeps all content or none."""
        classifier = Classifier({"digits": 55}, size=32, channels=1).eval()
        with torch.no_grad():
            for parameter in classifier.decide[-1].parameters():
                parameter.zero_()
            classifier.decide[-1].bias[7] = 1
        save_classifier(tmp_path / "c.safetensors", classifier, words="says 7")
        outcome = measure("--classifier", "c.safetensors", "--json")
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)
        table = (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")
        refused = measure("--classifier", "c.safetensors", "--swap")
        assert refused.code == 2 and "leave --classifier out with --swap" in refused.err
        assert "content kept" in table and "| 4 | true frames |" in table
        ceiling = told["true_frames"]["content"]
        shares = {value for value, _ in ceiling["frames"]}
        assert shares == {ceiling["horizons"]["4"]["mean"][0]}
        for model in told["models"].values():
            assert {value for value, _ in model["content"]["frames"]} == shares

    def test_clips_of_any_kind(self, drsvg, model_folder, make_clip, tmp_path):
        for number in range(2):
            make_clip(tmp_path / "clips" / f"{number}.mp4", seed=number)
        outcome = drsvg(
            "evaluate", model_folder, "--data", "clips", "-s", 2, "--sequences", 4, "--json"
        )
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)
        assert told["protocol"]["data"] == "4 sequences of 2 clips"
        assert list(told["models"]) == ["tiny"]
        assert list(told["models"]["tiny"]["psnr"]["horizons"]) == ["4"]

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
            assert protocol["data"] == "2 sequences of 2 clips"
            digests.append(protocol["digest"])
        assert digests[0] == digests[1]

    def test_clips_at_a_larger_size(self, drsvg, model_folder, make_clip, tmp_path):
        make_clip(tmp_path / "clip.mp4")
        options = ("--data", "clip.mp4", "--sequences", 2, "--size", 64, "--json")
        outcome = drsvg("evaluate", model_folder, *options, "-s", 2)
        assert outcome.code == 0, outcome
        told = json.loads(outcome.out)
        assert told["protocol"]["size"] == 64
        ours = told["models"]["tiny"]
        assert ours["enlarged"]["psnr"] != ours["psnr"]
        table = (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")
        assert table.count("tiny, enlarged") == 2
        assert ours["apart_moving"][0] > 0

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
    def test_what_is_measured_is_kept_and_gone_on_with(self, measure, interrupt, tmp_path):
        whole = json.loads(measure("-o", "whole", "--json").out)
        interrupt(5)  # two models: two pieces of two sequences are whole, and half of the third
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
        rest = record(folder)
        assert rest == whole

    def test_clips_at_a_larger_size_go_on_too(
        self, drsvg, interrupt, model_folder, make_clip, tmp_path
    ):
        make_clip(tmp_path / "clip.mp4")
        options = ("--data", "clip.mp4", "--sequences", 4, "--size", 64, "-s", 2)
        assert drsvg("evaluate", model_folder, *options, "-o", "whole").code == 0
        interrupt(1)
        assert drsvg("evaluate", model_folder, *options, "-o", "parts").code == 130
        interrupt(None)
        assert drsvg("evaluate", model_folder, *options, "-o", "parts", "--resume").code == 0
        assert record(tmp_path / "parts") == record(tmp_path / "whole")

    def test_while_examples_are_drawn(self, measure, monkeypatch, tmp_path):
        """All has been measured by then, and nothing is measured again."""
        whole = json.loads(measure("-o", "whole", "--json").out)
        with monkeypatch.context() as now:
            now.setattr(
                evaluation_report, "draw", lambda *_, **__: signal.raise_signal(signal.SIGINT)
            )
            assert measure("-o", "parts").code == 130
        assert names(tmp_path / "parts") == {"partial.pt"}
        monkeypatch.setattr(evaluate_predictions, "evaluate", None)
        assert measure("-o", "parts", "--resume").code == 0
        assert record(tmp_path / "parts") == whole

    def test_no_two_at_once_in_one_folder(self, measure, tmp_path):
        with kept_for_one(tmp_path / "evaluation"):
            outcome = measure()
            assert outcome.code == 2 and "another run is at work on evaluation" in outcome.err
            assert measure("-o", "other").code == 0
        assert not (tmp_path / "evaluation").exists()
        assert measure().code == 0
        assert names(tmp_path / "evaluation") == FILES

    def test_before_anything_is_measured(self, measure, interrupt, tmp_path):
        interrupt(0)
        assert measure().code == 130
        assert not (tmp_path / "evaluation").exists()

    def test_nothing_else_is_gone_on_with(self, measure, interrupt, tmp_path):
        interrupt(2)
        measure()
        interrupt(None)
        before = (tmp_path / "evaluation" / "partial.pt").read_bytes()
        for options, said in (
            (("--samples", 2), "samples = 3, not 2"),
            (("--ssim", "svg"), "ssim = srvp, not svg"),
            (("--sequences", 4), "data = 5 sequences of Moving MNIST"),
        ):
            outcome = measure("--resume", *options)
            assert outcome.code == 2 and outcome.err.count("error: ") == 1, outcome
            assert said in outcome.err
        recipe = tmp_path / "ours" / "preset.toml"
        text = recipe.read_text()
        for setting, value in (("noise_correlation", "0.5"), ("content_rollout", '"hold"')):
            recipe.write_text(re.sub(f"{setting} = .*", f"{setting} = {value}", text))
            assert f"the {setting} of ours" in measure("--resume").err
        assert (tmp_path / "evaluation" / "partial.pt").read_bytes() == before


def test_every_horizon_has_its_own_average(make_scores):
    curve = torch.tensor([10.0] * 4 + [4.0] * 2)
    scores = make_scores(Curves(curve.expand(2, 3, 6), (curve - 1).expand(2, 6)))
    task = Benchmark(torch.zeros(2, 9, 1, 32, 32), "words", (4, 6))
    protocol = Protocol("words", 3, 6, 3, 0, ssim="srvp", digest="", classifier="", size=32)
    (_, rows), _ = evaluation_report.tables(Findings([], task, protocol, {"ours": scores}, None))
    assert [row[2][:4] for row in rows] == ["10.0", "9.00", "8.00", "7.00"]
    summary = evaluation_report._summary(scores.psnr, (4, 6))["horizons"]
    assert [summary[str(n)][kind][0] for n in (4, 6) for kind in ("mean", "best")] == [10, 10, 8, 8]


class TestRefusals:
    def test_each_is_a_line(self, drsvg, measure, mnist, save, model_folder, tmp_path):
        save("large", size=64)
        measure("-o", "there")
        for arguments, code, said in (
            (("ours", "large"), 2, "32×32 pixels and 64×64 pixels"),
            (("ours", model_folder), 2, "gray and colour"),
            (("ours", "nonsense"), 3, "no model 'nonsense'"),
            (("ours", "-o", "there"), 2, "there exists already"),
            (("ours", "--resume", "-o", "there"), 2, "no evaluation that stopped"),
            (("ours", "--samples", 0), 2, "--samples is 0"),
            (("ours", "--classifier", "none"), 3, "none"),
            (("ours", "--classifier", "ours/model.safetensors"), 3, "no classifier"),
            (("ours", "--data", "nowhere"), 3, "nowhere: no such folder"),
            (("ours", "--source", "clips"), 1, "no video file"),
            (("ours", "--size", 64), 2, "moving-mnist are measured at the models' 32 pixels"),
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
        monkeypatch.delattr(evaluate_predictions, "load")
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


def test_memory_is_bounded_by_turns(tiny_model, noisy_frames, monkeypatch):
    """However the work is cut up, the scores are the same; and no turn is larger than allowed."""
    model, clips = tiny_model(), noisy_frames(5, 6, 3, 32, 32)
    ticks, sizes = [], []
    whole = evaluate(model, clips, context=2, seeds=range(7), tick=ticks.append).shown
    assert sum(ticks) == 5 * 7
    real = prediction.predict

    def watched(*arguments, **options):
        rollout = real(*arguments, **options)
        sizes.append(rollout.frames.numel())
        return rollout

    monkeypatch.setattr(prediction, "predict", watched)
    monkeypatch.setattr(prediction, "CLIPS_AT_ONCE", 2)
    monkeypatch.setattr(prediction, "LARGEST_TURN", 60_000)
    parts = evaluate(model, clips, context=2, seeds=range(7)).shown
    assert max(sizes) <= 60_000 and len(sizes) > 6
    torch.testing.assert_close(whole.apart_moving, parts.apart_moving, rtol=1e-3, atol=1e-3)
    for one, two in zip(whole[:3], parts[:3], strict=True):
        torch.testing.assert_close(one.samples, two.samples, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.copied, two.copied)


@pytest.mark.parametrize(("ssim", "samples"), [("srvp", 100), ("svg", 100), ("srvp", 99)])
def test_published_rows_stand_below_where_they_compare(ssim, samples, make_scores):
    curves = Curves(torch.rand(2, samples, 6), torch.rand(2, 6))
    other = Published("others, published", 28.06, 0.8438)
    task = Benchmark(torch.zeros(2, 9, 1, 32, 32), "words", (4, 6), published=(other,))
    protocol = Protocol(
        "words", 3, 6, samples=samples, seed=0, ssim=ssim, digest="", classifier="", size=32
    )
    found = Findings([], task, protocol, {"ours": make_scores(curves)}, None)
    (heads, rows), _ = evaluation_report.tables(found)
    assert {len(row) for row in rows} == {len(heads)}
    published = [row for row in rows if row[1] == "others, published"]
    # The best of 100, of all frames; SVG's SSIM is another measure.
    comparable = (ssim, samples) == ("srvp", 100)
    assert published == [["6", "others, published", "", "28.06", "", "0.8438"]] * comparable
    assert rows[-len(published) :] == published or not published
