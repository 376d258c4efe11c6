"""Every data set under the name that a recipe gives it."""

from dataclasses import replace

from drsvg_cli.config import Recipe, Source
from drsvg_cli.data import clips, kth, moving_mnist, sprites
from drsvg_cli.data.dataset import (
    Benchmark,
    DataPaths,
    Dataset,
    Progress,
    TrainingData,
)

_DATASETS: dict[Source, Dataset] = {
    "clips": clips,
    "moving-mnist": moving_mnist,
    "moving-mnist-deterministic": moving_mnist,
    "kth": kth,
    "sprites": sprites,
}


def training_data(recipe: Recipe, paths: DataPaths, progress: Progress) -> TrainingData:
    """Gather what a model is trained on.

    Raises:
        DrsvgError: it is not there, is damaged, or is not enough.
    """
    return _DATASETS[recipe.data.source].training_data(recipe, paths, progress)


def benchmark(
    source: Source,
    recipe: Recipe,
    paths: DataPaths,
    progress: Progress,
    *,
    context: int,
    horizon: int | None,
    most: int | None,
    side: int | None = None,
) -> Benchmark:
    """Gather the sequences that models like the one of `recipe` are compared on.

    Args:
        source: the data set.
        recipe: says the size and channels of frames, and how clips are fitted.
        paths: where the files are; all of its clips are taken.
        progress: is told of the progress.
        context: observed frames.
        horizon: predicted frames; those of the data set's own protocol by default.
        most: sequences at most; those of the data set's own protocol by default.
        side: pixels along the shorter side of whole frames; without it clips are brought to the
            squares of the recipe's model. A data set has frames of its own.

    Raises:
        DrsvgError: they are not there, are damaged, or none is long enough.
    """
    recipe = replace(recipe, data=replace(recipe.data, source=source))
    return _DATASETS[source].benchmark(
        recipe, paths, progress, context=context, horizon=horizon, most=most, side=side
    )


def comparability(source: Source, recipe: Recipe) -> list[str]:
    """List what the frames of a benchmark depend on beside their size and colour."""
    recipe = replace(recipe, data=replace(recipe.data, source=source))
    return _DATASETS[source].comparability(recipe)
