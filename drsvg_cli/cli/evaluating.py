"""The work behind `drsvg evaluate`: the same sequences for every model, measured piece by piece."""

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from drsvg_cli import __version__
from drsvg_cli.charts import PALETTE, Curve, Panel, chart
from drsvg_cli.checkpoint import load_classifier, load_model, load_state, save_state
from drsvg_cli.cli.console import Reporter, one_line
from drsvg_cli.cli.results import check_free, filled, write_picture, write_record
from drsvg_cli.config import Recipe, Source
from drsvg_cli.device import choose, explained_memory
from drsvg_cli.drawing import MUTED, Frames
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.evaluation import (
    CLIPS_AT_ONCE,
    Content,
    Curves,
    Estimate,
    Scores,
    average,
    by_frame,
    evaluate,
    join,
)
from drsvg_cli.folder import weights_path
from drsvg_cli.frames import to_frames
from drsvg_cli.hub import sha256
from drsvg_cli.metrics import Definition, best_of
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.pictures import strip
from drsvg_cli.rollout import predict
from drsvg_cli.sequences.catalog import Benchmark, Listener, Place, benchmark

PARTIAL_FILE = "partial.pt"
RECORD_FILE = "evaluation.json"
SAVE_EVERY = 60.0
"""Seconds between two copies of what has been measured."""
SHOWN = 2
"""Sequences in the picture of examples."""
COPY = "copy of the last frame"
TRUTH = "true frames"


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
    seed: int
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
    weights: str
    """The SHA-256 of its weights."""


@dataclass(frozen=True)
class Protocol:
    """How models are measured: what must be the same for numbers to be compared."""

    data: str
    """The sequences, in words."""
    context: int
    horizon: int
    samples: int
    seed: int
    ssim: Definition
    digest: str
    """The SHA-256 of the sequences."""
    classifier: str
    """The SHA-256 of the classifier, if there is one."""

    @property
    def seeds(self) -> list[int]:
        """One a sample."""
        return [self.seed + number for number in range(1, self.samples + 1)]


@dataclass
class Measured:
    """What has been measured so far: the first sequences, the same for every model."""

    scores: dict[str, list[Scores]]
    truth: list[Tensor] = field(default_factory=list)
    """1 where the classifier reads the true frames rightly, `(N, T)` each; no classifier, none."""
    sequences: int = 0

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers alone."""
        joined = {name: join(parts)._asdict() for name, parts in self.scores.items() if parts}
        scores = {
            name: {metric: tuple(curves) for metric, curves in table.items() if curves is not None}
            for name, table in joined.items()
        }
        return {"scores": scores, "truth": self.truth, "sequences": self.sequences}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Measured":
        """Undo `state`."""
        scores = {
            name: [Scores(**{metric: Curves(*pair) for metric, pair in table.items()})]
            for name, table in state["scores"].items()
        }
        return cls(scores, state["truth"], state["sequences"])


@explained_memory("choose fewer --sequences or a shorter --horizon")
def run(request: Request, *, as_json: bool, quiet: bool) -> None:
    """Measure all models, and leave a folder of results.

    Raises:
        DrsvgError: the models cannot be compared, or there is nothing to measure them on.
        KeyboardInterrupt: on Ctrl-C, after what has been measured is written.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    partial = request.out / PARTIAL_FILE
    if request.resume and not partial.is_file():
        raise ConfigError(f"{request.out} holds no evaluation that stopped; leave --resume out")
    if not request.resume:
        check_free(request.out, overwrite=request.overwrite, remedy="replace it with -y")
    device = choose(request.device)
    subjects = _load(request, device)
    recipe = subjects[0].recipe
    context = request.context or recipe.data.context
    source = request.source or recipe.data.source
    task = _gather(request, source, recipe, context, reporter)
    content, digest = _content(request, source, task, recipe, device)
    protocol = Protocol(
        data=task.words,
        context=context,
        horizon=task.horizons[-1],
        samples=request.samples,
        seed=request.seed,
        ssim=request.ssim,
        digest=task.digest,
        classifier=digest,
    )
    facts = vars(protocol) | {subject.name: subject.weights for subject in subjects}
    measured = Measured({subject.name: [] for subject in subjects})
    if request.resume:
        measured = _resumed(partial, facts)
    saved = time.monotonic()

    def save(*, now: bool = False) -> None:
        nonlocal saved
        if now or time.monotonic() - saved > SAVE_EVERY:
            save_state(partial, measured.state() | {"facts": facts})
            saved = time.monotonic()

    try:
        _measure(subjects, task, protocol, content, measured, save, reporter)
    except KeyboardInterrupt:
        if measured.sequences:
            save(now=True)
            _write(request, subjects, task, protocol, measured, reporter)
            reporter.note(
                f"stopped after {measured.sequences} of {len(task.frames)} sequences; the results "
                f"so far are in {request.out}, and --resume goes on"
            )
        raise
    record = _write(request, subjects, task, protocol, measured, reporter)
    partial.unlink(missing_ok=True)
    reporter.result(record, one_line(f"{request.out}: {', '.join(record['files'])}"))


def _load(request: Request, device: torch.device) -> list[Subject]:
    """Load the models, and make sure that they look at frames alike."""
    subjects: list[Subject] = []
    for name, source in request.models.items():
        model, recipe = load_model(source)
        path = Path(name)
        shown = path.name if path.exists() else name
        taken = {subject.name for subject in subjects}
        subjects.append(
            Subject(
                name if shown in taken else shown,
                model.to(device),
                recipe,
                sha256(weights_path(source)),
            )
        )
    first, *others = subjects
    for other in others:
        for wanted, have in zip(_sight(first.recipe), _sight(other.recipe), strict=True):
            if wanted != have:
                raise ConfigError(
                    f"{first.name} and {other.name} do not see the same frames ({wanted} and "
                    f"{have}); evaluate them one at a time"
                )
    return subjects


def _sight(recipe: Recipe) -> list[str]:
    model, data = recipe.model, recipe.data
    colour = "colour" if model.channels == 3 else "gray"
    seen = [f"{model.size}×{model.size} pixels", colour]
    if data.source == "clips":
        return [*seen, f"{data.rate:g} frames a second", f"fit {data.fit}"]
    return [*seen, f"data of {data.source}", f"{data.walls} walls"]


def _gather(
    request: Request, source: Source, recipe: Recipe, context: int, reporter: Reporter
) -> Benchmark:
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
            horizon=request.horizon,
            most=request.sequences,
        )


def _content(
    request: Request, source: Source, task: Benchmark, recipe: Recipe, device: torch.device
) -> tuple[Content | None, str]:
    """Return what the sequences show with who reads it, and the digest of the reader."""
    path = request.classifier or embedded_classifier(source)
    if not task.labels or path is None:
        if request.classifier is not None:
            raise ConfigError(f"nobody knows what {task.words} show; leave --classifier out")
        return None, ""
    classifier, model = load_classifier(path), recipe.model
    if (classifier.size, classifier.channels) != (model.size, model.channels):
        if request.classifier is not None:
            raise ConfigError(
                f"{path} reads frames of {classifier.size} pixels a side in {classifier.channels} "
                f"channel(s), and the models draw {model.size} in {model.channels}"
            )
        return None, ""
    return Content(classifier.to(device), task.labels), sha256(path)


def _resumed(partial: Path, facts: Mapping[str, Any]) -> Measured:
    state = load_state(partial)
    for name in {**facts, **state["facts"]}:
        before, now = state["facts"].get(name), facts.get(name)
        if before != now:
            raise ConfigError(
                f"{partial.parent} was measured with {name} = {before}, not {now}; give the same "
                "options, or start anew with -y"
            )
    return Measured.restored(state)


def _measure(
    subjects: Sequence[Subject],
    task: Benchmark,
    protocol: Protocol,
    content: Content | None,
    measured: Measured,
    save: Callable[[], object],
    reporter: Reporter,
) -> None:
    """Measure sequence after sequence, every model in turn, and keep what is whole."""
    per_sequence = len(subjects) * protocol.samples
    total, begun, began = len(task.frames), measured.sequences, time.monotonic()
    with reporter.progress() as progress:
        bar = progress.add_task("Measuring", total=total * per_sequence, note="")
        while measured.sequences < total:
            done = measured.sequences
            progress.update(bar, completed=done * per_sequence)
            chosen = slice(done, done + CLIPS_AT_ONCE)
            frames = task.frames[chosen]
            some = None if content is None else content.of(chosen)
            scores = [
                evaluate(
                    subject.model,
                    frames,
                    context=protocol.context,
                    seeds=protocol.seeds,
                    definition=protocol.ssim,
                    content=some,
                    tick=lambda count: progress.advance(bar, count),
                )
                for subject in subjects
            ]
            if not all(bool(torch.isfinite(part.psnr.samples).all()) for part in scores):
                raise WeightsError("a model predicts no numbers; its weights are broken")
            if some is not None:
                device = next(some.classifier.parameters()).device
                truth = frames[:, protocol.context :].to(device).float() / 255
                measured.truth.append(some.read(truth).cpu())
            for subject, part in zip(subjects, scores, strict=True):
                measured.scores[subject.name].append(part)
            measured.sequences += len(frames)
            if done == begun and measured.sequences < total:
                left = (time.monotonic() - began) * (total - measured.sequences) / len(frames)
                reporter.note(f"{total} sequences to measure, {_duration(left)} to go")
            save()


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds > 90 else f"about {seconds:.0f} s"


def _write(
    request: Request,
    subjects: Sequence[Subject],
    task: Benchmark,
    protocol: Protocol,
    measured: Measured,
    reporter: Reporter,
) -> dict[str, Any]:
    """Write table, record, curves and examples of what has been measured; print the table."""
    scores = {name: join(parts) for name, parts in measured.scores.items()}
    truth = torch.cat(measured.truth) if measured.truth else None
    horizons = task.horizons
    rows = _rows(scores, truth, horizons)
    heads = _heads(protocol, content=truth is not None)
    trained = sorted({subject.recipe.data.horizon for subject in subjects})
    record = _record(request, subjects, task, protocol, measured.sequences, scores, truth)
    with filled(request.out) as part:
        (part / "table.md").write_text(_markdown(heads, rows), encoding="utf-8")
        separators = [number for number in trained if number < horizons[-1]]
        write_picture(part / "curves.png", _chart(scores, truth, protocol, separators))
        count = min(SHOWN, measured.sequences)
        write_picture(part / "examples.png", _examples(subjects, task, protocol, scores, count))
        record = write_record(part, RECORD_FILE, record)
    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*map(one_line, row))
    reporter.table(table)
    return record


def _heads(protocol: Protocol, *, content: bool) -> list[str]:
    best = f"best of {protocol.samples}"
    similarity = f"SSIM ({protocol.ssim.upper()})"
    heads = ["frames", "model", "PSNR (dB), mean", best, f"{similarity}, mean", best]
    return [*heads, "content kept"] if content else heads


def _rows(
    scores: Mapping[str, Scores], truth: Tensor | None, horizons: Sequence[int]
) -> list[list[str]]:
    """Lay out a row a horizon and model, and one for the copy; the ceiling where there is one."""
    rows = []
    for horizon in horizons:
        for name, each in scores.items():
            cells = [str(horizon), name]
            for curves, digits in ((each.psnr, 2), (each.ssim, 4)):
                cells.append(_shown(average(curves.mean, horizon), digits))
                cells.append(_shown(average(curves.best(horizon)), digits))
            if each.content is not None:
                cells.append(_percent(average(each.content.mean, horizon)))
            rows.append(cells)
        first = next(iter(scores.values()))
        cells = [str(horizon), COPY]
        for curves, digits in ((first.psnr, 2), (first.ssim, 4)):
            cells += [_shown(average(curves.copied, horizon), digits), ""]
        if first.content is not None:
            cells.append(_percent(average(first.content.copied, horizon)))
        rows.append(cells)
        if truth is not None:
            rows.append([str(horizon), TRUTH, *[""] * 4, _percent(average(truth, horizon))])
    return rows


def _shown(estimate: Estimate, digits: int) -> str:
    if math.isnan(estimate.interval):  # a single sequence
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} ± {estimate.interval:.{digits}f}"


def _percent(estimate: Estimate) -> str:
    return f"{_shown(Estimate(100 * estimate.value, 100 * estimate.interval), 1)} %"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _record(
    request: Request,
    subjects: Sequence[Subject],
    task: Benchmark,
    protocol: Protocol,
    sequences: int,
    scores: Mapping[str, Scores],
    truth: Tensor | None,
) -> dict[str, Any]:
    first = next(iter(scores.values()))
    metrics = [name for name, curves in first._asdict().items() if curves is not None]
    return {
        "drsvg": __version__,
        "torch": version("torch"),
        "device": request.device,
        "sequences": sequences,
        "complete": sequences == len(task.frames),
        "protocol": vars(protocol),
        "sample_seeds": protocol.seeds,
        "models": {
            subject.name: {
                "weights_sha256": subject.weights,
                "trained_horizon": subject.recipe.data.horizon,
                **{
                    name: _summary(getattr(scores[subject.name], name), task.horizons)
                    for name in metrics
                },
            }
            for subject in subjects
        },
        "copy_last": {
            name: {
                "frames": _pairs(by_frame(getattr(first, name).copied)),
                "horizons": {
                    str(horizon): {"mean": _pair(average(getattr(first, name).copied, horizon))}
                    for horizon in task.horizons
                },
            }
            for name in metrics
        },
        "true_frames": {} if truth is None else {"content": {"frames": _pairs(by_frame(truth))}},
    }


def _summary(curves: Curves, horizons: Sequence[int]) -> dict[str, Any]:
    """Give every estimate as a pair: the mean over sequences, the half-width of its interval."""
    return {
        "frames": _pairs(by_frame(curves.mean)),
        "frames_of_best": _pairs(by_frame(curves.best())),
        "horizons": {
            str(horizon): {
                "mean": _pair(average(curves.mean, horizon)),
                "best": _pair(average(curves.best(horizon))),
            }
            for horizon in horizons
        },
    }


def _pair(estimate: Estimate) -> list[float | None]:
    """Turn an estimate into JSON, which has no NaN for the interval of a single sequence."""
    return [estimate.value, None if math.isnan(estimate.interval) else estimate.interval]


def _pairs(estimates: Sequence[Estimate]) -> list[list[float | None]]:
    return [_pair(estimate) for estimate in estimates]


def _chart(
    scores: Mapping[str, Scores],
    truth: Tensor | None,
    protocol: Protocol,
    separators: Sequence[int],
) -> Frames:
    """Draw the mean over samples, frame by frame, with its interval (Fig. 3)."""
    first = next(iter(scores.values()))
    colours = [PALETTE[number % len(PALETTE)] for number in range(len(scores))]
    panels = []
    titles = {
        "psnr": "PSNR (dB)",
        "ssim": f"SSIM ({protocol.ssim.upper()})",
        "content": "content kept (%)",
    }
    for metric, title in titles.items():
        if getattr(first, metric) is None:
            continue
        factor = 100.0 if metric == "content" else 1.0
        lines = [
            _curve(name, colour, getattr(each, metric).mean * factor)
            for (name, each), colour in zip(scores.items(), colours, strict=True)
        ]
        lines.append(_curve(COPY, MUTED, getattr(first, metric).copied * factor))
        panels.append(Panel(title, lines))
    if truth is not None:
        ceiling = _curve(TRUTH, (240, 242, 245), truth * 100)
        panels[-1] = Panel(panels[-1].title, [*panels[-1].curves, ceiling])
    return chart(panels, along="predicted frame", separators=separators)


def _curve(label: str, colour: tuple[int, int, int], values: Tensor) -> Curve:
    estimates = by_frame(values)
    return Curve(
        label,
        colour,
        [estimate.value for estimate in estimates],
        [estimate.interval for estimate in estimates],
    )


def _examples(
    subjects: Sequence[Subject],
    task: Benchmark,
    protocol: Protocol,
    scores: Mapping[str, Scores],
    count: int,
) -> Frames:
    """Show the first sequences: the truth, each model's best sample by SSIM, two others (Fig. 4).

    A sample is its clip and its seed, so it is drawn again instead of having been kept.
    """
    pages = []
    for number in range(count):
        frames = task.frames[number].float() / 255
        observed, horizon = frames[: protocol.context], len(frames) - protocol.context
        rows = [("what happened", to_frames(frames))]
        for subject in subjects:
            best = int(best_of(scores[subject.name].ssim.samples[number]))
            seeds = [protocol.seeds[best], *protocol.seeds[:2]]
            device = next(subject.model.parameters()).device
            drawn = predict(subject.model, observed[None].to(device), horizon, seeds=seeds).frames
            for label, sample in zip(("best SSIM", "sample 1", "sample 2"), drawn[0], strict=True):
                shown = to_frames(torch.cat([observed, sample.cpu()]))
                rows.append((f"{subject.name}, {label}", shown))
        rate = Fraction(subjects[0].recipe.data.rate).limit_denominator(1001)
        pages.append(strip(rows, tile=64, rate=rate, columns=18, observed=protocol.context))
    return np.concatenate(pages)


def embedded_classifier(source: Source) -> Path | None:
    """Return the classifier that the package has for a source."""
    from importlib.resources import files

    path = Path(str(files("drsvg_cli.classifiers"))) / f"{source}.safetensors"
    return path if path.is_file() else None
