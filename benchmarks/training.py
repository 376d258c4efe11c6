"""A training step: drsvg's own loop against the textbook's step.

Each runs in a process of its own, one after the other, because `drsvg train` changes how a process
keeps its memory.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.measure import alternate, table
from benchmarks.operations import counted, peaks
from benchmarks.textbook import TextbookTraining
from drsvg_cli.config import DataConfig, ModelConfig, Recipe, TrainingConfig
from drsvg_cli.device import keep_memory, tiny_as_zero
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.losses import model_loss
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.training.step import DRSVGLearner
from drsvg_cli.training.task import Task, Validation
from drsvg_cli.training.trainer import fit

CONTEXT, HORIZON, BATCH = 5, 10, 16
TURNS, STEPS = 3, 8


def random_frames(batch):
    return (torch.rand(CONTEXT + HORIZON, batch, 1, 64, 64) * 255).to(torch.uint8)


class Same:
    """The same batch again and again."""

    def __init__(self):
        self.frames = random_frames(BATCH)

    def batch(self, size, *, seed):
        return self.frames


def recipe(width):
    return Recipe(
        "benchmark",
        model=ModelConfig(channels=1, width=width),
        data=DataConfig(context=CONTEXT, min_context=CONTEXT, horizon=HORIZON),
        training=TrainingConfig(batch=BATCH, validate_every=10**6, checkpoint_every=10**6),
    )


@contextmanager
def ours(width):
    """Give drsvg's step, with what `drsvg train` sets up before."""
    keep_memory()
    with tiny_as_zero(), tempfile.TemporaryDirectory() as folder:
        same = Same()
        wanted = recipe(width)
        learner = DRSVGLearner(wanted, torch.device("cpu"))
        task = Task(learner, lambda _: same.frames, lambda: Validation(0.0, {}))
        steps = fit(wanted, task, Path(folder, "run"))
        yield lambda: next(steps)
        steps.close()


@contextmanager
def textbook(width):
    """Give the textbook's step."""
    wanted = recipe(width)
    book = TextbookTraining(DRSVG(wanted.model), wanted.model, wanted.training)
    frames = Same().frames.float() / 255
    sizes = wanted.model.content_dim, wanted.model.pose_dim
    noise = [torch.randn(len(frames), BATCH, size) for size in sizes]
    yield lambda: book.step(frames, CONTEXT, noise)


def multiplications(width):
    """Count those of a step: a pass forwards, and two as dear ones backwards."""
    wanted = recipe(width)
    model = DRSVG(wanted.model)
    with counted(model) as operations, torch.no_grad():
        model_loss(
            model,
            Same().frames.float() / 255,
            context=CONTEXT,
            noise=BatchNoise(0),
            discriminator=PoseDiscriminator(wanted.model.pose_dim),
        )
    return 3 * operations.total()


def seconds(side, width):
    """Measure a step in this process: the median of some."""
    taken = []
    with SIDES[side](width) as step:
        for number in range(3 + STEPS):
            begin = time.perf_counter()
            step()
            if number >= 3:  # the first ones are another thing
                taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


SIDES = {"ours": ours, "textbook": textbook}


def measured(side, width):
    command = [sys.executable, "-m", "benchmarks.training", side, str(width)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def run():
    rows = []
    for width in (32, 64):
        turns = [[measured(side, width) for side in SIDES] for _ in range(TURNS)]
        fast, slow = (statistics.median(each) for each in zip(*turns, strict=True))
        (multiply, products), (convolve, most) = peaks()
        product, convolution = alternate(multiply, convolve)
        speed = multiplications(width) / fast
        rows.append(
            [
                width,
                f"{fast:.2f} s",
                f"{BATCH / fast:.0f}",
                f"{slow:.2f} s",
                f"**{slow / fast:.1f} ×**",
                f"{speed / (most / convolution):.0%}",
                f"{speed / (products / product):.0%}",
            ]
        )
    head = ["width", "drsvg", "sequences a second", "textbook", "ratio"]
    head += ["of peak (convolution)", "of peak (matrix)"]
    return table(head, rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(seconds(sys.argv[1], int(sys.argv[2]))))
    else:
        print("\n".join(run()))
