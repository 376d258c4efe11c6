"""Every data set under the name that a recipe gives it."""

from drsvg_cli.config import Recipe, Source
from drsvg_cli.data import clips, kth, moving_mnist, sprites
from drsvg_cli.data.dataset import (
    Benchmark,
    BenchmarkOptions,
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
    recipe: Recipe, paths: DataPaths, progress: Progress, options: BenchmarkOptions
) -> Benchmark:
    """Gather the sequences that models like the one of `recipe` are compared on.

    Raises:
        DrsvgError: they are not there, are damaged, or none is long enough.
    """
    return _DATASETS[recipe.data.source].benchmark(recipe, paths, progress, options)


def comparability(recipe: Recipe) -> list[str]:
    """List what a benchmark's frames depend on beside their size and colour."""
    data = recipe.data
    if data.source in ("clips", "kth"):
        return [f"{data.frame_rate:g} frames a second", f"fit {data.fit}"]
    return [data.source]
