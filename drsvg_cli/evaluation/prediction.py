"""How good predictions are: every predictor on the same sequences, frame by frame.

A score is kept for every sequence, sample and frame, which is little beside the frames themselves;
means, the best samples and intervals follow from it. Everything is measured in float32.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from drsvg_cli.evaluation.classifier import Known
from drsvg_cli.evaluation.lpips import LPIPS
from drsvg_cli.evaluation.metrics import CEILING, LEAST_SHARPNESS, best_of, psnr, sharpness, ssim
from drsvg_cli.evaluation.scores import judge_ensemble
from drsvg_cli.frames import Frames
from drsvg_cli.inference.predictor import Predictor

SIDE = 128
"""Pixels along the shorter side, at which whole frames are measured."""
STILL = 8
"""A pixel stands still in a sequence if it never is further from what was last observed, in levels
of 255."""
MARKS = (1, 4, 10)
"""Predicted frames, counted from 1, that are looked at closely; the last one is, too."""


class Scores(NamedTuple):
    """What is measured of one predictor, on N sequences with S samples of T frames."""

    psnr: Tensor
    """dB, each frame's cut at `metrics.CEILING`, `(N, S, T)`."""
    ssim: Tensor
    """`(N, S, T)`; `(N, S, 0)` where it was not asked for."""
    content: Tensor
    """1 where a classifier reads from a frame what the sequence shows, 0 where it does not,
    `(N, S, T)`; `(N, S, 0)` where nobody knows."""
    lpips: Tensor
    """Of the frames at `marks`, `(N, S, M)`."""
    energy: Tensor
    """The energy score of the samples with the distance √LPIPS, `(N, M)`."""
    spread: Tensor
    """Their spread in shares of their distance from the truth, `(N, M)`."""
    sharpness: Tensor
    """Mean over samples, in shares of that of the true frame, `(N, M)`."""
    flicker: Tensor
    """How much a frame changes from the one before where nothing moves, in levels of 255, `(N, M)`;
    NaN where everything moves."""

    def best(self, metric: str, horizon: int | None = None) -> Tensor:
        """Return the sample that is best on average over the first `horizon` frames: `(N, T)`."""
        values: Tensor = getattr(self, metric)[..., :horizon]
        return values[torch.arange(len(values)), best_of(values)]


class Judge(NamedTuple):
    """What is measured of a frame beside its PSNR."""

    lpips: LPIPS
    similarity: bool
    """Whether SSIM is."""
    channels: int
    """1 where frames are gray: of three equal channels one is measured."""
    device: torch.device
    known: Known | None = None


def marks(horizon: int) -> list[int]:
    """Return which of `horizon` predicted frames are looked at closely, counted from 1."""
    return sorted({mark for mark in MARKS if mark < horizon} | {horizon})


def draw(
    predictor: Predictor,
    observed: Frames,
    horizon: int,
    *,
    seeds: Sequence[int],
    temperature: float | None = None,
) -> Frames:
    """Collect all that a predictor draws of one clip: uint8 `(S, T, H, W, 3)`."""
    drawn = np.empty((len(seeds), horizon, *observed.shape[1:]), np.uint8)
    for samples, time, frames in predictor.predict(
        observed, horizon, seeds=seeds, temperature=temperature
    ):
        drawn[samples.start : samples.stop, time] = frames
    return drawn


@torch.inference_mode()
def measure(samples: Frames, truth: Frames, last: Frames, *, judge: Judge, number: int) -> Scores:
    """Measure samples `(S, T, H, W, 3)` of one sequence, a frame at a time.

    Args:
        samples: uint8, as all others.
        truth: what followed, `(T, H, W, 3)`.
        last: the last observed frame, `(H, W, 3)`.
        judge: what to measure.
        number: which of the sequences it is, for the judge of content.
    """
    horizon, looked_at = len(truth), marks(len(truth))
    still = (np.abs(truth.astype(np.int16) - last) <= STILL).all((0, 3))
    chosen = torch.from_numpy(still).to(judge.device)
    count = chosen.sum()
    before = _floats(np.broadcast_to(last, samples.shape[:1] + last.shape), judge)
    columns: dict[str, list[Tensor]] = {name: [] for name in Scores._fields}
    for time in range(horizon):
        made, true = _floats(samples[:, time], judge), _floats(truth[time][None], judge)
        columns["psnr"].append(psnr(made, true).clamp(max=CEILING))
        if judge.similarity:
            columns["ssim"].append(ssim(made, true))
        if judge.known is not None:
            columns["content"].append(judge.known.shows(made, number))
        if time + 1 in looked_at:
            detail = sharpness(true).clamp(min=LEAST_SHARPNESS)
            columns["sharpness"].append((sharpness(made) / detail).mean())
            change = 255 * (made - before).abs().mean(1)
            columns["flicker"].append((change * chosen).sum((-2, -1)).mean() / count)
            points = judge.lpips.features(torch.cat([true, made]).expand(-1, 3, -1, -1))
            ensemble = judge_ensemble(points[1:], points[0])
            columns["lpips"].append(ensemble.distances.square())
            columns["energy"].append(ensemble.energy)
            columns["spread"].append(ensemble.spread)
        before = made
    nothing = torch.empty(len(samples), 0)
    stacked = (torch.stack(each, -1).cpu() if each else nothing for each in columns.values())
    return Scores(*(each[None] for each in stacked))


def _floats(frames: Frames, judge: Judge) -> Tensor:
    """Turn uint8 `(B, H, W, 3)` into floats `(B, C, H, W)` in [0, 1]."""
    chosen = np.array(frames[..., : judge.channels])
    return torch.from_numpy(chosen).to(judge.device).movedim(-1, 1).float() / 255


def score_clip(
    predictor: Predictor,
    clip: Frames,
    *,
    horizon: int,
    seeds: Sequence[int],
    judge: Judge,
    number: int = 0,
    temperature: float | None = None,
) -> Scores:
    """Predict the last `horizon` frames of a clip `(T, H, W, 3)` and measure what is drawn."""
    observed, truth = clip[:-horizon], clip[-horizon:]
    made = draw(predictor, observed, horizon, seeds=seeds, temperature=temperature)
    return measure(made, truth, observed[-1], judge=judge, number=number)


def score(predictor: Predictor, clips: Sequence[Frames], **how: Any) -> Scores:
    """Do the same for several clips; `how` is as for `score_clip`."""
    return join(
        [score_clip(predictor, clip, number=number, **how) for number, clip in enumerate(clips)]
    )


def join(parts: Sequence[Scores]) -> Scores:
    """Join the scores of different sequences, in order."""
    return Scores(*map(torch.cat, zip(*parts, strict=True)))
