"""What a run resumes from is read with a check: a state or a log of something else is refused."""

import shutil

import pytest
import torch

from drsvg_cli.config import DataConfig, Recipe, TrainingConfig
from drsvg_cli.errors import TrainingError, WeightsError
from drsvg_cli.training.run_folder import LOG_FILE, STATE_FILE, read_log
from drsvg_cli.training.step import DRSVGLearner
from drsvg_cli.training.task import Task, Validation
from drsvg_cli.training.trainer import fit
from drsvg_cli.weights.files import load_state, save_state


def frames(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (4, 2, 3, 32, 32), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def recipe(tiny_config):
    lengths = {"context": 2, "horizon": 2, "min_context": 1}
    training = {"steps": 6, "batch": 2, "validate_every": 3, "checkpoint_every": 2}
    return Recipe(
        name="noise",
        model=tiny_config(),
        data=DataConfig(**lengths),
        training=TrainingConfig(**training),
    )


def run(recipe, folder, **options):
    learner = DRSVGLearner(recipe, torch.device("cpu"))
    task = Task(learner, frames, lambda: Validation(1.0, {"psnr": 1.0}))
    return fit(recipe, task, folder, **options)


DAMAGES = {
    "list": lambda state: [],
    "tensor": lambda state: torch.zeros(3),
    "none": lambda state: None,
    "no step": lambda state: state.pop("number"),
    "step": lambda state: state.update(number="3"),
    "step, a fraction": lambda state: state.update(number=1.5),
    "best": lambda state: state.update(best="high"),
    "stale": lambda state: state.update(stale=None),
    "seconds": lambda state: state.update(seconds=None),
    "origin": lambda state: state.update(origin=None),
    "origin, a tensor": lambda state: state.update(origin={"a.mp4": torch.zeros(2)}),
    "facts": lambda state: state.update(facts="general"),
    "facts, a tensor": lambda state: state["facts"].update({"model.width": torch.zeros(2)}),
    "learner": lambda state: state.update(learner=[]),
    "no model": lambda state: state["learner"].pop("model"),
    "model, empty": lambda state: state["learner"].update(model={}),
    "model, a list": lambda state: state["learner"].update(model=[]),
    "model, a shape": lambda state: state["learner"]["model"].update(
        {name: tensor[..., None] for name, tensor in state["learner"]["model"].items()}
    ),
    "optimizer, empty": lambda state: state["learner"].update(optimizer={}),
    "optimizer, none": lambda state: state["learner"].update(optimizer=None),
    "moments, a list": lambda state: state["learner"]["optimizer"].update(state=[1, 2]),
    "moments, a shape": lambda state: state["learner"]["optimizer"]["state"][0].update(
        exp_avg=torch.ones(1)
    ),
    "moments, a string": lambda state: state["learner"]["discriminator_optimizer"]["state"][
        0
    ].update(exp_avg="x"),
}


@pytest.fixture(scope="module")
def interrupted(recipe, tmp_path_factory):
    """A run of two steps that was interrupted."""
    folder = tmp_path_factory.mktemp("run")
    steps = run(recipe, folder)
    next(steps), next(steps), next(steps)
    steps.close()
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_state_with_something_else_in_it_is_refused(recipe, interrupted, tmp_path, damage):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    state = load_state(folder / STATE_FILE)
    changed = DAMAGES[damage](state)
    whole = damage in ("list", "tensor", "none")
    save_state(folder / STATE_FILE, changed if whole else state)
    with pytest.raises(WeightsError, match=r"state\.pt") as caught:
        next(run(recipe, folder, resume=True))
    said = str(caught.value)
    assert "\n" not in said and ("anew" in said or "new run" in said)


def test_settings_of_an_optimizer_are_the_run_s_own(recipe, interrupted, tmp_path):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    state = load_state(folder / STATE_FILE)
    state["learner"]["optimizer"]["param_groups"] = [{"lr": "x", "betas": None}] * 3
    save_state(folder / STATE_FILE, state)
    assert len(list(run(recipe, folder, resume=True))) == 4


@pytest.mark.parametrize(
    "line",
    [
        '{"step": null, "seconds": 1, "score": 1}',
        '{"step": "0", "seconds": 1, "score": 1}',
        '{"step": 0}',
        '{"step": 0, "seconds": 1, "score": NaN}',
        '{"step": 0, "seconds": 1, "score": []}',
        "[]",
        "1",
    ],
)
def test_a_log_with_something_else_in_it_is_refused(recipe, interrupted, tmp_path, line):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    with (folder / LOG_FILE).open("a") as log:
        log.write(line + "\n")
    with pytest.raises(TrainingError, match=r"line 2 of .*log\.jsonl .*remove the line"):
        next(run(recipe, folder, resume=True))
    first = (folder / LOG_FILE).read_text().splitlines()[0]
    (folder / LOG_FILE).write_text(f"{first}\n{'[' * 100_000}\n")  # torn, or near enough
    assert len(read_log(folder)) == 1
