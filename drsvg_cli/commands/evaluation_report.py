"""What an evaluation leaves: tables, a record, curves (Fig. 3) and examples (Fig. 4)."""

import math
from fractions import Fraction
from importlib.metadata import version
from itertools import combinations, cycle, product
from typing import Any

import numpy as np
from torch import Tensor

from drsvg_cli import __version__
from drsvg_cli.commands.evaluation_results import AT_MARKS, COLUMNS, COPY, TRUE_FRAMES, Findings
from drsvg_cli.commands.tables import (
    TABLE_FILE,
    Table,
    difference,
    latent_table,
    percent,
    shown,
    triple,
)
from drsvg_cli.data.dataset import PUBLISHED_SAMPLES
from drsvg_cli.evaluation.metrics import best_of
from drsvg_cli.evaluation.prediction import Scores, draw
from drsvg_cli.evaluation.scores import Estimate
from drsvg_cli.frames import Frames
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
from drsvg_cli.visualization.charts import PALETTE, Curve, Panel, chart
from drsvg_cli.visualization.samples import TRUTH, strip

CURVES_FILE, EXAMPLES_FILE, RECORD_FILE = "curves.png", "examples.png", "evaluation.json"
RESULT_FILES = TABLE_FILE, CURVES_FILE, EXAMPLES_FILE, RECORD_FILE
SHOWN = 2
"""Sequences in the picture of examples."""
COMPARED = ("psnr", "best", "lpips", "energy")


def tables(found: Findings) -> list[Table]:
    """Lay out scores, frame by frame, against the baselines; the papers' table; the latents."""
    papers = [_papers(found)] if "ssim" in found.metrics else []
    latents = [latent_table(found.latents)] if found.latents else []
    return [_scores(found), _by_frame(found), _differences(found), *papers, *latents]


def _scores(found: Findings) -> Table:
    """Lay out the mean over the marks."""
    heads = [f"frames {', '.join(map(str, found.marks))}", *(head for head, _ in COLUMNS.values())]
    rows = [
        [name, *(_mean(each, COLUMNS[key][1]) for key, each in found.numbers(scores).items())]
        for name, scores in found.scores.items()
    ]
    numbers = found.numbers(found.truth)
    own = [_mean(numbers[name], COLUMNS[name][1]) for name in ("sharpness", "flicker")]
    return Table(heads, [*rows, [TRUE_FRAMES, *[""] * (len(COLUMNS) - len(own)), *own]])


def _mean(values: Tensor, digits: int) -> str:
    return shown(Estimate(float(values.nanmean()), math.nan, math.nan), digits)


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
    named = [*found.scores.items(), *[(TRUE_FRAMES, found.truth)] * judged]
    for horizon, (name, scores) in product(found.task.horizons, named):
        cells = []
        for metric, digits in (("psnr", 2), ("ssim", 4)) if name != TRUE_FRAMES else ():
            mean = getattr(scores, metric)[..., :horizon].mean((1, 2))
            most = found.over(scores.best(metric, horizon).mean(1))
            several = scores.psnr.shape[1] > 1
            cells += [shown(found.over(mean), digits), shown(most, digits) * several]
        if judged:
            kept = percent(found.over(scores.content[..., :horizon].mean((1, 2))))
            cells = [*(cells or [""] * 4), kept]
        rows.append([str(horizon), name, *cells])
    if found.protocol.samples == PUBLISHED_SAMPLES:
        end = [""] * judged
        rows += [
            [str(horizon), other.name, "", f"{other.psnr:.2f}", "", f"{other.ssim:.4f}", *end]
            for other in found.task.published
        ]
    return Table([*heads, "content kept"] if judged else heads, rows)


def record(found: Findings) -> dict[str, Any]:
    """Return all that was measured, for a program."""
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
        "sequences": len(found.task.clips),
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
    for metric in AT_MARKS:
        summary[metric]["marks"] = each(found.at_marks(scores, metric))
    for metric in found.metrics:
        values = getattr(scores, metric)
        summary.setdefault(metric, {}).update(
            frames=each(values.mean(1)),
            horizons={
                str(horizon): {
                    "mean": triple(found.over(values[..., :horizon].mean((1, 2)))),
                    "best": triple(found.over(scores.best(metric, horizon).mean(1))),
                }
                for horizon in found.task.horizons
            },
        )
    return summary


def curves(found: Findings) -> Frames:
    """Draw the mean over samples, frame by frame, with its interval (Fig. 3)."""
    titles = {"psnr": "PSNR (dB)", "ssim": "SSIM", "content": "content kept (%)"}
    panels = []
    for metric in found.metrics:
        lines = [*zip(found.scores.items(), cycle(PALETTE))]
        if metric == "content":
            lines.append(((TRUE_FRAMES, found.truth), TRUTH))
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


def examples(found: Findings) -> Frames:
    """Show the first sequences: the truth, and of each row the best sample and two others (Fig. 4).

    A sample is its clip and its seed, so it is drawn again instead of having been kept.
    """
    horizon, pages = found.protocol.horizon, []
    rate = Fraction(found.subjects[0].recipe.data.frame_rate).limit_denominator(1001)
    for number in range(min(SHOWN, len(found.task.clips))):
        clip = found.task.clips[number]
        observed, films = clip[:-horizon], [("what happened", clip)]
        for row in found.rows:
            best, count = int(best_of(found.scores[row.name].psnr[number])), len(row.seeds)
            chosen = [best, *[sample for sample in range(count) if sample != best][:2]]
            seeds = [row.seeds[sample] for sample in chosen]
            drawn = draw(row.predictor, observed, horizon, seeds=seeds, temperature=row.temperature)
            for sample, film in zip(chosen, drawn, strict=True):
                label = ", best PSNR" if sample == best else f", sample {sample + 1}"
                films.append((row.name + label * (count > 1), np.concatenate([observed, film])))
        tile = max(64, min(128, max(clip.shape[1:3])))
        pages.append(strip(films, tile=tile, rate=rate, columns=18, observed=len(observed)))
    width = max(page.shape[1] for page in pages)
    return np.concatenate(
        [np.pad(page, ((0, 0), (0, width - page.shape[1]), (0, 0)), mode="edge") for page in pages]
    )
