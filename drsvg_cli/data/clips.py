"""Any folder of clips as a source: which clips are usable, and which are kept apart."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from drsvg_cli.config import Recipe
from drsvg_cli.data.clip_cache import CachedClip, Rejected, scan
from drsvg_cli.data.clip_sequences import ClipSequences, split, spread
from drsvg_cli.data.clip_sequences import windows as cut_windows
from drsvg_cli.data.dataset import HELD_SEQUENCES, Benchmark, Listener, Material, Place
from drsvg_cli.data.windows import WindowCutter, shrink
from drsvg_cli.errors import ConfigError, TrainingError, VideoError
from drsvg_cli.frames import Frames, fit, to_frames, to_tensor
from drsvg_cli.video.finding import find_clips


def material(recipe: Recipe, place: Place, listener: Listener) -> Material:
    """Decode all clips once, say what is usable, and keep some apart."""
    kept = find_clips(place.held)
    apart = {path.resolve() for path in kept}
    paths = [path for path in find_clips(place.paths) if path.resolve() not in apart]
    if not paths:
        if not place.paths:
            raise ConfigError("there are no clips to learn from; name them with --data")
        raise TrainingError("all of the clips are kept for validation: none is left to learn from")
    # Batches are drawn by position: in whichever order clips are named, a run is the same.
    learned = sorted(usable(paths, place.cache / "learned", recipe, listener), key=_identity)
    if kept:
        held = sorted(usable(kept, place.cache / "held", recipe, listener), key=_identity)
    else:
        learned, held = split(learned, recipe.data, share=place.share, seed=recipe.training.seed)
    shared = bool(set(learned) & set(held))
    if shared:
        listener.note("one short clip is all there is: it serves to learn from and to validate on")
    for name, clips in (("to learn from", learned), ("to validate on", held)):
        count = sum(clip.windows(recipe.data) for clip in clips)
        listener.note(f"{name}: {len(clips)} clips, {seconds(clips):.0f} s, {count} sequences")
    check_batch(learned, recipe)
    fixed = cut_windows(held, model=recipe.model, data=recipe.data, most=HELD_SEQUENCES)
    return Material(
        ClipSequences(learned, recipe.model, recipe.data),
        fixed,
        origin=origin(learned, held),
        learned_words=f"{len(learned)} clips ({seconds(learned) / 60:.1f} minutes)",
        held_words=f"{len(fixed)} sequences from {len(held)} clips that "
        + ("were learned from as well" if shared else "were kept apart"),
    )


def check_batch(clips: Sequence[CachedClip], recipe: Recipe) -> None:
    """Make sure that clips fill a batch.

    Raises:
        TrainingError: they do not.
    """
    count, batch = sum(clip.windows(recipe.data) for clip in clips), recipe.training.batch
    if count < batch:
        raise TrainingError(
            f"the clips hold {count} sequences, fewer than a batch of {batch}; give more or longer "
            "clips, or a smaller batch: --batch of drsvg finetune, training.batch of a recipe"
        )


def _identity(clip: CachedClip) -> tuple[str, str]:
    """Say which clip one is, wherever it lies: its name, and what it holds."""
    return clip.path.name, clip.cache.name


def origin(learned: Sequence[CachedClip], held: Sequence[CachedClip]) -> dict[str, str]:
    """Say what a run learns from: the name of a file in the cache tells what a clip holds.

    The folders do not count: clips may be elsewhere when the run is resumed.
    """
    made: dict[str, str] = {}
    for role, clips in (("learned", learned), ("held", held)):
        for clip in clips:
            name = clip.path.name
            use = f"{role} {clip.cache.name} {clip.begin} {clip.end}"
            made[name] = f"{made[name]}, {use}" if name in made else use
    return made


def usable(
    paths: Sequence[Path], cache: Path, recipe: Recipe, listener: Listener
) -> Iterator[CachedClip]:
    """Decode clips, one after the other as they are asked for; note those that are left out."""
    first, found = "", False
    results = scan(paths, cache, model=recipe.model, data=recipe.data)
    for number, result in enumerate(results, start=1):
        listener.tick(number, len(paths))
        if isinstance(result, Rejected):
            first = first or result.reason
            listener.note(f"left out: {result.reason}")
        else:
            found = True
            yield result
    if not found:
        raise TrainingError(
            f"none of the {len(paths)} clips can be used ({first}); "
            f"sequences have {recipe.data.context + recipe.data.horizon} frames"
        )


def seconds(clips: Sequence[CachedClip]) -> float:
    """Return how long clips are together."""
    return sum(len(clip) / float(clip.rate) for clip in clips)


def benchmark(
    recipe: Recipe,
    place: Place,
    listener: Listener,
    *,
    context: int,
    horizon: int | None,
    most: int | None,
    side: int | None = None,
) -> Benchmark:
    """Cut windows from clips, one of each where there are clips enough, spread over all."""
    paths = find_clips(place.paths)
    if not paths:
        raise ConfigError("there are no clips to predict; name them with --data")
    each = 1 if most is None else math.ceil(most / len(paths))
    most, model, data = most or HELD_SEQUENCES, recipe.model, recipe.data
    cutter = WindowCutter(
        context=context,
        horizon=horizon or data.horizon,
        rate=Fraction(data.rate).limit_denominator(1001),
        shape=partial(_squared, recipe) if side is None else partial(shrink, side=side),
        each=each,
    )
    first, found = spread(paths, most), list[tuple[str, Frames]]()
    others = [path for path in paths if path not in set(first)]
    for number, path in enumerate([*first, *others], start=1):
        if number > len(first) and len(found) >= most:  # others stand in for those left out
            break
        listener.tick(number, len(first))
        try:
            found += [(str(path), window) for window in cutter.cut(path)]
        except VideoError as error:
            listener.note(f"left out: {error}")
    if not found:
        raise ConfigError(f"none of the {len(paths)} clips can be used")
    groups, windows = zip(*spread(found, most), strict=True)
    words = f"{len(windows)} windows of {len(set(groups))} clips"
    return Benchmark(windows, groups, words, (cutter.horizon,), model.channels)


def _squared(recipe: Recipe, frame: Frames) -> Frames:
    """Bring a frame to what a model sees: its size, and its colours."""
    fitted = fit(frame, recipe.model.size, how=recipe.data.fit)
    return to_frames(to_tensor(fitted[None], channels=recipe.model.channels))[0]


def conditions(recipe: Recipe) -> list[str]:
    """Say what the frames depend on beside their size and colour."""
    return [f"{recipe.data.rate:g} frames a second", f"fit {recipe.data.fit}"]


def lengthened(recipe: Recipe, *, context: int, horizon: int) -> Recipe:
    """Return a recipe that wants sequences of another length."""
    data = replace(recipe.data, context=context, horizon=horizon, shortest_context=1)
    return replace(recipe, data=data)


def quantised(frames: Tensor) -> Tensor:
    """Turn floats in [0, 1] into uint8."""
    return (frames * 255).round().to(torch.uint8)
