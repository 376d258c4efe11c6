"""What scores say of a predictor: proper scores of its samples, means, and intervals by clip.

The energy score `E|X − y| − ½ E|X − X'|` is proper: a predictor is best off with samples from what
it believes. Neither haze, which has no features, nor spread alone can win it. The distance is
√LPIPS, which is Euclidean.
"""

import math
from collections.abc import Hashable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RESAMPLES = 2000
LEAST_DISTANCE = 1e-6


class Ensemble(NamedTuple):
    """What is said of the samples `(S, F)` of one frame."""

    distances: Tensor
    """Of each sample from the truth, `(S,)`."""
    energy: Tensor
    """The energy score, lower is better; unbiased over pairs of samples."""
    spread: Tensor
    """Distance between two samples in shares of that of a sample from the truth: 1 where the truth
    could be one of the samples; 0 with a single one."""


def judge_ensemble(samples: Tensor, truth: Tensor) -> Ensemble:
    """Judge samples `(S, F)` by the truth `(F,)`, points with Euclidean distances."""
    offsets = samples - truth  # rounding then depends on distances, not on norms
    distances = offsets.norm(dim=1)
    count, skill = len(samples), distances.mean()
    if count == 1:
        return Ensemble(distances, skill, torch.zeros_like(skill))
    between = torch.cdist(offsets[None], offsets[None])[0]
    between = between.fill_diagonal_(0).sum() / (count * (count - 1))
    return Ensemble(distances, skill - between / 2, between / skill.clamp(min=LEAST_DISTANCE))


class Estimate(NamedTuple):
    """A mean over sequences and its 95 % interval, NaN where there is a single clip."""

    value: float
    low: float
    high: float


def estimate(values: Tensor, groups: Sequence[Hashable]) -> Estimate:
    """Average `(N,)` with a bootstrap interval over groups; what is NaN does not count.

    Sequences of one clip are not independent, so whole clips are drawn, `RESAMPLES` times.

    Args:
        values: a number a sequence. The difference of two predictors gives a paired interval.
        groups: the clip of each sequence.
    """
    known = ~values.isnan()
    numbers = values[known].double().numpy()
    mean = float(numbers.mean()) if len(numbers) else math.nan
    clips = np.array([str(group) for group in groups])[known.numpy()]
    _, members = np.unique(clips, return_inverse=True)
    sizes, sums = np.bincount(members), np.bincount(members, numbers)
    if len(sizes) < 2:
        return Estimate(mean, math.nan, math.nan)
    drawn = _resamples(len(sizes))
    low, high = np.quantile((drawn @ sums) / (drawn @ sizes), (0.025, 0.975))
    return Estimate(mean, float(low), float(high))


@cache
def _resamples(count: int) -> NDArray[np.int64]:
    """Draw how often each of `count` clips is in each resample, `(RESAMPLES, count)`."""
    return np.random.default_rng(0).multinomial(count, [1 / count] * count, size=RESAMPLES)
