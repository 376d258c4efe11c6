"""Several processes that train one model, on gloo."""

import os
import signal
import socket
import sys
from dataclasses import replace

import pytest
import torch
from conftest import TINY
from processes import Command, context

from drsvg_cli.config import DataConfig, ModelConfig, Recipe, TrainingConfig
from drsvg_cli.data.dataset import DataPaths, Progress
from drsvg_cli.errors import ConfigError, TrainingError
from drsvg_cli.recipe_file import format_recipe
from drsvg_cli.training import distributed
from drsvg_cli.training.preparation import prepare_run
from drsvg_cli.training.task import Validation
from drsvg_cli.training.trainer import fit
from drsvg_cli.weights.files import load_state

STEPS = 12
ENDED = 7
"""With which a process tells that it was told that another one has ended."""
RECIPE = Recipe(
    "tiny",
    model=ModelConfig(**TINY),
    data=DataConfig(frame_rate=10.0, context=3, horizon=4),
    training=TrainingConfig(steps=STEPS, batch=4, validate_every=STEPS, checkpoint_every=4),
)


@pytest.fixture(scope="module")
def clips(make_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(4):
        make_clip(folder / f"{seed}.mp4", seed=seed)
    return folder


def placed(rank, count, port):
    """Return the variables that torchrun sets."""
    here = {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)}
    return here | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def together(count, *given, **options):
    """Train in processes as torchrun starts them; return their exit codes."""
    port = free_port()
    started = [
        context().Process(target=_child, args=(placed(rank, count, port), given, options))
        for rank in range(count)
    ]
    for each in started:
        each.start()
    for each in started:
        each.join()
    return [each.exitcode for each in started]


def _child(place, given, options):
    os.environ |= place
    torch.set_num_threads(1)
    try:
        train(*given, **options)
    except TrainingError:
        sys.exit(ENDED)


def train(clips, run, *, resume=False, killed=None):
    """Train in this process, and in those beside it; return the state.

    In double precision: Adam makes a step of a gradient that is nothing but rounding, too. Process
    1 is killed after the step `killed`.
    """
    run.mkdir(exist_ok=True)
    with distributed.joined(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        paths = DataPaths([str(clips)], run / "training" / "clips", (), 0.3)
        told = Progress(lambda _: None, lambda *_: None)
        with distributed.first_before_others():
            prepared = prepare_run(RECIPE, paths, told, torch.device("cpu"))
        learner = prepared.task.learner
        for network in (learner.model, learner.average, learner.discriminator):
            network.double()
        task = replace(prepared.task, validate=lambda: Validation(0.0, {}))
        for step in fit(RECIPE, task, run, origin=prepared.fingerprint, resume=resume):
            if distributed.rank() == 1 and step.number == killed:
                os.kill(os.getpid(), signal.SIGKILL)
    return load_state(run / "training" / "state.pt")


def distance(state, other):
    """Return the largest difference of two runs' weights, in shares of a tensor's largest one."""
    assert state["number"] == other["number"]
    found = 0.0
    for part in ("model", "average", "discriminator"):
        for name, values in state["learner"][part].items():
            same = other["learner"][part][name]
            off = (values - same).abs().max() / values.abs().max().clamp(min=1e-3)
            found = max(found, float(off))
    return found


def test_two_processes_train_as_one_and_one_goes_on_where_two_were_killed(clips, tmp_path):
    alone = train(clips, tmp_path / "alone")

    codes = together(2, clips, tmp_path / "two")
    assert codes == [0, 0]
    assert distance(load_state(tmp_path / "two" / "training" / "state.pt"), alone) < 1e-9

    killed = tmp_path / "killed"
    codes = together(2, clips, killed, killed=6)
    assert codes == [ENDED, -signal.SIGKILL]
    assert load_state(killed / "training" / "state.pt")["number"] == 4
    assert distance(train(clips, killed, resume=True), alone) < 1e-9


def test_a_command_in_two_processes_leaves_what_one_leaves_and_speaks_once(clips, tmp_path):
    recipe = tmp_path / "tiny"
    recipe.mkdir()
    (recipe / "preset.toml").write_text(format_recipe(RECIPE))

    port, words = free_port(), ("train", recipe, "--data", clips, "-o", "run")
    commands = [
        Command(*words, cwd=tmp_path, env=os.environ | placed(rank, 2, port)) for rank in range(2)
    ]
    said = [each.communicate() for each in commands]
    assert [each.returncode for each in commands] == [0, 0], said
    assert b"drsvg predict CLIP --model" in said[0][0]
    assert said[1] == (b"", b"")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "preset.toml",
        "model.safetensors",
        "README.md",
        "validation.png",
        "training",
    }


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 3)
    with pytest.raises(ConfigError, match="a batch of 4 cannot be shared equally by 3 processes"):
        distributed.part(4)
