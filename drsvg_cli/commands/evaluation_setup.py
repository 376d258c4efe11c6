"""What every comparison of models begins with: the models, the same sequences, who reads frames."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from drsvg_cli.commands.console import Reporter
from drsvg_cli.config import Recipe, Source
from drsvg_cli.data.dataset import Benchmark, Listener, Place
from drsvg_cli.data.registry import benchmark, conditions
from drsvg_cli.errors import ConfigError
from drsvg_cli.evaluation.classifier import Classifier
from drsvg_cli.evaluation.metrics import Definition
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.freezing import freeze
from drsvg_cli.storage import sha256
from drsvg_cli.weights.files import load_classifier, load_model
from drsvg_cli.weights.model_folder import weights_path
from drsvg_cli.weights.registry import classifier_path


@dataclass(frozen=True)
class Request:
    """What was asked for, as in the command's options."""

    models: Mapping[str, Path]
    """The source of every model."""
    data: Sequence[str]
    source: Source | None
    context: int | None
    horizon: int | None
    samples: int
    sequences: int | None
    size: int | None
    seed: int
    temperature: float | None
    """How far samples stray; every model's own if left out."""
    ssim: Definition
    classifier: Path | None
    out: Path
    overwrite: bool
    resume: bool
    device: str


@dataclass(frozen=True)
class Subject:
    """A model that is measured."""

    name: str
    model: DRSVG
    recipe: Recipe
    source: Path
    """Its folder or its file."""
    weights: str
    """The SHA-256 of its weights."""


def load(request: Request, device: torch.device) -> list[Subject]:
    """Load all models, and make sure that they look at frames alike: else their tasks differ.

    Raises:
        DrsvgError: one is missing or damaged, or they do not.
    """
    subjects: list[Subject] = []
    shorts = [Path(name).resolve().name if Path(name).exists() else name for name in request.models]
    for short, (name, source) in zip(shorts, request.models.items(), strict=True):
        model, recipe = load_model(source)
        if request.temperature is not None:
            model.config = replace(model.config, temperature=request.temperature)
        shown = short if shorts.count(short) == 1 else name
        digest = sha256(weights_path(source))
        subjects.append(Subject(shown, freeze(model.to(device)), recipe, source, digest))
    first, *others = subjects
    source_name = source_of(request, subjects)
    for other in others:
        sights = (_sight(subject.recipe, source_name) for subject in (first, other))
        for wanted, have in zip(*sights, strict=True):
            if wanted != have:
                raise ConfigError(
                    f"{first.name} and {other.name} do not see the same frames ({wanted} and "
                    f"{have}); evaluate them one at a time"
                )
    return subjects


def source_of(request: Request, subjects: Sequence[Subject]) -> Source:
    """Return what the data is: what the first model learned from, if nothing else is said."""
    return request.source or subjects[0].recipe.data.source


def _sight(recipe: Recipe, source: Source) -> list[str]:
    model = recipe.model
    colour = "colour" if model.channels == 3 else "gray"
    return [f"{model.size}×{model.size} pixels", colour, *conditions(source, recipe)]


def gather(
    request: Request,
    subjects: Sequence[Subject],
    reporter: Reporter,
    *,
    context: int,
    horizon: int | None,
    size: int | None = None,
) -> Benchmark:
    """Read or draw the sequences that all models are measured on.

    Raises:
        DrsvgError: they are not there, none is long enough, or they have no such size.
    """
    source, recipe = source_of(request, subjects), subjects[0].recipe
    if size is not None and size != recipe.model.size:
        if source != "clips" or size < recipe.model.size:
            raise ConfigError(
                f"frames of {source} are measured at the models' {recipe.model.size} pixels; leave "
                "--size out, or give clips and a larger size"
            )
        recipe = replace(recipe, model=replace(recipe.model, size=size))
    with tempfile.TemporaryDirectory(prefix="drsvg-") as cache, reporter.progress() as progress:
        task = progress.add_task("Reading", total=None, note="")
        listener = Listener(
            reporter.note, lambda done, total: progress.update(task, completed=done, total=total)
        )
        return benchmark(
            source,
            recipe,
            Place(request.data, Path(cache)),
            listener,
            context=context,
            horizon=horizon,
            most=request.sequences,
        )


def reader(
    request: Request, subjects: Sequence[Subject], task: Benchmark
) -> tuple[Classifier | None, str]:
    """Return who reads what the sequences show, if anybody can, and the digest of its weights.

    Raises:
        DrsvgError: the one that was asked for is damaged, or reads other frames.
    """
    path = request.classifier or classifier_path(source_of(request, subjects))
    if not task.labels or path is None:
        if request.classifier is not None:
            raise ConfigError(f"nobody knows what {task.words} show; leave --classifier out")
        return None, ""
    classifier, model = load_classifier(path), subjects[0].recipe.model
    wrong = ""
    if (classifier.size, classifier.channels) != (model.size, model.channels):
        wrong = (
            f"frames of {classifier.size} pixels a side in {classifier.channels} channel(s), and "
            f"the models draw {model.size} in {model.channels}"
        )
    for name, labels in task.labels.items():
        if not int(labels.max()) < classifier.attributes.get(name, 0):
            wrong = f"no such {name} as the sequences show"
    if not wrong:
        device = next(subjects[0].model.parameters()).device
        return classifier.to(device), sha256(path)
    if request.classifier is not None:
        raise ConfigError(f"{path} reads {wrong}")
    return None, ""
