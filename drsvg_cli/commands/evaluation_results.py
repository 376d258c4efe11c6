"""What an evaluation has measured, of the same sequences for every row, and its averages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drsvg_cli.commands.evaluation_setup import Subject
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.evaluation.latents import LatentUse
from drsvg_cli.evaluation.prediction import Scores, marks
from drsvg_cli.evaluation.scores import Estimate, estimate
from drsvg_cli.inference.predictor import Predictor

COPY, TRUE_FRAMES = "copy", "true frames"
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
AT_MARKS = ("psnr", "lpips", "energy", "spread", "sharpness", "flicker")


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
class Plan:
    """What is measured, and on what."""

    subjects: Sequence[Subject]
    rows: Sequence[Row]
    task: Benchmark
    protocol: Protocol


@dataclass(frozen=True)
class Findings(Plan):
    """What was measured, of the same sequences for every row."""

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
    def metrics(self) -> list[str]:
        """Name what was measured of every sample and frame."""
        return [name for name in ("psnr", "ssim", "content") if getattr(self.truth, name).numel()]

    def over(self, values: Tensor) -> Estimate:
        """Average a number a sequence, `(N,)`, with an interval over clips."""
        return estimate(values, self.task.groups)

    def at_marks(self, scores: Scores, metric: str) -> Tensor:
        """Return a metric of a row at the marks, the mean over samples: `(N, M)`."""
        values: Tensor = getattr(scores, metric)
        values = values.mean(1) if values.ndim == 3 else values
        at_all = values.shape[1] == self.protocol.horizon
        return values[:, [mark - 1 for mark in self.marks]] if at_all else values

    def numbers(self, scores: Scores) -> dict[str, Tensor]:
        """Return what the first table has of a row, `(N,)` each; NaN where there is nothing."""
        found = {name: self.at_marks(scores, name).mean(1) for name in AT_MARKS}
        places = [mark - 1 for mark in self.marks]
        found["best"] = scores.psnr[..., places].mean(2).amax(1)
        copied = self.at_marks(self.scores[COPY], "psnr").mean(1)
        found["ahead"] = (found["psnr"] > copied).float()
        if scores.psnr.shape[1] == 1:
            found |= {name: torch.full_like(copied, math.nan) for name in ("best", "spread")}
        return {name: found[name] for name in COLUMNS}
