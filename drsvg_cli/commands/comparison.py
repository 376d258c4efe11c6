"""`drsvg predict --compare`: samples of a clip against what happened, beside the baselines."""

import tempfile
from functools import partial
from typing import Any

import numpy as np

from drsvg_cli.commands.clip_input import Excerpt, Session
from drsvg_cli.evaluation.lpips import LPIPS, SMALLEST
from drsvg_cli.evaluation.metrics import best_of
from drsvg_cli.evaluation.prediction import SIDE, Judge, Scores, measure, score
from drsvg_cli.frames import Frames, resize_whole
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC

METRICS = {"psnr": 2, "lpips": 4, "energy": 4}


class Comparison:
    """Measures samples of one clip at the size that `drsvg evaluate` measures its model at."""

    def __init__(self, session: Session, excerpt: Excerpt) -> None:
        """Take a clip of which the frames to be predicted were held back."""
        network, truth = session.loaded.network, excerpt.truth
        assert truth is not None
        side = SIDE if network is None else network.config.size
        self._side = max(SMALLEST, min(side, *truth.shape[1:3]))
        frames = (*excerpt.observed, *truth)
        self._clip = np.stack([resize_whole(frame, self._side) for frame in frames])
        self._horizon, self._seeds = len(truth), session.seeds
        device = session.device
        self._judge = Judge(LPIPS(device), similarity=False, channels=3, device=device)
        shape = (len(session.seeds), *self._clip[-self._horizon :].shape)
        with tempfile.TemporaryFile() as file:  # on disk: memory does not grow with the horizon
            self._made = np.memmap(file, np.uint8, "w+", shape=shape)

    def note(self, sample: int, time: int, frame: Frames) -> None:
        """Take a predicted frame `(H, W, 3)`."""
        self._made[sample, time] = resize_whole(frame, self._side)

    def summary(self) -> dict[str, Any]:
        """Return the scores of samples as the record has them, and those of the baselines."""
        truth, last = self._clip[-self._horizon :], self._clip[-self._horizon - 1]
        found = measure(self._made, truth, last, judge=self._judge, number=0)
        summary: dict[str, Any] = {"side": self._side, "samples": _numbers(found)}
        measured = partial(score, clips=[self._clip], horizon=self._horizon, judge=self._judge)
        for name, make in BASELINES.items():
            seeds = self._seeds[:1] if name in DETERMINISTIC else self._seeds
            summary[name] = _numbers(measured(make(), seeds=seeds))
        return summary


def _numbers(scores: Scores) -> dict[str, Any]:
    """Return the means of one sequence, and of each sample."""
    each = {"psnr": scores.psnr[0].mean(1), "lpips": scores.lpips[0].mean(1)}
    best = int(best_of(scores.psnr[0]))
    return {
        "psnr": float(each["psnr"].mean()),
        "lpips": float(each["lpips"].mean()),
        "energy": float(scores.energy.mean()),
        "best_sample": best + 1,
        "best_psnr": float(each["psnr"][best]),
        **{f"{name}_of_each": values.tolist() for name, values in each.items()},
    }


def score_rows(scores: dict[str, Any]) -> list[list[str]]:
    """Lay scores out: heads, the samples, the baselines, and every sample."""
    rows = [[f"against what happened, at {scores['side']} pixels", "PSNR (dB)", "LPIPS", "energy"]]
    labels = {"samples": "mean of the samples", "copy": "copy of the last frame"}
    labels |= {"motion": "motion that goes on", "motion-speeds": "motion at random speeds"}
    for key, label in labels.items():
        rows.append([label, *(f"{scores[key][name]:.{n}f}" for name, n in METRICS.items())])
    samples = scores["samples"]
    pairs = zip(samples["psnr_of_each"], samples["lpips_of_each"], strict=True)
    for number, (decibels, distance) in enumerate(pairs, start=1):
        best = ", the best" if number == samples["best_sample"] else ""
        rows.append([f"sample {number}{best}", f"{decibels:.2f}", f"{distance:.4f}", ""])
    return rows
