"""A training step: drsvg's own loop against the textbook's step."""

import itertools
import tempfile
from pathlib import Path

import torch

from benchmarks.measure import alternate, table
from benchmarks.operations import counted, peaks
from benchmarks.textbook import TextbookTraining
from drsvg_cli.config import DataConfig, ModelConfig, Recipe, TrainingConfig
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.training import fast_in_half, fit

CONTEXT, HORIZON, BATCH = 5, 10, 16


class Same:
    """The same batch again and again."""

    def __init__(self):
        shape = (CONTEXT + HORIZON, BATCH, 1, 64, 64)
        self.frames = (torch.rand(shape) * 255).to(torch.uint8)

    def batch(self, size, *, seed):
        return self.frames


def run():
    half = fast_in_half(torch.device("cpu"))
    rows = []
    for width in (32, 64):
        recipe = Recipe(
            "benchmark",
            model=ModelConfig(channels=1, width=width),
            data=DataConfig(context=CONTEXT, shortest_context=CONTEXT, horizon=HORIZON),
            training=TrainingConfig(batch=BATCH, validate_every=10**6, checkpoint_every=10**6),
        )
        same = Same()
        frames = same.frames.float() / 255
        model = DRSVG(recipe.model)
        book = TextbookTraining(model, recipe.model, recipe.training)
        sizes = [latent.dim for latent in model.latents]
        noise = [torch.randn(len(frames), BATCH, size) for size in sizes]
        with counted(book.model) as operations:
            book.model.loss(frames, CONTEXT, noise)
        with tempfile.TemporaryDirectory() as folder:
            held = frames.transpose(0, 1)[:1]
            steps = fit(recipe, same, held, Path(folder, "run"), device=torch.device("cpu"))
            for _ in itertools.islice(steps, 3):
                pass
            (multiply, products), (convolve, most) = peaks(
                torch.bfloat16 if half else torch.float32
            )
            fast, slow, product, convolution = alternate(
                lambda steps=steps: next(steps),
                lambda book=book, frames=frames, noise=noise: book.step(frames, CONTEXT, noise),
                multiply,
                convolve,
                times=5,
            )
            steps.close()
        speed = 3 * operations[0] / fast
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
    print("\n".join(run()))
