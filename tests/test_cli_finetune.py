"""`drsvg finetune` and `drsvg train`: a model folder out of clips, whatever interrupts them."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout

import cv2
import kills
import pytest
import torch
from processes import context

from drsvg_cli.cli.app import main
from drsvg_cli.commands import train
from drsvg_cli.config import DataConfig, MotionConfig, Recipe, TrainingConfig
from drsvg_cli.data import clips as clip_files
from drsvg_cli.data import dataset, moving_mnist
from drsvg_cli.recipe_file import format_recipe
from drsvg_cli.storage import locked
from drsvg_cli.weights.files import load_model, save_model
from drsvg_cli.weights.model_folder import weights_path
from drsvg_cli.weights.registry import presets

STEPS = 15
LOGGED = [0, 3, 6, 9, 12, 15]
QUICK = ("--steps", STEPS, "--batch", 2, "--learning-rate", 0.01, "--seed", 3)
FILES = {"README.md", "model.safetensors", "preset.toml", "training", "validation.png"}


@pytest.fixture(scope="module", autouse=True)
def few_validations():
    """Validate on two sequences: what is measured is another test's."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (clip_files, dataset):
            patch.setattr(module, "VALIDATION_SEQUENCES", 2)
        yield


@pytest.fixture(scope="module")
def clips(tmp_path_factory, make_clip):
    folder = tmp_path_factory.mktemp("data") / "clips"
    for number in range(3):
        make_clip(folder / f"{number}.mp4", seed=number)
    return folder


@pytest.fixture
def tune(drsvg, model_folder):
    """Run `drsvg finetune` from the tiny model, on the CPU."""
    common = ("finetune", "--model", model_folder, "--device", "cpu")
    return lambda *arguments: drsvg(*common, *arguments)


@pytest.fixture
def interrupted(monkeypatch):
    """Return a function: press Ctrl-C during this step."""
    real = train.fit

    def at(number, kind=signal.SIGINT):
        monkeypatch.setattr(train, "fit", real if number is None else stopping(number, kind))

    return at


def stopping(number, kind):
    """Return what fits as usual, and in this step raises a signal."""
    real = train.fit

    def steps(*arguments, **options):
        inner = real(*arguments, **options)
        try:
            for step in inner:
                if step.number == number:
                    signal.raise_signal(kind)
                yield step
        finally:
            inner.close()

    return steps


@pytest.fixture(scope="module")
def told_run(clips, model_folder, tmp_path_factory):
    """The folder of a run that nothing interrupted, and what it said on stdout and stderr."""
    folder = tmp_path_factory.mktemp("whole")
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit, match="0"),
    ):
        patch.chdir(folder)
        patch.setattr(sys, "argv", command(clips, model_folder))
        main()
    return folder / "run", out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def whole_run(told_run):
    """The folder of a run that nothing interrupted."""
    return told_run[0]


@pytest.fixture
def stopped_run(stopped, tmp_path):
    """A run that was stopped at step 8, in the folder `run`."""
    return shutil.copytree(stopped, tmp_path / "run")


@pytest.fixture(scope="module")
def stopped(clips, model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit, match="130"):
        patch.chdir(folder)
        patch.setattr(train, "fit", stopping(8, signal.SIGINT))
        patch.setattr(sys, "argv", command(clips, model_folder))
        main()
    return folder / "run"


@pytest.fixture(scope="module")
def whole(whole_run):
    """The weights of a run that nothing interrupted."""
    return weights(whole_run)


def command(clips, model_folder):
    """Return how to fine-tune quickly, into the folder `run`."""
    options = ("--model", model_folder, "--device", "cpu", *QUICK, "-o", "run")
    return [str(part) for part in ("drsvg", "finetune", clips, *options)]


def weights(folder):
    """Return all weights of a model folder and its recipe, to compare."""
    model, recipe = load_model(folder)
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}, recipe


def log(folder):
    lines = (folder / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def names(folder):
    return {path.name for path in folder.iterdir()}


def assert_refused(outcome, code, *parts):
    """A mistake ends in one line that says so; notes may go before it."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    *notes, last = outcome.err.splitlines()
    assert last.startswith("error: ")
    assert not any(note.startswith("error") for note in notes)
    for part in parts:
        assert part in last


class TestFinetune:
    def test_writes_a_model_folder(self, drsvg, told_run, clips, model_folder, tmp_path):
        folder, out, err = told_run
        assert names(folder) == FILES
        model, recipe = load_model(folder)
        assert recipe.name == "run"
        assert (recipe.training.steps, recipe.training.batch) == (STEPS, 2)
        assert not model.training
        card = (folder / "README.md").read_text(encoding="utf-8")
        begun = f"{STEPS} steps from the weights of `{model_folder.name}`"
        for part in ("# run", begun, "2 clips", "| psnr |", "with the best score"):
            assert part in card
        assert cv2.imread(str(folder / "validation.png")).std() > 0
        assert [line["step"] for line in log(folder)] == LOGGED
        said, last = out.splitlines()[-2:]
        assert re.fullmatch(
            r"On 2 held-back sequences \(they chose the weights, too\) run is \d+ % closer "
            r"than tiny, .* than a still picture and .* than motion that goes on, by .*\.",
            said,
        )
        assert re.search(r"^takes (less than a minute|about \d)", err, re.M)
        assert "nats" not in out and "kl" not in err
        advice = shlex.split(last)
        assert advice == ["drsvg", "predict", "CLIP", "--model", "run"]
        shutil.copytree(folder, tmp_path / "run")
        clip, *options = clips / "0.mp4", "--size", "32", "-n", "2", "-q"
        assert drsvg("predict", clip, *advice[3:], *options) == (0, "", "")

    def test_json_and_quiet(self, tune, clips, tmp_path):
        outcome = tune(clips, *QUICK, "--steps", 2, "--json", "-q")
        assert (outcome.code, outcome.err) == (0, "")
        told = json.loads(outcome.out)
        assert told["folder"] == "clips-model", "by default"
        lines = log(tmp_path / "clips-model")
        assert told["steps"] == 2
        assert told["before"]["psnr"] == lines[0]["psnr"]
        assert told["after"]["energy"] == min(line["energy"] for line in lines)
        assert told["kept_step"] in [line["step"] for line in lines]
        for name in ("before", "after", "copy", "motion", "motion-speeds"):
            assert set(told[name]) == {"psnr", "lpips", "energy"}

    def test_it_learns(self, tune, clips, tmp_path):
        told = json.loads(tune(clips / "0.mp4", *QUICK, "--steps", 50, "--json").out)
        assert told["after"]["psnr"] > told["before"]["psnr"] + 1

    def test_a_run_that_gains_nothing_says_so_and_why(self, drsvg, clips, whole_run, tmp_path):
        options = ("--steps", 3, "--batch", 2, "--learning-rate", 1, "--seed", 3)
        outcome = drsvg(
            "finetune", clips, "--model", whole_run, *options, "--device", "cpu", "-o", "own"
        )
        assert outcome.code == 0, outcome
        assert weights(tmp_path / "own")[0] == weights(whole_run)[0]
        gained, why, compared = outcome.out.splitlines()[-3:]
        assert gained == (
            "Nothing was gained: in 3 steps no weights predicted 2 held-back sequences better than "
            "run, so own is run unchanged."
        )
        assert "2 clips (0.1 minutes)" in why and "too few" in why and "moves" not in why
        assert compared.startswith("run is ") and "a still picture" in compared
        assert "drsvg predict" not in outcome.out
        card = (tmp_path / "own" / "README.md").read_text(encoding="utf-8")
        assert "the weights are those of `run`, unchanged" in card

    def test_clips_held_back_are_not_learned(self, tune, clips, tmp_path, make_clip):
        make_clip(tmp_path / "apart" / "held.mp4", seed=4)
        outcome = tune(clips, "--validation", "apart", *QUICK, "--steps", 1, "-o", "run")
        assert outcome.code == 0, outcome
        assert "train: 3 clips" in outcome.err
        assert "validation: 1 clips" in outcome.err
        inner = clips / "1.mp4"
        outcome = tune(clips, "--validation", inner, *QUICK, "--steps", 1, "-o", "within")
        assert "train: 2 clips" in outcome.err
        assert "validation: 1 clips" in outcome.err
        outcome = tune(clips, "--validation", clips, *QUICK, "-o", "nothing")
        assert_refused(outcome, 1, "none is left to train on")
        assert not (tmp_path / "nothing").exists()

    def test_bad_clips_are_left_out(self, tune, clips, tmp_path, make_clip):
        (tmp_path / "[red]text.mp4").write_text("not a video")
        make_clip(tmp_path / "short.mp4", 4)
        named = (clips, "[red]text.mp4", "short.mp4")
        outcome = tune(*named, *QUICK, "--steps", 1, "-o", "run")
        assert outcome.code == 0, outcome
        left_out = [line for line in outcome.err.splitlines() if line.startswith("left out: ")]
        assert len(left_out) == 2
        assert "[red]text.mp4 is not a video" in left_out[0]
        assert "short.mp4: 0.40 s is too short; 0.70 s are needed" in left_out[1]


class TestRefusals:
    """Each leaves nothing behind, so that the next try finds a free folder."""

    @pytest.fixture(autouse=True)
    def leaves_nothing(self, tmp_path, make_clip):
        (tmp_path / "text.mp4").write_text("not a video")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("mine")
        (tmp_path / "empty").mkdir()
        make_clip(tmp_path / "short" / "a.mp4", 4)
        before = sorted(tmp_path.rglob("*"))
        yield
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("out", ["run", "empty", "a/b/run"])
    def test_nothing_to_learn_from(self, tune, clips, out):
        assert_refused(tune("text.mp4", "-o", out), 1, "none of the 1 clips can be used")
        assert_refused(tune("short", "-o", out), 1, "too short", "7 frames")
        assert_refused(tune("empty", "-o", out), 1, "no video file")
        assert_refused(tune("none", "-o", out), 1, "no such file")
        assert_refused(tune(clips, "--batch", 100, "-o", out), 1, "a batch of 100", "--batch")
        assert tune("short", "-o", out, "-q").err.count("\n") == 1

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            (("-o", "mine"), 2, "mine exists already; move it away or choose another"),
            (("-o", "text.mp4"), 2, "text.mp4 is in the way"),
            (("-o", os.fsdecode(b"caf\xe9")), 2, "is no name for a model folder: it is not UTF-8"),
            (("-o", "text.mp4/below"), 4, "cannot write to text.mp4/below"),
            (("-o", "mine", "--resume"), 1, "mine holds no run to resume"),
            (("-o", "none", "--resume"), 1, "none holds no run to resume"),
            (("--steps", 0), 2, "--steps is 0"),
            (("--batch", 1), 2, "--batch is 1"),
            (("--learning-rate", "nan"), 2, "--learning-rate is nan"),
            (("--share", 1), 2, "--share is 1"),
            (("--seed", -1), 2, "--seed is -1"),
            (("--model", "nonsense"), 3, "no model 'nonsense'"),
            (("--device", "nonsense"), 2, "'nonsense' is no device"),
            (("--validation", "none"), 1, "none: no such file"),
        ],
    )
    def test_options(self, tune, clips, options, code, said):
        assert_refused(tune(clips, *options), code, said)

    @pytest.mark.parametrize("recipe", [False, True])
    def test_a_folder_of_ours_is_no_run_because_of_its_name(
        self, drsvg, tune, model_folder, tmp_path, make_clip, recipe
    ):
        """Clips in `training`, beside a recipe or not, are not what a killed run left."""
        own = tmp_path / "own"
        for number in range(2):
            make_clip(own / "training" / f"{number}.mp4")
        (own / "notes.part").write_text("mine")
        if recipe:
            shutil.copy(model_folder / "preset.toml", own)
        before = sorted(tmp_path.rglob("*"))
        assert_refused(tune("own", "--batch", 4000, "-o", "own"), 2, "own exists already")
        outcome = drsvg("train", model_folder, "--data", "own", "--share", 0.9, "-o", "own")
        assert_refused(outcome, 2, "own exists already")
        assert sorted(tmp_path.rglob("*")) == before
        shutil.rmtree(own)

    def test_ctrl_c_while_the_clips_are_read(self, tune, clips, monkeypatch):
        def press(*_, **__):
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(clip_files, "fixed_windows", press)
        outcome = tune(clips, "-o", "run")
        assert (outcome.code, outcome.out) == (130, "")


class TestInterruptions:
    @pytest.mark.parametrize(
        ("number", "kind"), [(0, signal.SIGINT), (8, signal.SIGTERM), (STEPS, signal.SIGINT)]
    )
    def test_resuming_ends_as_if_uninterrupted(
        self, tune, clips, tmp_path, whole, interrupted, number, kind
    ):
        interrupted(number, kind)
        outcome = tune(clips, *QUICK, "-o", "run")
        assert (outcome.code, outcome.out) == (130, "")
        assert outcome.err.splitlines()[-1].startswith(f"stopped at step {number}; --resume")
        assert ("so far run is tiny unchanged" in outcome.err) == (number == 0)
        interrupted(None)
        outcome = tune(clips, *QUICK, "-o", "run", "--resume")
        assert outcome.code == 0, outcome
        assert names(tmp_path / "run") == FILES
        assert weights(tmp_path / "run") == whole
        assert [line["step"] for line in log(tmp_path / "run")] == LOGGED

    def test_the_order_of_the_clips_does_not_matter(self, tune, clips, stopped_run, whole):
        others = [clips / f"{number}.mp4" for number in (1, 2, 0)]
        assert tune(*others, *QUICK, "-o", "run", "--resume").code == 0
        assert weights(stopped_run) == whole

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the program forks")
    def test_kill_9_loses_nothing(self):
        program = context().Process(target=kills.survive, args=(2,))
        program.start()
        program.join()
        assert program.exitcode == 0

    def test_killed_while_the_clips_are_read(self, tune, clips, tmp_path, whole, monkeypatch):
        """Nothing can be resumed then, and the run may simply begin once more."""
        cache = tmp_path / "run" / "training" / "clips" / "train"
        cache.mkdir(parents=True)
        (cache / "0123.99.part").write_text("half")
        (tmp_path / "run" / ".preset.toml.99.part").write_text("half")
        (tmp_path / "run" / ".results.99.part").mkdir()
        assert_refused(tune(clips, *QUICK, "-o", "run", "--resume"), 1, "no run to resume")
        assert tune(clips, *QUICK, "-o", "run").code == 0
        assert weights(tmp_path / "run") == whole
        assert list(tmp_path.rglob("*.part")) == [tmp_path / "run" / ".results.99.part"]

    def test_a_second_process_is_refused(self, tune, clips, model_folder, tmp_path):
        begun = tmp_path / "begun"
        shutil.copytree(model_folder, begun)
        (begun / "training").mkdir()
        (begun / "training" / "state.pt").write_text("of the first process")
        (tmp_path / "empty").mkdir()
        before = sorted(tmp_path.rglob("*"))
        for folder, options in ((begun, ["--resume"]), (tmp_path / "empty", [])):
            with locked(folder):
                outcome = tune(clips, *QUICK, "-o", folder, *options)
            assert_refused(outcome, 1, f"another process is at work on {folder}")
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_full_disk(self, tune, clips, stopped_run, full_disk):
        before = (stopped_run / "training" / "state.pt").read_bytes()
        with full_disk(30_000):
            outcome = tune(clips, *QUICK, "-o", "run", "--resume")
        assert_refused(outcome, 4, "checkpoint before is kept", "--resume")
        assert (stopped_run / "training" / "state.pt").read_bytes() == before

    def test_killed_before_the_first_validation(self, tune, clips, tmp_path, whole, monkeypatch):
        def kill(*_, **__):
            raise SystemExit(-9)

        with monkeypatch.context() as patched:
            patched.setattr("drsvg_cli.training.preparation.score", kill)
            tune(clips, *QUICK, "-o", "run")
        assert not (tmp_path / "run" / "model.safetensors").exists()
        assert tune(clips, *QUICK, "-o", "run", "--resume").code == 0
        assert weights(tmp_path / "run") == whole

    def test_other_clips_do_not_resume_it(self, tune, clips, tmp_path, stopped_run, make_clip):
        before = (stopped_run / "training" / "state.pt").read_bytes()
        other = make_clip(tmp_path / "other.mp4", seed=5)
        outcome = tune(clips, other, *QUICK, "-o", "run", "--resume")
        assert_refused(outcome, 1, "run was trained on other clips", "other.mp4 is new")
        outcome = tune(clips, *QUICK, "-o", "run", "--resume", "--share", 0.6)
        assert_refused(outcome, 1, "run was trained on other clips", "is used otherwise")
        outcome = tune(clips / "0.mp4", clips / "1.mp4", *QUICK, "-o", "run", "--resume")
        assert_refused(outcome, 1, "run was trained on other clips", "2.mp4 is missing")
        assert (stopped_run / "training" / "state.pt").read_bytes() == before

    def test_a_finished_run_cannot_be_begun_again(self, tune, clips, whole_run, tmp_path):
        shutil.copytree(whole_run, tmp_path / "run")
        before = weights(tmp_path / "run")
        assert_refused(tune(clips, *QUICK, "-o", "run"), 2, "run exists already")
        assert tune(clips, *QUICK, "-o", "run", "--resume").code == 0
        assert weights(tmp_path / "run") == before


class TestTrain:
    def test_from_a_recipe(self, drsvg, model_folder, clips, tmp_path):
        (tmp_path / "mine").mkdir()
        recipe = (model_folder / "preset.toml").read_bytes()
        (tmp_path / "mine" / "preset.toml").write_bytes(recipe)
        common = ("train", "mine", "--data", clips / "0.mp4", "--data", clips / "1.mp4")
        outcome = drsvg(*common, "--steps", 10, "--device", "cpu")
        assert outcome.code == 0, outcome
        assert names(tmp_path / "mine-model") == FILES
        card = (tmp_path / "mine-model" / "README.md").read_text(encoding="utf-8")
        assert "steps from random weights" in card
        assert "with the best score" in card, "clips can be learned by heart"
        assert load_model(tmp_path / "mine-model")[1].training.steps == 10

    def test_finetuning_begins_with_the_model_s_weights(self, drsvg, model_folder, clips, tmp_path):
        options = ("--steps", 1, "--batch", 2, "--learning-rate", 1e-8, "--device", "cpu")
        outcome = drsvg("finetune", clips, "--model", model_folder, *options, "-o", "own")
        assert outcome.code == 0, outcome
        models = (load_model(folder)[0] for folder in (model_folder, tmp_path / "own"))
        begun, own = (model.predictor.embed.weight for model in models)
        torch.testing.assert_close(own, begun, atol=1e-3, rtol=0)

    def test_from_the_weights_of_a_model(self, drsvg, model_folder, clips, tmp_path):
        """More training: what is known already is not learned again."""
        (tmp_path / "mine").mkdir()
        text = (model_folder / "preset.toml").read_text(encoding="utf-8")
        (tmp_path / "mine" / "preset.toml").write_text(text, encoding="utf-8")
        common = ("--device", "cpu", "--steps", 3)
        outcome = drsvg("train", "mine", "--data", clips, *common, "--start", model_folder)
        assert outcome.code == 0, outcome
        tuned = ("--learning-rate", 0.01, "-o", "own")
        outcome = drsvg("finetune", clips, "--model", model_folder, *common, *tuned)
        assert outcome.code == 0, outcome
        begun, own = tmp_path / "mine-model", tmp_path / "own"
        assert log(begun)[0]["psnr"] == log(own)[0]["psnr"]
        for folder in (begun, own):
            card = (folder / "README.md").read_text(encoding="utf-8")
            assert f"3 steps from the weights of `{model_folder.name}`" in card
        outcome = drsvg("train", "mine", "--data", clips, "--start", "moving-mnist", "-o", "other")
        assert_refused(outcome, 2, "moving-mnist has ", "where the recipe has")
        assert not (tmp_path / "other").exists()

    def test_the_clips_are_the_user_s_own(self, drsvg, model_folder, clips, tmp_path, monkeypatch):
        """A preset speaks of other clips and their licence; a recipe of the user's speaks of these.

        The model is not taken for the preset, though both are called the same.
        """
        text = (model_folder / "preset.toml").read_text(encoding="utf-8")
        text = text.replace('license = "other"', 'license = "mit"')
        text = text.replace('training_data = ""', 'training_data = "clips of somebody"')
        (tmp_path / "presets" / "tiny").mkdir(parents=True)
        (tmp_path / "presets" / "tiny" / "preset.toml").write_text(text, encoding="utf-8")
        found = {"tiny": tmp_path / "presets" / "tiny"}
        monkeypatch.setattr("drsvg_cli.weights.registry.presets", lambda: found)
        for source, out, mine in (("tiny", "tiny", False), ("presets/tiny", "mine", True)):
            common = ("--data", clips, "--steps", 1, "--device", "cpu", "-o", out)
            outcome = drsvg("train", source, *common)
            assert outcome.code == 0, outcome
            recipe = load_model(tmp_path / out)[1]
            assert (recipe.license == "mit") == mine
            assert (recipe.training_data == "clips of somebody") == mine
            card = (tmp_path / out / "README.md").read_text(encoding="utf-8")
            assert ("clips of somebody" in card) == mine
            name = out if mine else "./tiny"
            assert outcome.out.endswith(f"drsvg predict CLIP --model {name}\n")
            assert f"    drsvg predict clip.mp4 --model {name}\n" in card

    def test_moving_mnist(self, drsvg, model_folder, write_mnist, tmp_path, monkeypatch):
        """Without a clip, from the cache or a folder; and it resumes."""
        monkeypatch.setattr(moving_mnist, "HELD", 20)
        monkeypatch.setenv("DRSVG_CACHE", str(tmp_path / "cache"))
        write_mnist(tmp_path / "cache" / "mnist")
        recipe = (model_folder / "preset.toml").read_text(encoding="utf-8")
        recipe = recipe.replace('"clips"', '"moving-mnist"').replace("channels = 3", "channels = 1")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "preset.toml").write_text(recipe, encoding="utf-8")
        outcome = drsvg("train", "mine", "--device", "cpu")
        assert outcome.code == 0, outcome
        assert "sequences/s" in outcome.err
        assert names(tmp_path / "mine-model") == FILES
        card = (tmp_path / "mine-model" / "README.md").read_text(encoding="utf-8")
        assert "Moving MNIST (stochastic walls, 60 digits)" in " ".join(card.split())
        assert "the last ones: no score chose them" in " ".join(card.split())
        outcome = drsvg("train", "mine", "--data", tmp_path / "cache" / "mnist", "--resume")
        assert outcome.code == 0, outcome
        assert log(tmp_path / "mine-model")[-1]["step"] == 10

    def test_a_model_of_whole_frames(self, drsvg, clips, tmp_path):
        """As `general` is one: it is trained, fine-tuned, and predicts."""
        recipe = Recipe(
            "flow",
            model=MotionConfig(content_dim=2, pose_dim=2, whole_dim=2, width=8),
            data=DataConfig(frame_rate=10.0, context=5, horizon=3),
            training=TrainingConfig(steps=2, batch=2),
        )
        (tmp_path / "flow").mkdir()
        (tmp_path / "flow" / "preset.toml").write_text(format_recipe(recipe), encoding="utf-8")
        outcome = drsvg("train", "flow", "--data", clips, "--device", "cpu")
        assert outcome.code == 0, outcome
        assert names(tmp_path / "flow-model") == FILES
        options = ("--model", "flow-model", "--steps", 1, "--batch", 2, "-o", "own")
        assert drsvg("finetune", clips, *options).code == 0
        assert load_model(tmp_path / "own")[1].base_model == "flow-model"
        options = ("--model", "own", "-n", 2, "-s", 1, "-q")
        assert drsvg("predict", clips / "0.mp4", *options) == (0, "", "")

    def test_fine_tuning_digits_learns_clips(self, drsvg, clips, tiny_model, tiny_config, tmp_path):
        recipe = Recipe(
            "digits",
            model=tiny_config(channels=1),
            data=DataConfig(source="moving-mnist", context=3, horizon=4),
        )
        save_model(tmp_path / "digits", recipe, tiny_model(channels=1).state_dict())
        options = ("--model", "digits", "--steps", 2, "--batch", 2, "--device", "cpu")
        outcome = drsvg("finetune", clips, *options, "-o", "mine")
        assert outcome.code == 0, outcome
        made = load_model(tmp_path / "mine")[1]
        assert made.data.source == "clips"

    def test_a_preset_that_is_a_recipe_alone(self, drsvg, clips):
        name = next(name for name, path in presets().items() if not weights_path(path).is_file())
        outcome = drsvg("predict", clips / "0.mp4", "--model", name)
        assert_refused(outcome, 3, "without weights", f"drsvg train {name}")
        listed = drsvg("models", "list", "--json")
        record = next(m for m in json.loads(listed.out)["models"] if m["model"] == name)
        assert (record["where"], record["bytes"]) == ("recipe", None)
        assert f"a recipe alone: drsvg train {name}" in drsvg("models", "info", name).out
        assert name in drsvg("models", "list").out, "whole, on a terminal of 80 columns"

    def test_refusals(self, drsvg, clips, tmp_path):
        (tmp_path / "bare").mkdir()
        assert_refused(drsvg("train", "bare", "--data", clips), 3, "bare is not a model folder")
        assert_refused(drsvg("train", "nonsense", "--data", clips), 3, "no model 'nonsense'")
        assert_refused(drsvg("train", "general", "--data", clips, "--steps", 0), 2, "--steps is 0")
        outcome = drsvg("train", "general")
        assert (outcome.code, outcome.out) == (2, "")
        assert "--data" in outcome.err
