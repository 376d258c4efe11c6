"""The work behind `drsvg classifier`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.filesize import decimal

from drsvg_cli import __version__
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.output_folder import check_free
from drsvg_cli.config import Source
from drsvg_cli.data.dataset import Place
from drsvg_cli.data.registry import examples
from drsvg_cli.device import explained_memory, prepare
from drsvg_cli.errors import ConfigError
from drsvg_cli.evaluation.classifier import Classifier, accuracy, learn
from drsvg_cli.weights.files import save_classifier

TESTED = 10_000
"""Frames that its accuracy is measured on."""


@dataclass(frozen=True)
class Request:
    """What was asked for, as in the command's options."""

    source: Source
    data: Sequence[str]
    out: Path
    steps: int
    batch: int
    overwrite: bool
    device: str


@explained_memory("choose a smaller --batch")
def run(request: Request, *, as_json: bool, quiet: bool) -> None:
    """Train a classifier and say how often it is right.

    Raises:
        DrsvgError: there is nothing to learn from, or the file is in the way.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    if request.out.is_dir():
        raise ConfigError(f"{request.out} is a folder; choose a file with --out")
    if request.out.exists() and not request.overwrite:
        raise ConfigError(f"{request.out} exists already; replace it with -y, or choose --out")
    check_free(request.out.parent, overwrite=True)
    device = prepare(request.device)
    found = examples(request.source, Place(request.data, Path()))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        classifier = Classifier(found.attributes, size=found.size, channels=found.channels)
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with reporter.progress() as progress:
        task = progress.add_task("Learning", total=request.steps, note="")
        for lesson in learn(classifier, found.learned, steps=request.steps, batch=request.batch):
            progress.update(task, completed=lesson.number, note=f"loss {lesson.loss:.3f}")
    right = accuracy(classifier, found.tested, frames=TESTED)
    words = (
        f"{request.steps} steps of {request.batch} frames of {request.source}, drsvg "
        f"{__version__}; of {TESTED} test frames "
        + ", ".join(f"{share:.2%} right in {name}" for name, share in right.items())
    )
    save_classifier(request.out, classifier, words=words)
    size = decimal(request.out.stat().st_size)
    reporter.result(
        {
            "file": str(request.out),
            "accuracy": right["all"],
            "attributes": {name: right[name] for name in found.attributes},
            "frames": TESTED,
            "steps": request.steps,
        },
        one_line(f"{request.out}, {size}: {words}"),
    )
