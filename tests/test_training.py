"""Training: it learns, it stops safely, and it goes on as if it had never stopped."""

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from drsvg_cli import __version__
from drsvg_cli.config import DataConfig, Recipe, TrainingConfig, digest
from drsvg_cli.data.dataset import DataPaths, Progress
from drsvg_cli.errors import ConfigError, ResourceError, TrainingError, WeightsError
from drsvg_cli.evaluation.metrics import CEILING, psnr
from drsvg_cli.inference.rollout import predict
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.training import step as training_step
from drsvg_cli.training.preparation import prepare_run
from drsvg_cli.training.run_folder import LOG_FILE, STATE_FILE, read_log
from drsvg_cli.training.step import DRSVGLearner, learning_rate
from drsvg_cli.training.task import Task, Validation
from drsvg_cli.training.trainer import Step, fit
from drsvg_cli.weights.files import load_model, load_state, save_model, save_state
from drsvg_cli.weights.model_folder import WEIGHTS_FILE, read_history

CPU = torch.device("cpu")


class MovingSquare:
    """A bright square on a dark ground, moving right two pixels a frame; uint8 batches."""

    def __init__(self, length, *, poison=None):
        self.length = length
        self.poison = poison
        self.asked = []

    def batch(self, size, *, seed):
        self.asked.append(seed)
        generator = torch.Generator().manual_seed(sum(seed.encode()))
        starts = torch.randint(0, 20, (size, 2), generator=generator).tolist()
        frames = torch.full((self.length, size, 3, 32, 32), 20, dtype=torch.uint8)
        for number, (top, left) in enumerate(starts):
            for time in range(self.length):
                frames[time, number, :, top : top + 8, left + 2 * time : left + 2 * time + 8] = 230
        return frames.float() * math.nan if seed == self.poison else frames


@pytest.fixture(scope="module")
def make_recipe(tiny_config):
    def make(*, model=None, data=None, **training):
        defaults = {"steps": 6, "batch": 4, "adversarial": 0.01}
        defaults |= {"validate_every": 3, "checkpoint_every": 2}
        lengths = {"context": 2, "horizon": 2, "min_context": 1}
        return Recipe(
            name="square",
            model=tiny_config(**(model or {})),
            data=DataConfig(**(lengths | (data or {}))),
            training=TrainingConfig(**(defaults | training)),
        )

    return make


def held(length=4):
    return MovingSquare(length).batch(3, seed="held").transpose(0, 1).float() / 255


def task(recipe, *, sequences=None, start=None):
    """Learn from squares; the PSNR of two samples decides."""
    context, horizon = recipe.data.context, recipe.data.horizon
    sequences = sequences or MovingSquare(context + horizon)
    frames, training = held(context + horizon), recipe.training
    learner = DRSVGLearner(recipe, CPU, start)

    def validate():
        futures = predict(learner.average, frames[:, :context], horizon, seeds=[1, 2]).frames
        score = float(psnr(futures, frames[:, None, context:]).mean())
        return Validation(score, {"psnr": score})

    return Task(
        learner,
        lambda number: sequences.batch(training.batch, seed=f"{training.seed}/{number}"),
        validate,
    )


def run(recipe, folder, *, sequences=None, weights=None, **options):
    return fit(recipe, task(recipe, sequences=sequences, start=weights), folder, **options)


def equal(one, two):
    """Compare nested states bit for bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two


def state_of(folder):
    """Return all that a run resumes from, but for the time it took."""
    state = load_state(folder / STATE_FILE)
    assert state.pop("seconds") >= 0
    return {**state.pop("learner"), **state}


def test_every_step_is_recorded_and_the_folder_is_a_model(make_recipe, tmp_path):
    recipe = make_recipe()
    steps = list(run(recipe, tmp_path))
    assert [step.number for step in steps] == list(range(7))
    assert [step.number for step in steps if step.validation] == [0, 3, 6]
    assert all(math.isfinite(value) for step in steps for value in step.terms.values())
    _, read = load_model(tmp_path)
    assert read == recipe
    assert state_of(tmp_path)["number"] == 6
    lines = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 3, 6]
    assert lines[2]["psnr"] == lines[2]["score"] == steps[6].validation.score


def test_it_trains_alike_in_either_precision(make_recipe, tmp_path, monkeypatch):
    """Half is what graphics cards and some processors take."""
    errors = []
    for half in (True, False):
        monkeypatch.setattr(training_step, "fast_in_half", lambda device, half=half: half)
        steps = list(run(make_recipe(), tmp_path / str(half)))
        errors.append(steps[-1].terms["reconstruction"])
    assert errors[0] == pytest.approx(errors[1], rel=0.05)
    assert errors[0] != errors[1], "both were of one precision"


class Whole(NamedTuple):
    """A run that nothing interrupted."""

    recipe: Recipe
    folder: Path
    steps: list[Step]


@pytest.fixture(scope="module")
def whole(make_recipe, tmp_path_factory):
    recipe, folder = make_recipe(shuffled_features=0.5), tmp_path_factory.mktemp("whole")
    return Whole(recipe, folder, list(run(recipe, folder)))


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5])
def test_stopping_and_resuming_changes_no_bit(whole, tmp_path, stop):
    recipe = whole.recipe
    first = run(recipe, tmp_path / "parts")
    begun = [next(first) for _ in range(stop + 1)]
    first.close()
    assert state_of(tmp_path / "parts")["number"] == stop
    rest = list(run(recipe, tmp_path / "parts", resume=True))
    assert equal(state_of(whole.folder), state_of(tmp_path / "parts"))
    models = [load_model(path)[0].state_dict() for path in (whole.folder, tmp_path / "parts")]
    assert equal(dict(models[0]), dict(models[1]))
    for one, two in zip(whole.steps, begun + rest, strict=True):
        assert one._replace(rate=0) == two._replace(rate=0)


def test_a_killed_run_resumes_from_its_last_checkpoint(whole, tmp_path):
    killed = run(whole.recipe, tmp_path / "killed")
    for _ in range(4):  # steps 0 to 3; the checkpoint is that of step 2
        next(killed)
    saved = (tmp_path / "killed" / STATE_FILE).read_bytes()
    killed.close()
    (tmp_path / "killed" / STATE_FILE).write_bytes(saved)
    rest = list(run(whole.recipe, tmp_path / "killed", resume=True))
    assert rest[0].number == 3
    assert equal(state_of(whole.folder), state_of(tmp_path / "killed"))


def test_a_run_does_not_resume_on_other_clips(make_recipe, tmp_path):
    recipe = make_recipe(steps=2)
    clips = {"a.mp4": "learned 1", "b.mp4": "held 2"}
    list(run(recipe, tmp_path, origin=clips))
    for others, said in [
        ({"a.mp4": "learned 1"}, "b.mp4 is missing"),
        (clips | {"c.mp4": "learned 3"}, "c.mp4 is new"),
        (clips | {"a.mp4": "learned 4"}, "a.mp4 has changed"),
        (None, "a.mp4 is missing"),
    ]:
        with pytest.raises(TrainingError, match=f"other clips: {said}"):
            next(run(recipe, tmp_path, origin=others, resume=True))
    assert list(run(recipe, tmp_path, origin=clips, resume=True)) == []


def test_a_finished_run_has_nothing_left_to_do(make_recipe, tmp_path):
    recipe = make_recipe(steps=2)
    list(run(recipe, tmp_path))
    assert list(run(recipe, tmp_path, resume=True)) == []


def test_batches_are_asked_for_by_seed_and_step(make_recipe, tmp_path):
    sequences = MovingSquare(4)
    list(run(make_recipe(steps=4, seed=7), tmp_path, sequences=sequences))
    assert sequences.asked == ["7/0", "7/1", "7/2", "7/3"]


def test_another_seed_is_another_run(make_recipe, tmp_path):
    for seed in (0, 1):
        list(run(make_recipe(steps=1, seed=seed), tmp_path / str(seed)))
    one, two = (state_of(tmp_path / str(seed))["model"] for seed in (0, 1))
    assert not equal(one, two)


def test_the_global_generator_is_left_alone(make_recipe, tmp_path):
    before = torch.get_rng_state()
    list(run(make_recipe(steps=2), tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_good(make_recipe, tmp_path):
    recipe = make_recipe(steps=9, validate_every=1, checkpoint_every=2)
    steps = run(recipe, tmp_path, sequences=MovingSquare(4, poison="0/5"))
    for _ in range(6):  # 0 to 5
        next(steps)
    model = (tmp_path / WEIGHTS_FILE).read_bytes()
    with pytest.raises(TrainingError, match=r"not finite at step 5.*reconstruction nan"):
        next(steps)
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == model
    loaded, _ = load_model(tmp_path)
    state = state_of(tmp_path)
    assert state["number"] == 4
    for tensor in [*loaded.state_dict().values(), *state["model"].values()]:
        assert torch.isfinite(tensor).all()
    # The clips mended, the run goes on.
    assert [step.number for step in run(recipe, tmp_path, resume=True)] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("spare", [100, 3000])
def test_a_full_disk_keeps_the_checkpoint_before_and_says_so(whole, tmp_path, full_disk, spare):
    folder = tmp_path / "run"
    steps = run(whole.recipe, folder)
    for _ in range(3):  # 0 to 2
        next(steps)
    with full_disk(spare), pytest.raises(ResourceError, match=r"the checkpoint before is kept.*--"):
        list(steps)
    assert state_of(folder)["number"] == 2
    load_model(folder)
    assert not list(folder.rglob("*.part"))
    # There is room again.
    assert [step.number for step in run(whole.recipe, folder, resume=True)] == [3, 4, 5, 6]
    assert equal(state_of(whole.folder), state_of(folder))


def test_what_a_killed_run_logged_after_its_checkpoint_is_forgotten(make_recipe, tmp_path):
    recipe = make_recipe(validate_every=1, checkpoint_every=3)
    killed = run(recipe, tmp_path)
    for _ in range(4):  # 0 to 3
        next(killed)
    saved = (tmp_path / STATE_FILE).read_bytes()
    next(killed), next(killed)
    killed.close()
    (tmp_path / STATE_FILE).write_bytes(saved)
    with (tmp_path / LOG_FILE).open("a") as log:
        log.write('{"step": 6, "pred')  # torn
    assert [line["step"] for line in read_log(tmp_path)] == [0, 1, 2, 3, 4, 5]
    list(run(recipe, tmp_path, resume=True))
    assert [line["step"] for line in read_log(tmp_path)] == [0, 1, 2, 3, 4, 5, 6]


def test_a_run_without_its_log_or_its_facts_does_not_go_on(make_recipe, tmp_path):
    recipe = make_recipe()
    list(run(recipe, tmp_path))
    (tmp_path / LOG_FILE).rename(tmp_path / "log")
    with pytest.raises(TrainingError, match=f"{LOG_FILE.name} is gone"):
        next(run(recipe, tmp_path, resume=True))
    (tmp_path / "log").rename(tmp_path / LOG_FILE)
    save_state(tmp_path / STATE_FILE, {"model": {}})
    with pytest.raises(WeightsError, match="not a training state of this drsvg"):
        next(run(recipe, tmp_path, resume=True))


def test_a_discriminator_that_is_not_finite_stops_the_run(make_recipe, tmp_path, monkeypatch):
    recipe = make_recipe(checkpoint_every=1)
    steps = run(recipe, tmp_path)
    for _ in range(3):
        next(steps)
    monkeypatch.setattr(
        training_step,
        "discriminator_loss",
        lambda module, pose: module(pose, pose).sum() * math.nan,
    )
    with pytest.raises(TrainingError, match=r"not finite at step 2.*discriminator nan"):
        next(steps)
    state = state_of(tmp_path)
    assert state["number"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in state["discriminator"].values())


def test_a_model_that_no_memory_holds_is_refused_before_any_is_taken(make_recipe, tmp_path):
    recipe = make_recipe(model={"hidden": 8192})
    with pytest.raises(ConfigError, match="weights; the most is"):
        next(run(recipe, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_learning_rate_rises_and_then_falls(make_recipe, tmp_path):
    config = TrainingConfig(steps=1000, learning_rate=0.01)
    rates = [learning_rate(config, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01 / 100)
    assert max(rates) == pytest.approx(0.01, rel=0.03)
    assert rates.index(max(rates)) == pytest.approx(100, abs=2)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[550] == pytest.approx(0.01 * (0.5 + 0.5 * math.cos(math.pi * 0.55)))
    assert rates[-1] == pytest.approx(0.01 / 100)
    recipe = make_recipe(steps=3)
    list(run(recipe, tmp_path))
    (group,) = state_of(tmp_path)["optimizer"]["param_groups"]
    assert group["lr"] == pytest.approx(learning_rate(recipe.training, 2))


def test_a_moving_square_is_learned(make_recipe, tmp_path):
    recipe = make_recipe(
        model={"width": 8, "feature_dim": 16},
        steps=80,
        batch=8,
        learning_rate=0.01,
        validate_every=80,
        adversarial=0.0,
    )
    steps = list(run(recipe, tmp_path))
    losses = [step.terms["reconstruction"] for step in steps[1:]]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert steps[-1].validation.score > steps[0].validation.score + 2


def test_an_improvement_saves_the_averaged_weights(make_recipe, tmp_path):
    recipe = make_recipe(validate_every=1, checkpoint_every=1, steps=6, learning_rate=0.02)
    steps = run(recipe, tmp_path, keep="best")
    best, flags = -math.inf, []
    for step in steps:
        flags.append(step.kept)
        assert step.kept == (step.validation.score > best)
        best = max(best, step.validation.score)
        model, _ = load_model(tmp_path)
        if step.kept and step.number:
            state = state_of(tmp_path)
            for name, tensor in model.state_dict().items():
                expected = state["average"][name]
                if expected.is_floating_point():
                    expected = expected.half().float()
                assert torch.equal(tensor, expected), name
            assert not equal(state["average"], state["model"])
    assert flags[0]


@pytest.fixture
def losses(monkeypatch):
    """Return what `model_loss` was asked for, step by step."""
    asked, real = [], training_step.model_loss

    def watched(*arguments, **options):
        asked.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr(training_step, "model_loss", watched)
    return asked


def test_features_are_shuffled_after_one_observed_frame(make_recipe, tmp_path, losses):
    list(run(make_recipe(shuffled_features=0.5, steps=16, validate_every=16), tmp_path / "half"))
    seen = [(options["context"], options["order"]) for options in losses]
    shuffled = [tuple(order) for context, order in seen if order is not None and context == 1]
    usual = [context for context, order in seen if order is None]
    assert len(shuffled) + len(usual) == 16 and usual
    assert len(set(shuffled)) > 1


def test_the_number_of_observed_frames_varies(make_recipe, tmp_path, losses):
    list(run(make_recipe(steps=16, validate_every=16), tmp_path))
    assert {options["context"] for options in losses} == {1, 2}


def test_a_run_may_leave_its_last_weights_whatever_they_score(make_recipe, tmp_path):
    recipe = make_recipe(validate_every=2, checkpoint_every=2, steps=6, learning_rate=0.5)
    validated = [step for step in run(recipe, tmp_path) if step.validation]
    scores = [step.validation.score for step in validated]
    assert scores[-1] < max(scores)
    assert all(step.kept for step in validated)
    model, _ = load_model(tmp_path)
    average = state_of(tmp_path)["average"]
    assert torch.equal(model.predictor.embed.bias, average["predictor.embed.bias"].half().float())


class Counter:
    """Counts its steps, and learns nothing else."""

    def __init__(self):
        self.steps = torch.zeros(1)

    def step(self, batch, number):
        assert batch == number
        self.steps += 1
        return {"loss": 1.0}

    def state(self):
        return {"steps": self.steps}

    def load_state(self, state):
        self.steps = state["steps"]

    def export(self):
        return {"steps": self.steps}


def test_without_improvement_a_run_ends_by_patience(make_recipe, tmp_path):
    """A score that never changes: no validation beats the first; any learner will do."""
    recipe = make_recipe(steps=20, validate_every=2, checkpoint_every=20)
    counter = Counter()
    anything = Task(counter, lambda number: number, lambda: Validation(1.0, {"error": -1.0}))
    options = {"patience": 2, "keep": "best"}
    steps = fit(recipe, anything, tmp_path, **options)
    next(steps)
    model = (tmp_path / WEIGHTS_FILE).read_bytes()
    rest = list(steps)
    assert [step.number for step in rest] == [1, 2, 3, 4] and float(counter.steps) == 4
    assert not any(step.kept for step in rest)
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == model
    assert [line["error"] for line in read_log(tmp_path)] == [-1.0] * 3
    assert list(fit(recipe, anything, tmp_path, resume=True)) == []
    assert load_state(tmp_path / STATE_FILE)["number"] == 4


def test_the_header_tells_how_weights_came_to_be(make_recipe, tmp_path, tiny_model):
    recipe, longer = make_recipe(steps=4), make_recipe(steps=2)
    first = run(recipe, tmp_path / "one")
    next(first)
    first.close()
    list(run(recipe, tmp_path / "one", resume=True))
    begun = {"recipe": digest(recipe), "steps": 4, "start": "", "drsvg": __version__}
    assert read_history(tmp_path / "one") == [begun]
    history = read_history(tmp_path / "one")
    weights = load_model(tmp_path / "one")[0].state_dict()
    second = run(longer, tmp_path / "two", weights=weights, start="f" * 64, history=history)
    next(second)
    second.close()
    # A run that is resumed knows what it began with.
    list(run(longer, tmp_path / "two", resume=True))
    then = {"recipe": digest(longer), "steps": 2, "start": "f" * 64, "drsvg": __version__}
    assert read_history(tmp_path / "two") == [begun, then]
    save_model(tmp_path / "other", recipe, tiny_model().state_dict())
    assert read_history(tmp_path / "other") == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"learning_rate": 0.5}, "training.learning_rate = 0.002, not 0.5"),
        ({"model": {"pose_dim": 4}}, "model.pose_dim = 3, not 4"),
        ({"data": {"horizon": 3}}, "data.horizon = 2, not 3"),
    ],
)
def test_a_changed_recipe_cannot_be_resumed_and_the_change_is_named(
    make_recipe, tmp_path, changes, key
):
    list(run(make_recipe(steps=2), tmp_path))
    with pytest.raises(TrainingError, match=key):
        list(run(make_recipe(steps=2, **changes), tmp_path, resume=True))


def test_a_run_from_before_a_setting_existed_had_its_default(make_recipe, tmp_path):
    recipe = make_recipe()
    first = run(recipe, tmp_path)
    next(first)
    first.close()
    state = load_state(tmp_path / STATE_FILE)
    del state["facts"]["training.shuffled_features"]
    save_state(tmp_path / STATE_FILE, state)
    assert len(list(run(recipe, tmp_path, resume=True))) == 6


def test_how_often_to_look_may_change(make_recipe, tmp_path):
    first = run(make_recipe(), tmp_path)
    next(first)
    first.close()
    changed = make_recipe(validate_every=1, checkpoint_every=1)
    assert len(list(run(changed, tmp_path, resume=True))) == 6


def test_there_must_be_something_to_resume(make_recipe, tmp_path):
    with pytest.raises(WeightsError, match="no training state"):
        next(run(make_recipe(), tmp_path, resume=True))


def test_a_new_run_does_not_overwrite_another_one(make_recipe, tmp_path):
    recipe = make_recipe(steps=2)
    list(run(recipe, tmp_path))
    before = [(tmp_path / name).read_bytes() for name in (WEIGHTS_FILE, STATE_FILE)]
    with pytest.raises(TrainingError, match="already holds a model"):
        next(run(recipe, tmp_path))
    assert before == [(tmp_path / name).read_bytes() for name in (WEIGHTS_FILE, STATE_FILE)]
    (tmp_path / STATE_FILE).unlink()
    with pytest.raises(TrainingError, match="already holds a model"):
        next(run(recipe, tmp_path))


def test_training_starts_from_given_weights(make_recipe, tmp_path, tiny_model):
    start = tiny_model(seed=3).state_dict()
    steps = run(make_recipe(), tmp_path, weights=start)
    next(steps)
    steps.close()
    state = state_of(tmp_path)
    assert equal(dict(state["model"]), dict(start)) and equal(dict(state["average"]), dict(start))


def test_a_single_sequence_a_batch_can_be_trained_on(make_recipe, tmp_path):
    steps = list(run(make_recipe(batch=1, steps=2), tmp_path))
    assert steps[-1].terms["discriminator"] == 0


def test_validation_is_by_the_energy_score_of_the_averaged_weights(
    make_recipe, make_clip, tmp_path
):
    clips = [make_clip(tmp_path / f"{seed}.mkv", 8, seed=seed) for seed in (0, 1)]
    where = DataPaths(clips[:1], tmp_path / "cache", clips[1:])
    recipe = make_recipe(data={"frame_rate": 10.0})
    prepared = prepare_run(recipe, where, Progress(print, print), CPU)
    result = prepared.task.validate()
    assert result.measured.keys() == {"psnr", "lpips", "energy"}
    assert result.score == -result.measured["energy"]
    clips = torch.from_numpy(np.stack(prepared.validation)).movedim(-1, 2).float() / 255
    model = DRSVG(recipe.drsvg).eval()
    model.load_state_dict(prepared.task.learner.export())
    futures = predict(model, clips[:, :2], 2, seeds=range(1, 5)).frames
    psnrs = psnr(futures, clips[:, None, 2:]).clamp(max=CEILING)
    assert result.measured["psnr"] == pytest.approx(float(psnrs.mean()), rel=1e-2)
    assert len(prepared.task.batch(0)) == 4
    prepared.task.learner.step(prepared.task.batch(0), 0)
    assert prepared.task.validate() != result


@pytest.mark.parametrize("backbone", ["dcgan", "vgg"])
def test_other_sizes_are_a_setting(make_recipe, backbone):
    recipe = make_recipe(model={"backbone": backbone, "size": 128, "width": 2}, batch=2)
    learner = DRSVGLearner(recipe, CPU)
    frames = MovingSquare(3).batch(2, seed="0")
    terms = learner.step(frames.repeat_interleave(4, -1).repeat_interleave(4, -2), 0)
    assert math.isfinite(terms["loss"])


@pytest.fixture
def beginner(make_recipe):
    """Something that has not learned yet, and learns much at a step."""
    return DRSVGLearner(make_recipe(steps=100, learning_rate=0.02), CPU)


def test_the_discriminator_takes_a_step_at_the_same_rate(beginner):
    before = deepcopy(beginner.discriminator.state_dict())
    beginner.step(MovingSquare(4).batch(4, seed="0"), 0)
    after = beginner.discriminator.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before)
    optimizers = beginner.optimizer, beginner.discriminator_optimizer
    model, opponent = (each.param_groups[0] for each in optimizers)
    assert opponent["lr"] == model["lr"] > 0


def test_averaged_weights_and_statistics_follow_slowly(beginner):
    expected = deepcopy(beginner.average.state_dict())
    for step in range(12):
        beginner.step(MovingSquare(4).batch(4, seed=str(step)), step)
        decay = (2 + step) / (11 + step)
        for name, newest in beginner.model.state_dict().items():
            floats = newest.is_floating_point()
            expected[name] = expected[name].lerp(newest, 1 - decay) if floats else newest.clone()
    for name, average in beginner.average.state_dict().items():
        torch.testing.assert_close(average, expected[name], msg=name)


def test_every_step_has_its_own_noise(make_recipe, losses):
    batch = MovingSquare(4).batch(4, seed="0")
    drawn = []
    for number in (0, 1, 0):
        DRSVGLearner(make_recipe(), CPU).step(batch, number)
        drawn.append(losses[-1]["noise"](torch.empty(3)).tolist())
    assert drawn[0] == drawn[2] != drawn[1]


def test_the_loss_weighs_the_terms_as_the_recipe_says(make_recipe):
    learner = DRSVGLearner(make_recipe(beta=0.1, adversarial=0.2), CPU)
    terms = learner.step(MovingSquare(4).batch(4, seed="0"), 5)
    kl = terms["content_kl"] + terms["pose_kl"]
    expected = terms["reconstruction"] + 0.1 * kl + 0.2 * terms["adversarial"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)
