"""On a GPU: training steps and futures, against the textbook's and against what the chip can do."""

import copy

import torch

from benchmarks import rollout, training
from benchmarks.measure import alternate, table
from benchmarks.operations import counted, peaks
from benchmarks.textbook import Textbook, TextbookTraining
from drsvg_cli.inference.rollout import predict
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.folding import fold_batchnorm
from drsvg_cli.training.step import DRSVGLearner

TIMES = 8
"""How many times larger the products are that measure the peak: a GPU takes more to be filled."""
SHARE = 50
"""Of the textbook's futures, which are drawn one after the other, this part is measured."""


def steps(width, batch):
    """Give a row: a step and the textbook's, with its share of the peak."""
    recipe, device = training.recipe(width), torch.device("cuda")
    frames = training.random_frames(batch).to(device)
    learner = DRSVGLearner(recipe, device)
    model = DRSVG(recipe.model).to(device)
    book = TextbookTraining(model, recipe.model, recipe.training)
    book.model.to(device)
    real = frames.float() / 255
    sizes = recipe.model.content_dim, recipe.model.pose_dim
    noise = [torch.randn(len(frames), batch, size, device=device) for size in sizes]
    (multiply, products), (convolve, most) = peaks(device, times=TIMES)
    fast, textbook, product, convolution = alternate(
        lambda: learner.step(frames, 0),
        lambda: book.step(real, training.CONTEXT, noise),
        multiply,
        convolve,
    )
    speed = training.multiplications(width) * batch / training.BATCH / fast
    return [
        width,
        batch,
        f"{1000 * fast:.1f} ms",
        f"{batch / fast:.0f}",
        f"{1000 * textbook:.0f} ms",
        f"**{textbook / fast:.1f} ×**",
        f"{speed / (most / convolution):.0%}",
        f"{speed / (products / product):.0%}",
        f"{2 * products / product / 1e12:.0f}",
    ]


def futures(width, samples):
    """Give a row: so many futures of 25 frames, and the textbook's, one after the other."""
    model = rollout.model(width)
    context = torch.rand(1, rollout.CONTEXT, 1, 64, 64)
    with counted(model) as operations:
        predict(model, context, rollout.HORIZON, seeds=range(samples))
    model, context = model.cuda(), context.cuda()
    book = Textbook(copy.deepcopy(model)).eval().cuda()
    fold_batchnorm(model)

    def by_the_book():
        for seed in range(max(1, samples // SHARE)):
            book.sample(context[0], rollout.HORIZON, seed)

    convolve, most = peaks("cuda", times=TIMES)[1]
    fast, slow, convolution = alternate(
        lambda: predict(model, context, rollout.HORIZON, seeds=range(samples)),
        by_the_book,
        convolve,
    )
    slow *= samples / max(1, samples // SHARE)
    speed = operations.total() / fast
    return [
        width,
        samples,
        f"{1000 * fast:.0f} ms",
        f"{slow:.1f} s",
        f"**{slow / fast:.0f} ×**",
        f"{speed / (most / convolution):.1%}",
    ]


def run():
    if not torch.cuda.is_available():
        return ["There is no GPU here."]
    head = ["width", "sequences", "drsvg", "sequences a second"]
    head += ["textbook", "ratio", "of peak (convolution)", "of peak (matrix)", "peak, 10¹² op/s"]
    lines = table(head, [steps(*each) for each in ((32, 16), (32, 64), (32, 256), (64, 64))])
    head = ["width", "samples", "drsvg", "textbook", "ratio", "of peak (convolution)"]
    return [*lines, "", *table(head, [futures(*each) for each in ((32, 100), (32, 1000))])]


if __name__ == "__main__":
    print("\n".join(run()))
