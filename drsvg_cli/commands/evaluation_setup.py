"""What every comparison of models begins with: the models, and the same sequences for all."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from drsvg_cli.commands.console import Reporter
from drsvg_cli.config import Recipe
from drsvg_cli.data.dataset import Benchmark, BenchmarkOptions, DataPaths, Progress
from drsvg_cli.data.registry import benchmark, comparability
from drsvg_cli.errors import ConfigError
from drsvg_cli.evaluation.classifier import Known, load_classifier
from drsvg_cli.evaluation.prediction import SIDE
from drsvg_cli.inference.loading import LoadedModel, load_predictor
from drsvg_cli.weights.registry import BASELINES


@dataclass(frozen=True)
class Request:
    """What was asked for, as in the command's options."""

    models: Sequence[tuple[str, Path | None]]
    """The name and the source of every model; a baseline has none."""
    data: Sequence[str]
    context: int | None
    horizon: int | None
    samples: int | None
    sequences: int | None
    size: int | None
    seed: int
    temperature: float | None
    """How far samples stray; every model's own if left out."""
    out: Path
    overwrite: bool
    resume: bool
    device: str
    on: str | None = None
    """The cluster that measures; this process if left out."""
    shard: tuple[int, int] = (1, 1)
    """Which part of how many is measured."""


@dataclass(frozen=True)
class Subject(LoadedModel):
    """A model that is measured."""

    name: str = ""

    @property
    def sight(self) -> list[str]:
        """Say what frames it sees; a baseline sees any."""
        recipe, is_baseline = self.recipe, self.name in BASELINES
        if self.network is None:
            return [] if is_baseline else ["whole frames", f"{recipe.data.frame_rate:g} fps"]
        size, colour = recipe.drsvg.size, "colour" if recipe.drsvg.channels == 3 else "gray"
        return [f"{size}×{size} pixels", colour, *comparability(recipe)]


def load(request: Request, device: torch.device) -> list[Subject]:
    """Load all models in float32, and make sure that they see the same frames.

    Raises:
        DrsvgError: one is missing, damaged or named twice, or they do not.
    """
    found: dict[Path | str, str] = {}
    for name, source in request.models:
        key = name if source is None else source.resolve()
        if key in found:
            raise ConfigError(f"{name} is named twice ({found[key]}); name each model once")
        found[key] = name
    shorts = [Path(n).resolve().name if Path(n).exists() else n for n, _ in request.models]
    subjects = []
    for short, (name, source) in zip(shorts, request.models, strict=True):
        loaded = load_predictor(name, source, device)
        clear = shorts.count(short) == 1 and (source is None or short not in BASELINES)
        subjects.append(Subject(**vars(loaded), name=short if clear else name))
    first = reference(subjects)
    for other in subjects:
        if other.sight and other.sight != first.sight:
            pairs = zip(first.sight, other.sight, strict=False)
            wanted, have = next(pair for pair in pairs if pair[0] != pair[1])
            raise ConfigError(
                f"{first.name} and {other.name} do not see the same frames ({wanted} and {have}); "
                "evaluate them one at a time"
            )
    return subjects


def reference(subjects: Sequence[Subject]) -> Subject:
    """Return the model that says what the sequences are: the first one that is no baseline."""
    return next((subject for subject in subjects if subject.sight), subjects[0])


def gather(request: Request, recipe: Recipe, reporter: Reporter, *, whole: bool) -> Benchmark:
    """Read or draw the sequences that all models are measured on.

    Args:
        request: what was asked for.
        recipe: what the reference among the models is.
        reporter: told of what is left out.
        whole: whether whole frames of clips are measured, and not squares.

    Raises:
        DrsvgError: they are not there, or none is long enough.
    """
    if request.size is not None and not whole:
        raise ConfigError(
            f"{recipe.name} predicts squares of {recipe.drsvg.size} pixels, and is measured on "
            "these; leave --size out"
        )
    side = (request.size or SIDE) if whole else None
    context = request.context or recipe.data.context
    options = BenchmarkOptions(context, request.horizon, request.sequences, side)
    with tempfile.TemporaryDirectory(prefix="drsvg-") as cache, reporter.progress() as progress:
        task = progress.add_task("Reading", total=None, note="")
        told = Progress(
            reporter.note, lambda done, total: progress.update(task, completed=done, total=total)
        )
        found = benchmark(recipe, DataPaths(request.data, Path(cache)), told, options)
    if request.sequences is not None and len(found.clips) < request.sequences:
        reporter.note(f"there are {len(found.clips)} sequences, not {request.sequences}")
    return found


def reader(recipe: Recipe, task: Benchmark, device: torch.device) -> Known | None:
    """Return what the sequences show and who reads it, if the package has somebody who can."""
    classifier = load_classifier(recipe.data.source) if task.labels else None
    size = task.clips[0].shape[1]
    if classifier is None or (classifier.size, classifier.channels) != (size, task.channels):
        return None
    read = classifier.attributes
    if any(int(labels.max()) >= read.get(name, 0) for name, labels in task.labels.items()):
        return None
    poses = {name: each for name, each in task.poses.items() if name in read}
    return Known(classifier.to(device), task.labels, poses)
