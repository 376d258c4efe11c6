"""How good predictions are, frame by frame, beside copying the last observed frame."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from drsvg_cli.metrics import CEILING, best_of, psnr, ssim
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.rollout import predict

CLIPS_AT_ONCE = 8


class Curves(NamedTuple):
    """One metric over clips and predicted frames, each `(N, T)`."""

    mean: Tensor
    """Mean over the samples."""
    best: Tensor
    """The sample with the best average over time, chosen a clip and a metric (SRVP)."""
    copied: Tensor
    """The last observed frame, repeated."""


class Scores(NamedTuple):
    """Both metrics of the field."""

    psnr: Curves
    """dB, each frame's cut at `metrics.CEILING`."""
    ssim: Curves
    """As SRVP defines it, up to 1."""


def evaluate(model: DRSVG, clips: Tensor, *, context: int, seeds: Sequence[int]) -> Scores:
    """Predict clips `(N, T, C, S, S)` from their first `context` frames, one sample a seed."""
    device = next(model.parameters()).device
    parts = []
    for some in clips.split(CLIPS_AT_ONCE):
        observed, truth = some[:, :context].to(device), some[:, context:].to(device)
        samples = predict(model, observed, truth.shape[1], seeds=seeds).frames
        parts.append([_curves(metric, samples, observed, truth) for metric in (_psnr, ssim)])
    joined = [
        Curves(*map(torch.cat, zip(*metric, strict=True))) for metric in zip(*parts, strict=True)
    ]
    return Scores(*joined)


def _psnr(predicted: Tensor, truth: Tensor) -> Tensor:
    return psnr(predicted, truth).clamp(max=CEILING)


def _curves(
    metric: Callable[[Tensor, Tensor], Tensor], samples: Tensor, observed: Tensor, truth: Tensor
) -> Curves:
    scores = metric(samples, truth[:, None])
    chosen = best_of(scores)
    best = scores[torch.arange(len(scores)), chosen]
    return Curves(scores.mean(1).cpu(), best.cpu(), metric(observed[:, -1:], truth).cpu())
