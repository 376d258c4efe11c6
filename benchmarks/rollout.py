"""100 futures of 25 frames: drsvg, the textbook's loop, and what the machine could do at most."""

import copy

import torch

from benchmarks.measure import alternate, table
from benchmarks.operations import counted, peaks
from benchmarks.textbook import Textbook
from drsvg_cli.config import ModelConfig
from drsvg_cli.inference.rollout import predict
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.folding import fold_batchnorm

SAMPLES, HORIZON, CONTEXT = 100, 25, 5
SHARE = 10
"""The textbook draws one future after the other: a tenth of them takes a tenth of its time."""


def model(width):
    """Build the paper's model for Moving MNIST with weights and statistics at random."""
    torch.manual_seed(0)
    built = DRSVG(ModelConfig(channels=1, width=width)).eval()
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return built


def run():
    rows = []
    for width in (32, 64):
        ours = model(width)
        book = Textbook(copy.deepcopy(ours)).eval()
        context = torch.rand(1, CONTEXT, 1, 64, 64)
        with counted(ours) as operations:
            predict(ours, context, HORIZON, seeds=range(SAMPLES))
        fold_batchnorm(ours)
        found = predict(ours, context, HORIZON, seeds=[3]).frames[0, 0]
        assert (found - book.sample(context[0], HORIZON, 3)).abs().max() < 1e-4

        def draw(ours=ours, context=context):
            predict(ours, context, HORIZON, seeds=range(SAMPLES))

        def draw_by_the_book(book=book, context=context):
            for seed in range(SAMPLES // SHARE):
                book.sample(context[0], HORIZON, seed)

        (multiply, products), (convolve, most) = peaks()
        fast, slow, product, convolution = alternate(
            draw, draw_by_the_book, multiply, convolve, times=3
        )
        slow *= SHARE
        speed = operations.total() / fast
        rows.append(
            [
                width,
                f"{fast:.2f} s",
                f"{slow:.1f} s",
                f"**{slow / fast:.1f} ×**",
                f"{operations.total() / 1e9:.0f}",
                f"{speed / (most / convolution):.0%}",
                f"{speed / (products / product):.0%}",
            ]
        )
    head = ["width", "drsvg", "textbook", "ratio", "10⁹ mult."]
    head += ["of peak (convolution)", "of peak (matrix)"]
    return table(head, rows)


if __name__ == "__main__":
    print("\n".join(run()))
