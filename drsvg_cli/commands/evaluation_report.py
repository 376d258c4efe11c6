"""What an evaluation leaves: a table, a record, curves (Fig. 3) and examples (Fig. 4)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drsvg_cli import __version__
from drsvg_cli.commands.evaluation_setup import Subject
from drsvg_cli.commands.output_folder import write_picture, write_record
from drsvg_cli.commands.tables import Table, markdown, pair, percent, shown
from drsvg_cli.data.dataset import PUBLISHED_SAMPLES, Benchmark
from drsvg_cli.evaluation.metrics import Definition, best_of
from drsvg_cli.evaluation.prediction import Curves, Estimate, Scores, average, by_frame, draw
from drsvg_cli.frames import to_frames
from drsvg_cli.visualization.charts import PALETTE, Curve, Panel, chart
from drsvg_cli.visualization.layout import MUTED, Frames
from drsvg_cli.visualization.samples import TRUTH, strip

TABLE_FILE, CURVES_FILE, EXAMPLES_FILE = "table.md", "curves.png", "examples.png"
RECORD_FILE = "evaluation.json"
RESULT_FILES = TABLE_FILE, CURVES_FILE, EXAMPLES_FILE, RECORD_FILE
SHOWN = 2
"""Sequences in the picture of examples."""
COPY = "copy of the last frame"
STEADINESS = ("apart_moving", "apart_still", "flicker")
"""Fields of `Scores` that are a number a sequence and frame, in the order of the second table."""
TRUE_FRAMES = "true frames"


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
    size: int
    """Height and width at which frames are measured, in pixels."""

    @property
    def seeds(self) -> list[int]:
        """One a sample."""
        return [self.seed + number for number in range(1, self.samples + 1)]


@dataclass(frozen=True)
class Findings:
    """What was measured, of the same sequences for every model."""

    subjects: Sequence[Subject]
    task: Benchmark
    protocol: Protocol
    scores: Mapping[str, Scores]
    """By the names of the subjects, and those of their own frames, enlarged."""
    truth: Tensor | None
    """1 where the classifier reads the true frames rightly, `(N, T)`."""

    @property
    def first(self) -> Scores:
        """The scores of any subject: those of the copy are the same in all."""
        return next(iter(self.scores.values()))

    @property
    def sequences(self) -> int:
        """Count the sequences measured so far."""
        return len(self.first.psnr.copied)

    @property
    def metrics(self) -> list[str]:
        """Name what was measured of every sample."""
        return [name for name, curves in self.first._asdict().items() if isinstance(curves, Curves)]


def write(findings: Findings, folder: Path) -> dict[str, Any]:
    """Write all results into a folder; return the record."""
    text = "\n".join(map(markdown, tables(findings)))
    (folder / TABLE_FILE).write_text(text, encoding="utf-8")
    write_picture(folder / CURVES_FILE, _chart(findings))
    write_picture(folder / EXAMPLES_FILE, _examples(findings))
    return write_record(folder, RECORD_FILE, _record(findings))


def enlarged(name: str) -> str:
    """Name the model's own frames, enlarged to the size that is measured."""
    return f"{name}, enlarged"


def tables(findings: Findings) -> list[Table]:
    """Lay out how good frames are, and how sharp and steady."""
    return [_accuracy(findings), _steadiness(findings)]


def _accuracy(findings: Findings) -> Table:
    """Lay out heads, and a row a horizon and model, with the copy and the ceiling below."""
    best = f"best of {findings.protocol.samples}"
    similarity = f"SSIM ({findings.protocol.ssim.upper()}), mean"
    heads = ["frames", "model", "PSNR (dB), mean", best, similarity, best]
    judged = findings.truth is not None
    rows = []
    for horizon in findings.task.horizons:
        for name, scores in findings.scores.items():
            cells = [str(horizon), name]
            for curves, digits in ((scores.psnr, 2), (scores.ssim, 4)):
                cells.append(shown(average(curves.mean, horizon), digits))
                cells.append(shown(average(curves.best(horizon)), digits))
            if scores.content is not None:
                cells.append(percent(average(scores.content.mean, horizon)))
            rows.append(cells)
        cells = [str(horizon), COPY]
        for curves, digits in ((findings.first.psnr, 2), (findings.first.ssim, 4)):
            cells += [shown(average(curves.copied, horizon), digits), ""]
        if findings.first.content is not None:
            cells.append(percent(average(findings.first.content.copied, horizon)))
        rows.append(cells)
        if findings.truth is not None:
            ceiling = percent(average(findings.truth, horizon))
            rows.append([str(horizon), TRUE_FRAMES, *[""] * 4, ceiling])
    if (findings.protocol.ssim, findings.protocol.samples) == ("srvp", PUBLISHED_SAMPLES):
        rows += [
            [str(horizon), other.name, "", f"{other.psnr:.2f}", "", f"{other.ssim:.4f}"]
            for other in findings.task.published
        ]
    return Table([*heads, "content kept"] if judged else heads, rows)


def _steadiness(findings: Findings) -> Table:
    """Lay out sharpness, and what differs between samples and from frame to frame."""
    horizon = findings.protocol.horizon
    heads = ["", "sharpness, frame 1", f"frame {horizon}", "samples apart, moving", "still"]
    rows = []
    for name, scores in findings.scores.items():
        sharp = scores.sharpness.mean
        single = [average(getattr(scores, each)) for each in STEADINESS]
        rows.append([name, *_sharpness(sharp), *(_levels(each) for each in single)])
    copied = _sharpness(findings.first.sharpness.copied)
    rows.append([COPY, *copied, "", "", _levels(Estimate(0.0, math.nan))])
    noise = _levels(average(findings.first.noise))
    rows.append([TRUE_FRAMES, *[_plain_percent(1.0)] * 2, "", "", noise])
    return Table([*heads, "flicker, still"], rows)


def _sharpness(curve: Tensor) -> list[str]:
    """Write the share of the first and of the last frame."""
    frames = by_frame(curve)
    return [_plain_percent(frames[0].value), _plain_percent(frames[-1].value)]


def _plain_percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _levels(estimate: Estimate) -> str:
    """Write a difference in levels of 255; nothing where there is none to measure."""
    return "" if math.isnan(estimate.value) else f"{estimate.value:.2f}"


def _record(findings: Findings) -> dict[str, Any]:
    horizons = findings.task.horizons
    models = {}
    for subject in findings.subjects:
        models[subject.name] = {
            "weights_sha256": subject.weights,
            "trained_horizon": subject.recipe.data.horizon,
            "temperature": subject.temperature,
            **_all(findings, subject.name),
        }
        if enlarged(subject.name) in findings.scores:
            models[subject.name]["enlarged"] = _all(findings, enlarged(subject.name))
    copies = {}
    for name in findings.metrics:
        copied = getattr(findings.first, name).copied
        copies[name] = {
            "frames": _pairs(by_frame(copied)),
            "horizons": {str(each): {"mean": pair(average(copied, each))} for each in horizons},
        }
    truth = findings.truth
    return {
        "drsvg": __version__,
        "torch": version("torch"),
        "device": str(next(findings.subjects[0].model.parameters()).device),
        "sequences": findings.sequences,
        "complete": findings.sequences == len(findings.task.frames),
        "protocol": vars(findings.protocol),
        "sample_seeds": findings.protocol.seeds,
        "models": models,
        "copy_last": copies,
        "published": [other._asdict() for other in findings.task.published],
        "true_frames": {"flicker": _known_pair(average(findings.first.noise))}
        | ({} if truth is None else {"content": _truth(truth, findings.task.horizons)}),
    }


def _all(findings: Findings, name: str) -> dict[str, Any]:
    """Give all that was measured under a name."""
    scores, horizons = findings.scores[name], findings.task.horizons
    curves = {each: _summary(getattr(scores, each), horizons) for each in findings.metrics}
    return curves | {each: _known_pair(average(getattr(scores, each))) for each in STEADINESS}


def _truth(content: Tensor, horizons: Sequence[int]) -> dict[str, Any]:
    """Give the share of true frames in which a classifier reads what they show."""
    averages = {str(each): {"mean": pair(average(content, each))} for each in horizons}
    return {"frames": _pairs(by_frame(content)), "horizons": averages}


def _known_pair(estimate: Estimate) -> list[float | None] | None:
    return None if math.isnan(estimate.value) else pair(estimate)


def _summary(curves: Curves, horizons: Sequence[int]) -> dict[str, Any]:
    """Give every estimate as a pair: the mean over sequences, the half-width of its interval."""
    return {
        "frames": _pairs(by_frame(curves.mean)),
        "frames_of_best": _pairs(by_frame(curves.best())),
        "horizons": {
            str(horizon): {
                "mean": pair(average(curves.mean, horizon)),
                "best": pair(average(curves.best(horizon))),
            }
            for horizon in horizons
        },
    }


def _pairs(estimates: Sequence[Estimate]) -> list[list[float | None]]:
    return [pair(estimate) for estimate in estimates]


def _chart(findings: Findings) -> Frames:
    """Draw the mean over samples, frame by frame, with its interval (Fig. 3)."""
    titles = {
        "psnr": ("PSNR (dB)", 1.0),
        "ssim": (f"SSIM ({findings.protocol.ssim.upper()})", 1.0),
        "sharpness": ("sharpness (%)", 100.0),
        "content": ("content kept (%)", 100.0),
    }
    panels = []
    for metric in findings.metrics:
        title, factor = titles[metric]
        lines = [
            _curve(name, PALETTE[number % len(PALETTE)], getattr(scores, metric).mean * factor)
            for number, (name, scores) in enumerate(findings.scores.items())
        ]
        lines.append(_curve(COPY, MUTED, getattr(findings.first, metric).copied * factor))
        if metric == "content" and findings.truth is not None:
            lines.append(_curve(TRUE_FRAMES, TRUTH, findings.truth * factor))
        panels.append(Panel(title, lines))
    trained = {subject.recipe.data.horizon for subject in findings.subjects}
    stops = sorted(horizon for horizon in trained if horizon < findings.protocol.horizon)
    return chart(panels, along="predicted frame", separators=stops)


def _curve(label: str, colour: tuple[int, int, int], values: Tensor) -> Curve:
    estimates = by_frame(values)
    return Curve(
        label,
        colour,
        [estimate.value for estimate in estimates],
        [estimate.interval for estimate in estimates],
    )


def _examples(findings: Findings) -> Frames:
    """Show the first sequences: the truth, each model's best sample by SSIM, two others (Fig. 4).

    A sample is its clip and its seed, so it is drawn again instead of having been kept.
    """
    protocol, pages = findings.protocol, []
    for number in range(min(SHOWN, findings.sequences)):
        frames = findings.task.frames[number].float() / 255
        observed = frames[: protocol.context]
        rows = [("what happened", to_frames(frames))]
        for subject in findings.subjects:
            best = int(best_of(findings.scores[subject.name].ssim.samples[number]))
            chosen = {"best SSIM": protocol.seeds[best]}
            others = [sample for sample in range(protocol.samples) if sample != best][:2]
            chosen |= {f"sample {sample + 1}": protocol.seeds[sample] for sample in others}
            given = frames[None].to(next(subject.model.parameters()).device)
            seeds = list(chosen.values())
            drawn = draw(
                subject.model,
                given,
                context=protocol.context,
                seeds=seeds,
                temperature=subject.temperature,
            )
            for label, sample in zip(chosen, drawn.frames[0].cpu(), strict=True):
                rows.append((f"{subject.name}, {label}", to_frames(torch.cat([observed, sample]))))
        rate = Fraction(findings.subjects[0].recipe.data.frame_rate).limit_denominator(1001)
        tile = max(64, min(128, protocol.size))
        pages.append(strip(rows, tile=tile, rate=rate, columns=18, observed=protocol.context))
    return np.concatenate(pages)
