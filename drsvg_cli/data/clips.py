"""Any clips as a data set: which files are named, which are usable, which are kept apart."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

from drsvg_cli.config import Recipe
from drsvg_cli.data.clip_cache import CachedClip, CacheFormat, decode_clips
from drsvg_cli.data.dataset import (
    VALIDATION_SEQUENCES,
    Benchmark,
    BenchmarkOptions,
    DataPaths,
    Progress,
    TrainingData,
)
from drsvg_cli.data.windows import ClipSequences, fixed_windows, read_windows, spread, square_format
from drsvg_cli.errors import ConfigError, TrainingError, VideoError
from drsvg_cli.frames import Frames, fit, resize_whole, to_frames, to_tensor
from drsvg_cli.video.finding import find_clips

LIST_SUFFIX = ".txt"


class ClipSplit(NamedTuple):
    """Clips to train on and clips to validate on."""

    train: list[CachedClip]
    validation: list[CachedClip]

    @property
    def shared(self) -> bool:
        """Tell whether one short clip serves for both."""
        return bool(set(self.train) & set(self.validation))

    @property
    def fingerprint(self) -> dict[str, str]:
        """Name what a run is trained and validated on, by the name of each clip.

        A cached file's name depends on the clip's content alone: a resumed run may find the same
        clips in another folder.
        """
        uses: dict[str, str] = {}
        for role, clips in self._asdict().items():
            for clip in clips:
                name, use = clip.path.name, f"{role} {clip.file.name} {clip.begin} {clip.end}"
                uses[name] = f"{uses[name]}, {use}" if name in uses else use
        return uses

    @property
    def train_description(self) -> str:
        """Describe the clips to train on, for a model card."""
        return f"{len(self.train)} clips ({seconds(self.train) / 60:.1f} minutes)"

    def validation_description(self, sequences: int) -> str:
        """Describe the sequences to validate on, for a model card."""
        apart = "were trained on as well" if self.shared else "were kept apart"
        return f"{sequences} sequences from {len(self.validation)} clips that {apart}"


def find_sources(inputs: Sequence[Path | str]) -> dict[Path, str]:
    """Find the clips that inputs name, and the source that each belongs to.

    An input is a clip, a folder, a pattern, or a text file that lists any of these, one a line.
    Each folder directly inside of a named folder is a source; other clips belong to the folder
    they lie in.

    Raises:
        VideoError: an input does not exist, or holds no video file.
    """
    found: dict[Path, tuple[Path, str]] = {}
    for given in _listed(inputs):
        folder = Path(given)
        for path in find_clips([given]):
            inner = path.relative_to(folder).parts[:-1] if folder.is_dir() else ()
            source = folder / inner[0] if inner else path.parent
            found.setdefault(path.resolve(), (path, str(source)))
    return dict(found.values())


def _listed(inputs: Sequence[Path | str]) -> Iterator[Path | str]:
    """Replace every list by its lines; relative ones count from the list's folder."""
    for given in inputs:
        path = Path(given)
        if path.suffix.lower() != LIST_SUFFIX or not path.is_file():
            yield given
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read as a list of clips: {error}") from None
        yield from (path.parent / line.strip() for line in lines if line.strip())


def gather(
    paths: DataPaths, progress: Progress, *, cached: CacheFormat, seed: int = 0
) -> ClipSplit:
    """Decode all clips once, report which are usable, and keep some apart for validation.

    Raises:
        DrsvgError: there are no clips, or none is left to train on.
    """
    cached = replace(cached, picture_rate=paths.picture_rate)
    kept = find_sources(paths.validation)
    apart = {path.resolve() for path in kept}
    named = find_sources(paths.paths)
    sources = {path: source for path, source in named.items() if path.resolve() not in apart}
    if not named:
        raise ConfigError("there are no clips to train on; name them with --data")
    if not sources:
        raise TrainingError("all of the clips are kept for validation: none is left to train on")
    # Batches are drawn by position: in whichever order clips are named, a run is the same.
    train = sorted(usable(sources, paths.cache / "train", progress, cached=cached), key=_identity)
    if kept:
        validation = usable(kept, paths.cache / "validation", progress, cached=cached)
        found = ClipSplit(train, sorted(validation, key=_identity))
    else:
        found = split(train, length=cached.length, share=paths.validation_share, seed=seed)
    if found.shared:
        progress.note("one short clip is all there is: it serves for training and for validation")
    for role, clips in found._asdict().items():
        count = sum(clip.windows(cached.length) for clip in clips)
        progress.note(f"{role}: {len(clips)} clips, {seconds(clips):.0f} s, {count} sequences")
    files = {clip.file for clips in found for clip in clips}
    size = sum(file.stat().st_size for file in files) / 1e6
    progress.note(f"decoded frames take {size:,.0f} MB in {paths.cache}")
    return found


def split(clips: Sequence[CachedClip], *, length: int, share: float, seed: int) -> ClipSplit:
    """Keep a share of the clips, at least one, apart for validation.

    A single clip is cut in two where that leaves sequences of `length` frames on both sides; else
    it serves as both.
    """
    if len(clips) > 1:
        order = list(clips)
        random.Random(seed).shuffle(order)
        count = min(max(1, round(share * len(order))), len(order) - 1)
        return ClipSplit(order[count:], order[:count])
    (clip,) = clips
    cut = clip.begin + round(len(clip) * (1 - share))
    parts = replace(clip, end=cut), replace(clip, begin=cut)
    if not all(part.windows(length) for part in parts):
        parts = clip, clip
    return ClipSplit([parts[0]], [parts[1]])


def usable(
    sources: Mapping[Path, str], folder: Path, progress: Progress, *, cached: CacheFormat
) -> Iterator[CachedClip]:
    """Decode clips one after the other, as they are asked for; report those that are left out.

    Raises:
        TrainingError: none can be used.
    """
    first, found = "", False
    for number, result in enumerate(decode_clips(sources, folder, cached=cached), start=1):
        progress.update(number, len(sources))
        if isinstance(result, str):
            first = first or result
            progress.note(f"left out: {result}")
        else:
            found = True
            yield result
    if not found:
        raise TrainingError(
            f"none of the {len(sources)} clips can be used ({first}); "
            f"sequences have {cached.length} frames"
        )


def _identity(clip: CachedClip) -> tuple[str, str]:
    """Return what a clip is sorted by: its name and its content, wherever it lies."""
    return clip.path.name, clip.file.name


def seconds(clips: Sequence[CachedClip]) -> float:
    """Return how long clips are together."""
    return sum(clip.seconds for clip in clips)


def training_data(recipe: Recipe, paths: DataPaths, progress: Progress) -> TrainingData:
    """Gather square sequences of clips."""
    cached = square_format(recipe.drsvg, recipe.data)
    return square_data(recipe, gather(paths, progress, cached=cached, seed=recipe.training.seed))


def square_data(recipe: Recipe, found: ClipSplit) -> TrainingData:
    """Draw square sequences from clips.

    Raises:
        TrainingError: they do not fill a batch.
    """
    model, data, batch = recipe.drsvg, recipe.data, recipe.training.batch
    count = sum(clip.windows(data.context + data.horizon) for clip in found.train)
    if count < batch:
        raise TrainingError(
            f"the clips hold {count} sequences, fewer than a batch of {batch}; give more or longer "
            "clips, or a smaller batch: --batch of drsvg finetune, training.batch of a recipe"
        )
    fixed = fixed_windows(found.validation, model=model, data=data, most=VALIDATION_SEQUENCES)
    return TrainingData(
        ClipSequences(found.train, model, data),
        fixed,
        found.fingerprint,
        found.train_description,
        found.validation_description(len(fixed)),
    )


def benchmark(
    recipe: Recipe, paths: DataPaths, progress: Progress, options: BenchmarkOptions
) -> Benchmark:
    """Cut windows from clips, one of each where there are clips enough, spread over all."""
    named = [*find_sources(paths.paths)]
    if not named:
        raise ConfigError("there are no clips to predict; name them with --data")
    each = 1 if options.count is None else math.ceil(options.count / len(named))
    most, horizon = options.count or VALIDATION_SEQUENCES, options.horizon or recipe.data.horizon
    cut = partial(
        read_windows,
        context=options.context,
        horizon=horizon,
        rate=Fraction(recipe.data.frame_rate).limit_denominator(1001),
        resized=partial(_squared, recipe)
        if options.side is None
        else partial(resize_whole, side=options.side),
        each=each,
    )
    first, found = spread(named, most), list[tuple[str, Frames]]()
    others = [path for path in named if path not in set(first)]
    for number, path in enumerate([*first, *others], start=1):
        if number > len(first) and len(found) >= most:  # others stand in for those left out
            break
        progress.update(number, len(first))
        try:
            found += [(str(path), window) for window in cut(path)]
        except VideoError as error:
            progress.note(f"left out: {error}")
    if not found:
        raise ConfigError(f"none of the {len(named)} clips can be used")
    groups, windows = zip(*spread(found, most), strict=True)
    words = f"{len(windows)} windows of {len(set(groups))} clips"
    channels = recipe.drsvg.channels if options.side is None else 3
    return Benchmark(windows, groups, words, (horizon,), channels)


def _squared(recipe: Recipe, frame: Frames) -> Frames:
    """Bring a frame to what a model sees: its size, and its colours."""
    fitted = fit(frame, recipe.drsvg.size, how=recipe.data.fit)
    return to_frames(to_tensor(fitted[None], channels=recipe.drsvg.channels))[0]
