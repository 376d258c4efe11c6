"""KTH: six actions of 25 people, filmed in gray before a plain background.

Reads the official files, `person01_boxing_d1_uncomp.avi` and so on, all of them or some, in a
folder or in folders below it. `00sequences.txt` names the frames of each clip that show somebody;
between them the scene is empty. Persons 1 to 20 are for training, 21 to 25 for the test, as in
SVG's code.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from drsvg_cli.config import Recipe
from drsvg_cli.data import clips as clip_files
from drsvg_cli.data.clip_cache import CachedClip
from drsvg_cli.data.dataset import (
    Benchmark,
    BenchmarkOptions,
    DataPaths,
    Progress,
    Published,
    TrainingData,
    as_clips,
)
from drsvg_cli.data.windows import fixed_windows, spread, square_format
from drsvg_cli.errors import DataError, TrainingError
from drsvg_cli.video.decoding import probe

ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
TRAINING = range(1, 21)
TEST = range(21, 26)
TOTAL = 599
"""Clips of the whole set: 25 persons, six actions and four scenarios, and one that is missing."""
RANGES_FILE = "00sequences.txt"
MISSING = "person13_handclapping_d3"
"""The only clip of which there is none."""
RATE = 25
"""Frames a second of every clip."""
TEST_SEQUENCES = 100
HORIZON = 30
PUBLISHED = (
    Published("SVG, published, all clips", 28.06, 0.8438),
    Published("SRVP, published, all clips", 29.69, 0.8697),
)
"""Trained and tested on all clips, 10 observed and 30 predicted frames: SRVP's measurements, as
SLAMP quotes them."""

_NAME = re.compile(rf"person(\d\d)_({'|'.join(ACTIONS)})_d([1-4])(?:_uncomp)?")
_LINE = re.compile(r"(person\d\d_\w+_d\d)\s+frames\s+(.*)")


class Clip(NamedTuple):
    """One of the official files."""

    path: Path
    person: int
    action: str
    key: str
    """As `00sequences.txt` calls it."""


def file_names(action: str) -> list[str]:
    """Name the files in the archive of an action."""
    keys = [
        f"person{person:02}_{action}_d{scenario}"
        for person in (*TRAINING, *TEST)
        for scenario in range(1, 5)
    ]
    return [f"{key}_uncomp.avi" for key in keys if key != MISSING]


def find(folder: Path) -> list[Clip]:
    """Find the official files, by person, action and scenario; each once.

    Raises:
        DataError: there is none.
    """
    found: dict[str, Clip] = {}
    for path in sorted(folder.rglob("person*.avi")):
        if match := _NAME.fullmatch(path.stem):
            person, action, scenario = match.groups()
            key = f"person{person}_{action}_d{scenario}"
            found.setdefault(key, Clip(path, int(person), action, key))
    if not found:
        raise DataError(
            f"{folder} holds no file like person01_boxing_d1_uncomp.avi; fetch KTH with drsvg data "
            "kth, or name a folder that holds its files with --data"
        )
    return [found[key] for key in sorted(found)]


def read_ranges(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Read which frames of each clip show somebody, counted from 1, the last one included.

    A range that runs backwards is left out: the official file has one, of person17_walking_d4.

    Raises:
        DataError: the file cannot be read, or holds no such ranges.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    ranges = {}
    for match in filter(None, map(_LINE.match, text.splitlines())):
        pairs = [map(int, pair) for pair in re.findall(r"(\d+)\s*-\s*(\d+)", match[2])]
        ranges[match[1]] = [(first, last) for first, last in pairs if 1 <= first <= last]
    if not ranges:
        raise DataError(f"{path} names no frames of any clip; remove it and fetch it again")
    return ranges


def summary(clips: Sequence[Clip]) -> str:
    """Say how many clips there are, of whom, and what they do."""
    actions = Counter(clip.action for clip in clips)
    counted = ", ".join(f"{action} {actions[action]}" for action in ACTIONS if actions[action])
    return f"{len(clips)} of the {TOTAL} clips, persons {_listed(clips)}; {counted}"


def _listed(clips: Sequence[Clip]) -> str:
    """List persons, consecutive ones as a range: 1-3, 5."""
    runs: list[list[int]] = []
    for person in sorted({clip.person for clip in clips}):
        if runs and runs[-1][1] == person - 1:
            runs[-1][1] = person
        else:
            runs.append([person, person])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def validation_persons(clips: Sequence[Clip], share: float) -> set[int]:
    """Choose the training persons that a run is validated on: the last ones, at least one.

    Raises:
        TrainingError: there is nobody else to train on.
    """
    persons = sorted({clip.person for clip in clips})
    if len(persons) < 2:
        raise TrainingError(
            f"only {len(persons)} of KTH's persons 1 to 20 is there; one more is needed, to "
            "validate on"
        )
    return set(persons[-min(max(1, round(share * len(persons))), len(persons) - 1) :])


def training_data(recipe: Recipe, paths: DataPaths, progress: Progress) -> TrainingData:
    """Decode the clips of persons 1 to 20, and validate on the last of these persons."""
    clips, ranges = _open(paths, TRAINING, progress)
    apart = validation_persons(clips, paths.validation_share)
    named = {clip.path for clip in clips if clip.person in apart}
    found = clip_files.ClipSplit([], [])
    for part in _cut(clips, ranges, recipe, paths, progress):
        (found.validation if part.path in named else found.train).append(part)
    if not found.validation:
        raise TrainingError(
            f"the clips of person(s) {', '.join(map(str, sorted(apart)))}, to validate on, are too "
            "short; choose a larger --share"
        )
    kept = [clip for clip in clips if clip.path in named]
    trained = [clip for clip in clips if clip.path not in named]
    squares = clip_files.square_data(recipe, found)
    return squares._replace(
        train_description=f"KTH ({summary(trained)})",
        validation_description=f"{len(squares.validation)} sequences of KTH's person(s) "
        f"{_listed(kept)}, who were kept apart",
    )


def benchmark(
    recipe: Recipe, paths: DataPaths, progress: Progress, options: BenchmarkOptions
) -> Benchmark:
    """Cut the clips of persons 21 to 25, the same number of sequences from each range of frames."""
    longest, most = options.horizon or HORIZON, options.count or TEST_SEQUENCES
    clips, ranges = _open(paths, TEST, progress)
    wanted = replace(
        recipe,
        data=replace(recipe.data, context=options.context, horizon=longest, min_context=1),
    )
    cut = list(_cut(clips, ranges, wanted, paths, progress))
    chosen = spread(cut, most)
    fixed = [
        fixed_windows([part], model=recipe.drsvg, data=wanted.data, most=most // len(chosen))
        for part in chosen
    ]
    for part in cut:
        with suppress(OSError):  # the raw frames of many clips fill a disk
            part.file.unlink()
    frames = (torch.cat(fixed) * 255).round().to(torch.uint8)
    horizons = sorted({number for number in (10, 20) if number < longest} | {longest})
    seen = recipe.drsvg.size, recipe.drsvg.channels, recipe.data.fit, recipe.data.frame_rate
    comparable = (options.context, longest, *seen) == (10, HORIZON, 64, 1, "stretch", RATE)
    groups = [str(part.path) for part, cut in zip(chosen, fixed, strict=True) for _ in cut]
    return Benchmark(
        as_clips(frames),
        groups,
        f"{len(frames)} sequences of KTH's persons 21 to 25 ({summary(clips)})",
        tuple(horizons),
        recipe.drsvg.channels,
        published=PUBLISHED if comparable else (),
    )


def _open(
    paths: DataPaths, persons: range, progress: Progress
) -> tuple[list[Clip], Mapping[str, list[tuple[int, int]]]]:
    """Find the clips of some persons, say what is there, and read the ranges of frames."""
    folder = paths.folder("kth", "KTH")
    found = find(folder)
    progress.note(f"KTH: {summary(found)}")
    clips = [clip for clip in found if clip.person in persons]
    if not clips:
        raise DataError(
            f"{folder} holds no clip of KTH's persons {persons[0]} to {persons[-1]}; it has those "
            f"of {_listed(found)}"
        )
    lists = sorted(folder.rglob(RANGES_FILE))
    if not lists:
        progress.note(f"there is no {RANGES_FILE}: whole clips are used, empty scenes included")
    return clips, read_ranges(lists[0]) if lists else {}


def _cut(
    clips: Sequence[Clip],
    ranges: Mapping[str, list[tuple[int, int]]],
    recipe: Recipe,
    paths: DataPaths,
    progress: Progress,
) -> Iterator[CachedClip]:
    """Decode clips and give their ranges of frames, those that are long enough.

    Where every second frame is kept, a range is half as long. An end beyond the last frame is the
    last frame. A clip that is not listed is one range.
    """
    known = {clip.path: clip for clip in clips}
    length = recipe.data.context + recipe.data.horizon
    actions = {clip.path: clip.action for clip in clips}
    cached_as = square_format(recipe.drsvg, recipe.data)
    found = False
    for cached in clip_files.usable(actions, paths.cache, progress, cached=cached_as):
        thinned = cached.rate / probe(cached.path).rate
        whole = 1, math.ceil(len(cached) / thinned)
        for first, last in ranges.get(known[cached.path].key, [whole]):
            begin, end = math.ceil((first - 1) * thinned), math.ceil(last * thinned)
            part = replace(cached, begin=begin, end=min(end, len(cached)))
            if part.windows(length):
                found = True
                yield part
    if not found:
        raise TrainingError(
            f"none of the {len(clips)} clips shows somebody for {length} frames on end; choose a "
            "smaller horizon: --horizon of drsvg evaluate, data.horizon of a recipe"
        )
