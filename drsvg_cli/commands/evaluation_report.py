"""What an evaluation leaves: tables, a record, curves (Fig. 3) and examples (Fig. 4)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from itertools import combinations, cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drsvg_cli import __version__
from drsvg_cli.commands.evaluation_setup import Subject
from drsvg_cli.commands.output_folder import write_picture, write_record
from drsvg_cli.commands.tables import (
    Table,
    difference,
    latent_table,
    markdown,
    percent,
    shown,
    triple,
)
from drsvg_cli.data.dataset import PUBLISHED_SAMPLES, Benchmark
from drsvg_cli.evaluation.latents import LatentUse
from drsvg_cli.evaluation.metrics import best_of
from drsvg_cli.evaluation.prediction import Scores, draw, marks
from drsvg_cli.evaluation.scores import Estimate, estimate
from drsvg_cli.frames import Frames
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
from drsvg_cli.inference.predictor import Predictor
from drsvg_cli.visualization.charts import PALETTE, Curve, Panel, chart
from drsvg_cli.visualization.samples import TRUTH, strip

TABLE_FILE, CURVES_FILE, EXAMPLES_FILE = "table.md", "curves.png", "examples.png"
RECORD_FILE = "evaluation.json"
RESULT_FILES = TABLE_FILE, CURVES_FILE, EXAMPLES_FILE, RECORD_FILE
SHOWN = 2
"""Sequences in the picture of examples."""
COPY = "copy"
COLUMNS = {
    "psnr": ("PSNR (dB)", 2),
    "best": ("best sample", 2),
    "lpips": ("LPIPS", 4),
    "energy": ("energy", 4),
    "spread": ("spread / skill", 2),
    "ahead": ("ahead of copy", 2),
    "sharpness": ("sharpness", 2),
    "flicker": ("flicker", 2),
}
"""Heads and digits of the first table."""
DIGITS = [digits for _, digits in COLUMNS.values()]
COMPARED = ("psnr", "best", "lpips", "energy")


@dataclass(frozen=True)
class Protocol:
    """How models are measured: what must be the same for numbers to be compared."""

    data: str
    """The sequences, in words."""
    context: int
    horizon: int
    samples: int
    seed: int
    temperature: float | None
    digest: str
    """The SHA-256 of the sequences."""

    @property
    def seeds(self) -> list[int]:
        """One a sample."""
        return [self.seed + number for number in range(1, self.samples + 1)]


@dataclass(frozen=True)
class Row:
    """A predictor that is measured, and how it is asked."""

    name: str
    predictor: Predictor
    seeds: Sequence[int]
    temperature: float | None


@dataclass(frozen=True)
class Findings:
    """What was measured, of the same sequences for every row."""

    subjects: Sequence[Subject]
    rows: Sequence[Row]
    task: Benchmark
    protocol: Protocol
    scores: Mapping[str, Scores]
    """By the names of the rows."""
    truth: Scores
    """Of the true frames themselves."""
    latents: Mapping[str, Mapping[str, LatentUse]]
    """By model and latent."""

    @property
    def marks(self) -> list[int]:
        """Which predicted frames are looked at closely, counted from 1."""
        return marks(self.protocol.horizon)

    @property
    def sequences(self) -> int:
        """Count the sequences measured so far."""
        return len(self.truth.psnr)

    @property
    def metrics(self) -> list[str]:
        """Name what was measured of every sample and frame."""
        names = "psnr", "ssim", "content"
        return [name for name in names if getattr(self.truth, name).shape[-1]]

    def over(self, values: Tensor) -> Estimate:
        """Average a number a sequence, `(N,)`, with an interval over clips."""
        return estimate(values, self.task.groups[: len(values)])

    def at_marks(self, scores: Scores, metric: str) -> Tensor:
        """Return a metric of a row at the marks, the mean over samples: `(N, M)`."""
        values: Tensor = getattr(scores, metric)
        values = values.mean(1) if values.ndim == 3 else values
        at_all = values.shape[1] == self.protocol.horizon
        return values[:, [mark - 1 for mark in self.marks]] if at_all else values

    def numbers(self, scores: Scores) -> dict[str, Tensor]:
        """Return what the first table has of a row, `(N,)` each; NaN where there is nothing."""
        found = {
            name: self.at_marks(scores, name).mean(1)
            for name in ("psnr", "lpips", "energy", "spread", "sharpness", "flicker")
        }
        places = [mark - 1 for mark in self.marks]
        found["best"] = scores.psnr[..., places].mean(2).amax(1)
        copied = self.at_marks(self.scores[COPY], "psnr").mean(1)
        found["ahead"] = (found["psnr"] > copied).float()
        if scores.psnr.shape[1] == 1:
            found |= {name: torch.full_like(copied, math.nan) for name in ("best", "spread")}
        return {name: found[name] for name in COLUMNS}


def write(found: Findings, folder: Path) -> dict[str, Any]:
    """Write all results into a folder; return the record."""
    (folder / TABLE_FILE).write_text("\n".join(map(markdown, tables(found))), encoding="utf-8")
    write_picture(folder / CURVES_FILE, _chart(found))
    write_picture(folder / EXAMPLES_FILE, _examples(found))
    return write_record(folder, RECORD_FILE, _record(found))


def tables(found: Findings) -> list[Table]:
    """Lay out scores, frame by frame, against the baselines; the papers' table; the latents."""
    papers = [_papers(found)] if "ssim" in found.metrics else []
    latents = [latent_table(found.latents)] if found.latents else []
    return [_scores(found), _by_frame(found), _differences(found), *papers, *latents]


def _scores(found: Findings) -> Table:
    """Lay out the mean over the marks."""
    heads = [f"frames {', '.join(map(str, found.marks))}", *(head for head, _ in COLUMNS.values())]
    rows = [
        [name, *map(_mean, found.numbers(scores).values(), DIGITS)]
        for name, scores in found.scores.items()
    ]
    numbers = found.numbers(found.truth)
    own = [_mean(numbers[name], COLUMNS[name][1]) for name in ("sharpness", "flicker")]
    return Table(heads, [*rows, ["true frames", *[""] * (len(COLUMNS) - len(own)), *own]])


def _mean(values: Tensor, digits: int) -> str:
    mean = float(values.nanmean())
    return "" if math.isnan(mean) else f"{mean:.{digits}f}"


def _by_frame(found: Findings) -> Table:
    """Lay out the marks one by one, and the PSNR of all frames."""
    metrics = ("psnr", "lpips", "energy")
    heads = [f"{COLUMNS[metric][0]}, {mark}" for metric in metrics for mark in found.marks]
    rows = []
    for name, scores in found.scores.items():
        columns = [(m, each) for m in metrics for each in found.at_marks(scores, m).unbind(1)]
        cells = [_mean(values, COLUMNS[metric][1]) for metric, values in columns]
        rows.append([name, *cells, _mean(scores.psnr, 2)])
    return Table(["frame", *heads, "PSNR, all"], rows)


def _differences(found: Findings) -> Table:
    """Lay out paired differences, each with its interval over clips."""
    heads = [COLUMNS[metric][0] for metric in COMPARED]
    rows = [
        [f"{one} − {other}", *(difference(values[m], COLUMNS[m][1]) for m in COMPARED)]
        for one, other, values in _compared(found)
    ]
    return Table(["difference, 95 % over clips", *heads], rows)


def _compared(found: Findings) -> list[tuple[str, str, dict[str, Estimate]]]:
    """Compare what is alike: samples with samples, most expected futures with each other."""
    counts = {name: scores.psnr.shape[1] for name, scores in found.scores.items()}
    models = [name for name in found.scores if name not in BASELINES]
    pairs = [
        (name, other)
        for name in models
        for other in BASELINES
        if other == COPY or (other in DETERMINISTIC) == (counts[name] == 1)
    ]
    pairs += [pair for pair in combinations(models, 2) if counts[pair[0]] == counts[pair[1]]]
    pairs += [] if models else [(name, COPY) for name in BASELINES if name != COPY]
    numbers = {name: found.numbers(scores) for name, scores in found.scores.items()}
    return [
        (one, other, {m: found.over(numbers[one][m] - numbers[other][m]) for m in COMPARED})
        for one, other in pairs
    ]


def _papers(found: Findings) -> Table:
    """Lay out what papers quote: a row a horizon and model, all frames up to it."""
    best = f"best of {found.protocol.samples}"
    heads = ["frames", "model", "PSNR (dB), mean", best, "SSIM (SRVP), mean", best]
    judged, rows = "content" in found.metrics, []
    for horizon in found.task.horizons:
        for name, scores in found.scores.items():
            cells = [str(horizon), name]
            for metric, digits in (("psnr", 2), ("ssim", 4)):
                mean = getattr(scores, metric)[..., :horizon].mean((1, 2))
                several = scores.psnr.shape[1] > 1
                most = found.over(scores.best(metric, horizon).mean(1))
                cells += [shown(found.over(mean), digits), shown(most, digits) if several else ""]
            if judged:
                cells.append(percent(found.over(scores.content[..., :horizon].mean((1, 2)))))
            rows.append(cells)
        if judged:
            ceiling = percent(found.over(found.truth.content[..., :horizon].mean((1, 2))))
            rows.append([str(horizon), "true frames", *[""] * 4, ceiling])
    if found.protocol.samples == PUBLISHED_SAMPLES:
        end = [""] * judged
        rows += [
            [str(horizon), other.name, "", f"{other.psnr:.2f}", "", f"{other.ssim:.4f}", *end]
            for other in found.task.published
        ]
    return Table([*heads, "content kept"] if judged else heads, rows)


def _record(found: Findings) -> dict[str, Any]:
    asked = found.protocol.temperature
    models = {
        subject.name: {
            "weights_sha256": subject.weights,
            "trained_horizon": subject.recipe.data.horizon,
            "temperature": subject.temperature if asked is None else asked,
            "latents": {k: use._asdict() for k, use in found.latents.get(subject.name, {}).items()},
        }
        for subject in found.subjects
    }
    return {
        "drsvg": __version__,
        "torch": version("torch"),
        "sequences": found.sequences,
        "complete": found.sequences == len(found.task.clips),
        "protocol": vars(found.protocol),
        "sample_seeds": found.protocol.seeds,
        "marks": found.marks,
        "models": models,
        "scores": {name: _summary(found, scores) for name, scores in found.scores.items()},
        "true_frames": _summary(found, found.truth),
        "differences": [
            {"of": one, "minus": other, **{k: triple(v) for k, v in values.items()}}
            for one, other, values in _compared(found)
        ],
        "published": [other._asdict() for other in found.task.published],
    }


def _summary(found: Findings, scores: Scores) -> dict[str, Any]:
    """Give every estimate as three numbers: the mean over sequences, and its 95 % interval."""

    def each(values: Tensor) -> list[list[float | None]]:
        return [triple(found.over(column)) for column in values.unbind(1)]

    summary: dict[str, Any] = {
        name: {"mean": triple(found.over(values))} for name, values in found.numbers(scores).items()
    }
    for metric in ("psnr", "lpips", "energy", "spread", "sharpness", "flicker"):
        summary[metric]["marks"] = each(found.at_marks(scores, metric))
    for metric in found.metrics:
        values = getattr(scores, metric)
        summary.setdefault(metric, {}).update(
            frames=each(values.mean(1)),
            frames_of_best=each(scores.best(metric)),
            horizons={
                str(horizon): {
                    "mean": triple(found.over(values[..., :horizon].mean((1, 2)))),
                    "best": triple(found.over(scores.best(metric, horizon).mean(1))),
                }
                for horizon in found.task.horizons
            },
        )
    return summary


def _chart(found: Findings) -> Frames:
    """Draw the mean over samples, frame by frame, with its interval (Fig. 3)."""
    titles = {"psnr": "PSNR (dB)", "ssim": "SSIM", "content": "content kept (%)"}
    panels = []
    for metric in found.metrics:
        lines = [*zip(found.scores.items(), cycle(PALETTE))]
        if metric == "content":
            lines.append((("true frames", found.truth), TRUTH))
        curves = []
        for (name, scores), colour in lines:
            values = getattr(scores, metric).mean(1) * (100.0 if metric == "content" else 1.0)
            each = [found.over(column) for column in values.unbind(1)]
            spread = [(estimate.high - estimate.low) / 2 for estimate in each]
            curves.append(Curve(name, colour, [estimate.value for estimate in each], spread))
        panels.append(Panel(titles[metric], curves))
    trained = {subject.recipe.data.horizon for subject in found.subjects}
    stops = sorted(horizon for horizon in trained if horizon < found.protocol.horizon)
    return chart(panels, along="predicted frame", separators=stops)


def _examples(found: Findings) -> Frames:
    """Show the first sequences: the truth, and of each row the best sample and two others (Fig. 4).

    A sample is its clip and its seed, so it is drawn again instead of having been kept.
    """
    horizon, pages = found.protocol.horizon, []
    rate = Fraction(found.subjects[0].recipe.data.frame_rate).limit_denominator(1001)
    for number in range(min(SHOWN, found.sequences)):
        clip = found.task.clips[number]
        observed, films = clip[:-horizon], [("what happened", clip)]
        for row in found.rows:
            best, count = int(best_of(found.scores[row.name].psnr[number])), len(row.seeds)
            chosen = [best, *[sample for sample in range(count) if sample != best][:2]]
            seeds = [row.seeds[sample] for sample in chosen]
            drawn = draw(row.predictor, observed, horizon, seeds=seeds, temperature=row.temperature)
            for sample, film in zip(chosen, drawn, strict=True):
                label = ", best PSNR" if sample == best else f", sample {sample + 1}"
                title = row.name + label * (count > 1)
                films.append((title, np.concatenate([observed, film])))
        tile = max(64, min(128, max(clip.shape[1:3])))
        pages.append(strip(films, tile=tile, rate=rate, columns=18, observed=len(observed)))
    width = max(page.shape[1] for page in pages)
    return np.concatenate(
        [np.pad(page, ((0, 0), (0, width - page.shape[1]), (0, 0)), mode="edge") for page in pages]
    )
