"""Kill training at random moments and see that nothing is lost: `python tests/kills.py 50`.

Runs of `drsvg train` are killed with SIGKILL and resumed until each is done. After every kill,
the checkpoint and the model must load; at the end of a run the weights, the state and the log
must be those of a run that nothing interrupted.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from conftest import TINY
from hostile_clips import moving, write

from drsvg_cli.cli.app import main
from drsvg_cli.config import DataConfig, ModelConfig, Recipe, TrainingConfig
from drsvg_cli.recipe_file import format_recipe
from drsvg_cli.weights.files import load_model, load_state

STEPS = 16
INTERVAL = 4
"""Steps from checkpoint to checkpoint; every second one is in the log, so a loss shows."""


class Count(NamedTuple):
    """What came of all kills."""

    kills: int
    runs: int
    """That were killed, resumed, and ended with the same bits."""
    early: int
    """Kills before there was a checkpoint."""
    lost: int
    """The most steps that a kill cost, by the log; at most one interval may."""


def start(arguments, folder):
    """Run the command line in a forked process, which has all libraries loaded already."""
    process = os.fork()
    if process:
        return process
    try:
        os.chdir(folder)
        with Path("said.txt").open("a") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        torch.set_num_threads(1)
        sys.argv = ["drsvg", *map(str, arguments)]
        main()
    except SystemExit as end:
        os._exit(end.code or 0)
    os._exit(99)


def end(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def what_is_left(run):
    """Load everything that a run has saved: the step of its state, and of its last validation."""
    state, log = run / "training" / "state.pt", run / "training" / "log.jsonl"
    step = load_state(state)["number"] if state.exists() else None
    if (run / "model.safetensors").exists():
        load_model(run)
    lines = log.read_text().splitlines() if log.exists() else []
    validated = [json.loads(line)["step"] for line in lines]
    return step, max(validated, default=0)


def outcome(run):
    """Return all that a run leaves, apart from how long it took."""
    state = load_state(run / "training" / "state.pt")
    del state["seconds"]
    log = [json.loads(line) for line in (run / "training" / "log.jsonl").read_text().splitlines()]
    for line in log:
        del line["seconds"], line["sequences_per_second"]
    parts = [comparable(state), log]
    return parts + [(run / name).read_bytes() for name in ("model.safetensors", "preset.toml")]


def comparable(value):
    """Turn nested tensors into what `==` compares bit for bit."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    return value


def kill_and_resume(clips, recipe, folder, *, kills, seed):
    """Kill runs `kills` times in all; raise AssertionError where something is lost.

    Args:
        clips: what to learn from.
        recipe: a folder with the recipe of a tiny model.
        folder: an empty folder to work in.
        kills: how many.
        seed: of the moments.
    """
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports, once for all forks
    common = ("train", recipe, "--data", clips, "--device", "cpu", "-q")
    began = time.monotonic()
    assert end(start([*common, "-o", "whole/run"], folder)) == 0, (folder / "said.txt").read_text()
    took = time.monotonic() - began
    expected = outcome(folder / "whole" / "run")
    chance, done, runs, early, lost = random.Random(seed), 0, 0, 0, 0
    while done < kills:
        run = folder / str(runs) / "run"  # the name is in the recipe
        while True:
            resume = ["--resume"] if (run / "training" / "state.pt").exists() else []
            process = start([*common, "-o", run, *resume], folder)
            if done < kills:
                time.sleep(chance.uniform(0, took))
                os.kill(process, 9)
            code = end(process)
            if code == 0:
                break
            assert code == -9, (code, (folder / "said.txt").read_text())
            done += 1
            step, validated = what_is_left(run)
            early += step is None
            lost = max(lost, validated - (step or 0))
            assert lost <= INTERVAL, f"{validated} validated, {step} saved"
        assert outcome(run) == expected, f"{run} ended otherwise"
        parts = list(run.rglob("*.part"))
        assert not parts, parts
        runs += 1
    return Count(done, runs, early, lost)


def prepare(folder):
    """Write three short clips and the recipe of a tiny model; return both folders."""
    (folder / "clips").mkdir()
    for number in range(3):
        write(folder / "clips" / f"{number}.mp4", moving(9)[:, :, :: (-1) ** number])
    recipe = Recipe(
        "tiny",
        model=ModelConfig(**TINY),
        data=DataConfig(frame_rate=10.0, context=3, horizon=4),
        training=TrainingConfig(steps=STEPS, batch=2, validate_every=2, checkpoint_every=INTERVAL),
    )
    (folder / "recipe").mkdir()
    (folder / "recipe" / "preset.toml").write_text(format_recipe(recipe), encoding="utf-8")
    return folder / "clips", folder / "recipe"


def survive(kills):
    """Kill training so often; return what came of it, AssertionError where something is lost."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        return kill_and_resume(*prepare(place), place, kills=kills, seed=time.time())


if __name__ == "__main__":
    count = survive(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
    sys.stdout.write(
        f"{count.kills} kills, {count.early} of them before the first checkpoint; {count.runs} "
        f"runs ended with the bits of an uninterrupted one; at most {count.lost} steps of {STEPS} "
        f"lost, with a checkpoint every {INTERVAL}\n"
    )
