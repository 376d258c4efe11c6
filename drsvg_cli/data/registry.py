"""Every source of sequences under the name that a recipe gives it.

The one place that knows them all: training asks for `material`, an evaluation for a `benchmark`.
Each question goes to the source's own module.
"""

from drsvg_cli.config import Recipe, Source
from drsvg_cli.data import clips, kth, moving_mnist, sprites
from drsvg_cli.data.dataset import Benchmark, Listener, Material, Offers, Place

_SOURCES: dict[Source, Offers] = {
    "clips": clips,
    "moving-mnist": moving_mnist,
    "kth": kth,
    "sprites": sprites,
}


def material(recipe: Recipe, place: Place, listener: Listener) -> Material:
    """Gather what a recipe learns from.

    Raises:
        DrsvgError: it is not there, is damaged, or is not enough.
    """
    return _SOURCES[recipe.data.source].material(recipe, place, listener)


def benchmark(
    source: Source,
    recipe: Recipe,
    place: Place,
    listener: Listener,
    *,
    context: int,
    horizon: int | None,
    most: int | None,
    side: int | None = None,
) -> Benchmark:
    """Gather the sequences that models like the one of `recipe` are compared on.

    Args:
        source: where they come from.
        recipe: says the size and channels of frames, and how clips are fitted.
        place: where the files are; all of its clips are taken.
        listener: is told of the progress.
        context: observed frames.
        horizon: predicted frames; those of the source's own protocol by default.
        most: sequences at most; those of the source's own protocol by default.
        side: pixels along the shorter side of whole frames; without it clips are brought to the
            squares of the recipe's model. A data set has frames of its own.

    Raises:
        DrsvgError: they are not there, are damaged, or none is long enough.
    """
    return _SOURCES[source].benchmark(
        recipe, place, listener, context=context, horizon=horizon, most=most, side=side
    )


def conditions(source: Source, recipe: Recipe) -> list[str]:
    """Say what the frames of a benchmark depend on beside their size and colour."""
    return _SOURCES[source].conditions(recipe)
