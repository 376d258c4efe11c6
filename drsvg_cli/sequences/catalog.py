"""Every source of sequences under the name that a recipe gives it.

The one place that knows them all: training asks for `material`, an evaluation for a `benchmark`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from drsvg_cli.classifier import Draw
from drsvg_cli.config import Recipe, Source
from drsvg_cli.errors import ConfigError, DataError, TrainingError
from drsvg_cli.mirrors import cache_folder
from drsvg_cli.sequences import moving_mnist
from drsvg_cli.sequences.clips import CachedClip, ClipSequences, Rejected, scan, split, windows
from drsvg_cli.sequences.moving_mnist import MovingDigits, Part
from drsvg_cli.video import find_clips

HELD_SEQUENCES = 64
"""Sequences that a run is validated on."""


@dataclass(frozen=True)
class Place:
    """Where the files are, as the command line names them."""

    paths: Sequence[Path | str]
    """Clips and folders of clips, or the one folder of a data set; its cache if there is none."""
    cache: Path
    """A folder for decoded clips."""
    held: Sequence[Path | str] = ()
    """Clips to validate on."""
    share: float = 0.15
    """Share of the clips to validate on where none are named."""


@dataclass(frozen=True)
class Listener:
    """Who is told while files are read."""

    note: Callable[[str], object]
    """Takes a remark in passing."""
    tick: Callable[[int, int], object]
    """Takes how many files are read, and of how many."""


class Material(NamedTuple):
    """What a run learns from and what it is validated on."""

    sequences: ClipSequences | MovingDigits
    held: Tensor
    """Fixed sequences, float `(N, T, C, S, S)` in [0, 1]."""
    origin: Mapping[str, str]
    """What they are made from, and in which state, by the name of each file or data set."""
    learned_words: str
    """What is learned from, as a model card says it."""
    held_words: str


class Benchmark(NamedTuple):
    """Fixed sequences that models are compared on."""

    frames: Tensor
    """uint8 `(N, T, C, S, S)`."""
    words: str
    horizons: tuple[int, ...]
    """Numbers of predicted frames that results are quoted for; the last one is all of them."""
    labels: Mapping[str, Tensor]
    """What every sequence shows, `(N,)` class indices an attribute; empty where nobody knows."""

    @property
    def digest(self) -> str:
        """Sum up the sequences: equal digests mean equal frames."""
        return hashlib.sha256(self.frames.contiguous().numpy().tobytes()).hexdigest()


def material(recipe: Recipe, place: Place, listener: Listener) -> Material:
    """Gather what a recipe learns from.

    Raises:
        DrsvgError: it is not there, is damaged, or is not enough.
    """
    match recipe.data.source:
        case "clips":
            return _clips_material(recipe, place, listener)
        case "moving-mnist":
            return _digits_material(recipe, place)


def benchmark(
    source: Source,
    recipe: Recipe,
    place: Place,
    listener: Listener,
    *,
    context: int,
    horizon: int | None,
    most: int | None,
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

    Raises:
        DrsvgError: they are not there, are damaged, or none is long enough.
    """
    match source:
        case "clips":
            longest = horizon or recipe.data.horizon
            wanted = replace(
                recipe.data, context=context, horizon=longest, shortest_context=min(context, 1)
            )
            return _clips_benchmark(replace(recipe, data=wanted), place, listener, most=most)
        case "moving-mnist":
            return _digits_benchmark(recipe, place, context=context, horizon=horizon, most=most)


class Examples(NamedTuple):
    """Single frames to learn a classifier from, and to measure it on."""

    attributes: Mapping[str, int]
    """How many classes each attribute has."""
    learned: Draw
    tested: Draw


def examples(source: Source, recipe: Recipe, place: Place) -> Examples:
    """Gather frames of which it is known what they show.

    Raises:
        DrsvgError: they are not there or damaged, or nobody knows what they show.
    """
    match source:
        case "clips":
            raise ConfigError("nobody knows what ordinary clips show; name a data set")
        case "moving-mnist":
            return _digits_examples(recipe, place)


def _clips_material(recipe: Recipe, place: Place, listener: Listener) -> Material:
    """Decode all clips once, say what is usable, and keep some apart."""
    kept = find_clips(place.held)
    apart = {path.resolve() for path in kept}
    paths = [path for path in find_clips(place.paths) if path.resolve() not in apart]
    if not paths:
        if not place.paths:
            raise ConfigError("there are no clips to learn from; name them with --data")
        raise TrainingError("all of the clips are kept for validation: none is left to learn from")
    learned = list(_usable(paths, place.cache / "learned", recipe, listener))
    if kept:
        held = list(_usable(kept, place.cache / "held", recipe, listener))
    else:
        learned, held = split(learned, recipe.data, share=place.share, seed=recipe.training.seed)
    shared = bool(set(learned) & set(held))
    if shared:
        listener.note("one short clip is all there is: it serves to learn from and to validate on")
    for name, clips in (("to learn from", learned), ("to validate on", held)):
        count = sum(clip.windows(recipe.data) for clip in clips)
        listener.note(f"{name}: {len(clips)} clips, {_seconds(clips):.0f} s, {count} sequences")
    count, batch = sum(clip.windows(recipe.data) for clip in learned), recipe.training.batch
    if count < batch:
        raise TrainingError(
            f"the clips hold {count} sequences, fewer than a batch of {batch}; "
            "give more or longer clips, or a smaller --batch"
        )
    fixed = windows(held, model=recipe.model, data=recipe.data, most=HELD_SEQUENCES)
    return Material(
        ClipSequences(learned, recipe.model, recipe.data),
        fixed,
        origin=_origin(learned, held),
        learned_words=f"{len(learned)} clips ({_seconds(learned) / 60:.1f} minutes)",
        held_words=f"{len(fixed)} sequences from {len(held)} clips that "
        + ("were learned from as well" if shared else "were kept apart"),
    )


def _origin(learned: Sequence[CachedClip], held: Sequence[CachedClip]) -> dict[str, str]:
    """Say what a run learns from: the name of a file in the cache tells a clip and its state."""
    origin: dict[str, str] = {}
    for role, clips in (("learned", learned), ("held", held)):
        for clip in clips:
            name = str(clip.path.resolve())
            use = f"{role} {clip.cache.name} {clip.begin} {clip.end}"
            origin[name] = f"{origin[name]}, {use}" if name in origin else use
    return origin


def _usable(
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


def _seconds(clips: Sequence[CachedClip]) -> float:
    return sum(len(clip) / float(clip.rate) for clip in clips)


def _clips_benchmark(
    recipe: Recipe, place: Place, listener: Listener, *, most: int | None
) -> Benchmark:
    paths = find_clips(place.paths)
    if not paths:
        raise ConfigError("there are no clips to predict; name them with --data")
    each = max(1, (most or HELD_SEQUENCES) // len(paths))
    cut = []
    for clip in _usable(paths, place.cache, recipe, listener):
        fixed = windows([clip], model=recipe.model, data=recipe.data, most=each)
        cut.append((fixed * 255).round().to(torch.uint8))
        with suppress(OSError):  # the raw frames of many clips fill a disk
            clip.cache.unlink()
    frames = torch.cat(cut)[:most]
    words = f"{len(frames)} sequences of {len(cut)} clips"
    return Benchmark(frames, words, (recipe.data.horizon,), {})


def _digits_folder(place: Place) -> Path:
    if place.held:
        raise ConfigError("Moving MNIST has digits of its own to validate on; omit --validation")
    if len(place.paths) > 1:
        raise ConfigError("Moving MNIST is read from one folder; give --data once")
    folder = Path(place.paths[0]) if place.paths else cache_folder("mnist")
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; fetch MNIST with drsvg data mnist, or name a folder that "
            "holds its four files with --data"
        )
    return folder


def _digits_material(recipe: Recipe, place: Place) -> Material:
    folder, data = _digits_folder(place), recipe.data
    learned, kept = (
        MovingDigits(
            moving_mnist.part(folder, which), recipe.model, data.context + data.horizon, data.walls
        )
        for which in ("training", "validation")
    )
    held = kept.batch(HELD_SEQUENCES, seed="validation").transpose(0, 1).float() / 255
    images = learned.digits.images
    return Material(
        learned,
        held,
        origin={"Moving MNIST": hashlib.sha256(images.tobytes()).hexdigest()},
        learned_words=f"Moving MNIST ({data.walls} walls, {len(images):,} digits)",
        held_words=f"{len(held)} sequences of {len(kept.digits.images):,} digits that were kept "
        "apart",
    )


def _digits_benchmark(
    recipe: Recipe, place: Place, *, context: int, horizon: int | None, most: int | None
) -> Benchmark:
    """Draw the fixed test set: however many frames and sequences are asked for, they are its first.

    The paper shows 25 predicted frames (Fig. 3), SVG's and SRVP's tables average over 20.
    """
    digits = moving_mnist.part(_digits_folder(place), "test")
    longest = horizon or 25
    moving = MovingDigits(digits, recipe.model, context + longest, recipe.data.walls)
    frames, pairs = moving.labelled(moving_mnist.TEST_SEQUENCES, seed=moving_mnist.TEST_SEED)
    frames, pairs = frames.transpose(0, 1)[:most], pairs[:most]
    horizons = sorted({number for number in (10, 20) if number < longest} | {longest})
    words = f"{len(frames)} sequences of Moving MNIST's test digits, {recipe.data.walls} walls"
    return Benchmark(frames, words, tuple(horizons), {"digits": pairs})


def _digits_examples(recipe: Recipe, place: Place) -> Examples:
    """Draw frames of two digits each; what they show is the pair, in either order."""
    folder = _digits_folder(place)

    def draw(which: Part) -> Draw:
        moving = MovingDigits(moving_mnist.part(folder, which), recipe.model, 1, recipe.data.walls)

        def frames(size: int, seed: str) -> tuple[Tensor, Mapping[str, Tensor]]:
            drawn, pairs = moving.labelled(size, seed=seed)
            return drawn[0], {"digits": pairs}

        return frames

    return Examples({"digits": len(moving_mnist.PAIRS)}, draw("training"), draw("test"))
