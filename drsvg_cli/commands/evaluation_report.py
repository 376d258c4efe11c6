"""What an evaluation leaves: tables, a record, curves (Fig. 3) and examples (Fig. 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
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
from drsvg_cli.inference.predictor import Predictor
from drsvg_cli.visualization.charts import PALETTE, Curve, Panel, chart
from drsvg_cli.visualization.samples import TRUTH, strip

TABLE_FILE, CURVES_FILE, EXAMPLES_FILE = "table.md", "curves.png", "examples.png"
RECORD_FILE = "evaluation.json"
RESULT_FILES = TABLE_FILE, CURVES_FILE, EXAMPLES_FILE, RECORD_FILE
SHOWN = 2
"""Sequences in the picture of examples."""
COPY, MOTION, SPEEDS = "copy", "motion", "motion-speeds"


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
        """Return the mean over samples of a metric at the marks, `(N, M)`."""
        values: Tensor = getattr(scores, metric)
        if values.ndim == 3:
            values = values.mean(1)
        return values if values.shape[1] == len(self.marks) else values[:, self._places]

    def best_psnr(self, scores: Scores) -> Tensor:
        """Return the PSNR of the best sample over the marks, `(N,)`."""
        return scores.psnr[..., self._places].mean(2).amax(1)

    @property
    def _places(self) -> list[int]:
        return [mark - 1 for mark in self.marks]


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
    """Lay out the mean over the marks, and how sharp and steady frames are."""
    numbers = [str(mark) for mark in found.marks]
    frames = ", ".join(numbers[:-1]) + " and " * (len(numbers) > 1) + numbers[-1]
    heads = [f"frames {frames}", "PSNR (dB)", f"best of {found.protocol.samples}", "LPIPS"]
    heads += ["energy", "spread / skill", "ahead of copy", "sharpness", "flicker"]
    copied, rows = found.at_marks(found.scores[COPY], "psnr").mean(1), []
    for name, scores in found.scores.items():
        several = scores.psnr.shape[1] > 1
        error = found.at_marks(scores, "psnr").mean(1)
        rows.append(
            [
                name,
                f"{error.mean():.2f}",
                f"{found.best_psnr(scores).mean():.2f}" if several else "",
                f"{scores.lpips.mean():.4f}",
                f"{scores.energy.mean():.4f}",
                f"{scores.spread.mean():.2f}" if several else "",
                "" if name == COPY else f"{100 * (error > copied).float().mean():.0f} %",
                *_steadiness(scores),
            ]
        )
    return Table(heads, [*rows, ["true frames", *[""] * 6, *_steadiness(found.truth)]])


def _steadiness(scores: Scores) -> list[str]:
    flicker = scores.flicker[~scores.flicker.isnan()]
    return [f"{100 * scores.sharpness.mean():.0f} %", f"{flicker.mean():.2f}" * bool(len(flicker))]


def _by_frame(found: Findings) -> Table:
    """Lay out the marks one by one, and the PSNR of all frames."""
    metrics = {"psnr": ("PSNR", 2), "lpips": ("LPIPS", 4), "energy": ("energy", 4)}
    heads = [f"{title}, {mark}" for title, _ in metrics.values() for mark in found.marks]
    rows = []
    for name, scores in found.scores.items():
        cells = [
            f"{value:.{digits}f}"
            for metric, (_, digits) in metrics.items()
            for value in found.at_marks(scores, metric).mean(0).tolist()
        ]
        rows.append([name, *cells, f"{scores.psnr.mean():.2f}"])
    return Table(["frame", *heads, "PSNR, all"], rows)


def _differences(found: Findings) -> Table:
    """Lay out paired differences, each with its interval over clips."""
    heads = ["difference, 95 % over clips", "PSNR (dB)", "best", "LPIPS", "energy"]
    return Table(
        heads,
        [
            [
                f"{one} − {other}",
                *(difference(each, 2 + 2 * (number > 1)) for number, each in cells),
            ]
            for one, other, values in _compared(found)
            for cells in [list(enumerate(values.values()))]
        ],
    )


def _compared(found: Findings) -> list[tuple[str, str, dict[str, Estimate]]]:
    """Compare what is alike: samples with samples, most expected futures with each other."""
    counts = {name: scores.psnr.shape[1] for name, scores in found.scores.items()}
    baselines = [COPY, MOTION, SPEEDS]
    models = [name for name in found.scores if name not in baselines]
    pairs = [
        (name, other)
        for name in models
        for other in baselines
        if other == COPY or (other == SPEEDS) == (counts[name] > 1)
    ]
    pairs += [pair for pair in combinations(models, 2) if counts[pair[0]] == counts[pair[1]]]
    pairs += [] if models else [(MOTION, COPY), (SPEEDS, COPY)]
    compared = []
    for one, other in pairs:
        first, second = found.scores[one], found.scores[other]
        values = {
            metric: found.over(
                (found.at_marks(first, metric) - found.at_marks(second, metric)).mean(1)
            )
            for metric in ("psnr", "lpips", "energy")
        }
        best = Estimate(*[float("nan")] * 3)
        if min(counts[one], counts[other]) > 1:
            best = found.over(found.best_psnr(first) - found.best_psnr(second))
        ordered = {"psnr": values["psnr"], "best": best}
        compared.append((one, other, ordered | values))
    return compared


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
    models = {
        subject.name: {
            "weights_sha256": subject.weights,
            "trained_horizon": subject.recipe.data.horizon,
            "temperature": 1.0
            if found.protocol.temperature is None
            else found.protocol.temperature,
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
    summary: dict[str, Any] = {}
    for metric in ("lpips", "energy", "spread", "sharpness", "flicker"):
        values = found.at_marks(scores, metric)
        summary[metric] = {
            "mean": triple(found.over(values.mean(1))),
            "marks": _each(found, values),
        }
    for metric in found.metrics:
        values = getattr(scores, metric)
        summary[metric] = {
            "frames": _each(found, values.mean(1)),
            "frames_of_best": _each(found, scores.best(metric)),
            "horizons": {
                str(horizon): {
                    "mean": triple(found.over(values[..., :horizon].mean((1, 2)))),
                    "best": triple(found.over(scores.best(metric, horizon).mean(1))),
                }
                for horizon in found.task.horizons
            },
        }
    summary["psnr"]["marks"] = _each(found, found.at_marks(scores, "psnr"))
    return summary


def _each(found: Findings, values: Tensor) -> list[list[float | None]]:
    return [triple(found.over(column)) for column in values.unbind(1)]


def _chart(found: Findings) -> Frames:
    """Draw the mean over samples, frame by frame, with its interval (Fig. 3)."""
    titles = {"psnr": "PSNR (dB)", "ssim": "SSIM", "content": "content kept (%)"}
    panels = []
    for metric in found.metrics:
        factor = 100.0 if metric == "content" else 1.0
        lines = [
            _curve(found, name, PALETTE[number % len(PALETTE)], getattr(scores, metric) * factor)
            for number, (name, scores) in enumerate(found.scores.items())
        ]
        if metric == "content":
            lines.append(_curve(found, "true frames", TRUTH, found.truth.content * factor))
        panels.append(Panel(titles[metric], lines))
    trained = {subject.recipe.data.horizon for subject in found.subjects}
    stops = sorted(horizon for horizon in trained if horizon < found.protocol.horizon)
    return chart(panels, along="predicted frame", separators=stops)


def _curve(found: Findings, label: str, colour: tuple[int, int, int], values: Tensor) -> Curve:
    estimates = [found.over(column) for column in values.mean(1).unbind(1)]
    spread = [(each.high - each.low) / 2 for each in estimates]
    return Curve(label, colour, [each.value for each in estimates], spread)


def _examples(found: Findings) -> Frames:
    """Show the first sequences: the truth, and of each row the best sample and two others (Fig. 4).

    A sample is its clip and its seed, so it is drawn again instead of having been kept.
    """
    horizon, pages = found.protocol.horizon, []
    for number in range(min(SHOWN, found.sequences)):
        clip = found.task.clips[number]
        observed = clip[:-horizon]
        films = [("what happened", clip)]
        for row in found.rows:
            best = int(best_of(found.scores[row.name].psnr[number]))
            chosen = {"best PSNR": best} if len(row.seeds) > 1 else {"": 0}
            others = [sample for sample in range(len(row.seeds)) if sample != best][:2]
            chosen |= {f"sample {sample + 1}": sample for sample in others}
            seeds = [row.seeds[sample] for sample in chosen.values()]
            drawn = draw(row.predictor, observed, horizon, seeds=seeds, temperature=row.temperature)
            for label, sample in zip(chosen, drawn, strict=True):
                title = f"{row.name}, {label}" if label else row.name
                films.append((title, np.concatenate([observed, sample])))
        rate = Fraction(found.subjects[0].recipe.data.frame_rate).limit_denominator(1001)
        tile = max(64, min(128, max(clip.shape[1:3])))
        pages.append(strip(films, tile=tile, rate=rate, columns=18, observed=len(observed)))
    width = max(page.shape[1] for page in pages)
    wide = [
        np.pad(page, ((0, 0), (0, width - page.shape[1]), (0, 0)), mode="edge") for page in pages
    ]
    return np.concatenate(wide)
