"""How far what happened lies outside of what was held possible, and how rare that is.

At each place the energy score of the truth against the samples, `E|X − y| − ½ E|X − X'|`, as
`scores.judge_ensemble` has it of whole frames. How rare a score is comes from quiet moments, by
peaks over a threshold: above a high quantile the excesses follow a generalised Pareto distribution
(Pickands 1975), whose parameters are found from probability-weighted moments (Hosking and Wallis
1987). Siffer et al. (2017) watch streams in this way.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Maps = NDArray[np.float32]
"""`(M, h, w)`: a number a moment and block."""
BLOCK = 8
"""Pixels of the predicted frames that a block is wide."""


def judge_blocks(samples: Tensor, truth: Tensor) -> Tensor:
    """Return the energy score of every block, averaged over the horizon, `(M, h, w)`.

    The distance is the root mean square over a block's pixels.

    Args:
        samples: `(M, S, N, 3, H, W)` in [0, 1].
        truth: `(M, N, 3, H, W)`.
    """
    points = _points((samples - truth[:, None]).transpose(1, 2))
    skill, count = points.norm(dim=-1).mean(-1), points.shape[-2]
    if count > 1:
        skill = skill - torch.cdist(points, points).sum((-2, -1)) / (2 * count * (count - 1))
    return skill.mean(1) / points.shape[-1] ** 0.5


def _points(frames: Tensor) -> Tensor:
    """Cut `(M, N, S, 3, H, W)` into blocks: points `(M, N, h, w, S, F)`."""
    blocks = frames.unfold(-2, BLOCK, BLOCK).unfold(-2, BLOCK, BLOCK)
    return blocks.permute(0, 1, 4, 5, 2, 3, 6, 7).flatten(5)


TAIL = 0.1
"""Share of the quiet moments that the tail is fitted to."""
OUTLIERS = 0.1
"""Moments beyond it that an exponential tail through median and upper quartile lets expect in a
clip: what lies there is taken for an event, and not learned from (Chauvenet's criterion)."""
LEAST = 20
"""Quiet moments without which nothing is said."""
HIGH = 0.95
"""Share of the moments in which a block's score is below what is called high there."""
FLOOR = 0.002
"""Added to what is high, in shares of the range of pixels: noise that nobody sees."""


@dataclass(frozen=True)
class Usual:
    """What quiet moments are like, block by block and as a whole."""

    high: Maps
    """What the score of each block `(h, w)` seldom exceeds, and a floor below it."""
    level: float
    """The score above which the tail begins."""
    shape: float
    """ξ of the generalised Pareto distribution; 0 is an exponential tail, more is a heavier one."""
    scale: float
    moments: int
    """How many moments this was learned from."""

    def standard(self, maps: Maps) -> Maps:
        """Return the scores of blocks `(M, h, w)` in shares of what is high there."""
        return maps / self.high

    def probability(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how probable a score as high as each is in a quiet moment; `TAIL` at most."""
        excess = np.maximum(scores - self.level, 0) / self.scale
        if self.shape < 1e-6:
            return TAIL * np.exp(-excess)
        return TAIL * (1 + self.shape * excess) ** (-1 / self.shape)

    def score_at(self, probability: float) -> float:
        """Return the score that a quiet moment reaches with this probability, below `TAIL`."""
        times = min(TAIL / probability, 1e12)
        if times <= 1:
            return self.level
        if self.shape < 1e-6:
            return self.level + self.scale * float(np.log(times))
        return self.level + self.scale * (times**self.shape - 1) / self.shape


def score_moments(standard: Maps) -> NDArray[np.float64]:
    """Return a number a moment: the mean of its three highest blocks of `(M, h, w)`."""
    blocks = standard.reshape(len(standard), -1)
    return np.sort(blocks, 1)[:, -3:].mean(1, dtype=np.float64)


def learn_usual(maps: Maps, *, trusted: bool) -> Usual | None:
    """Learn what is usual from moments `(M, h, w)`; none where they are too few.

    Args:
        maps: energy scores by block.
        trusted: all moments are quiet. Otherwise those far above the median are left out.
    """
    high = np.quantile(maps, HIGH, axis=0).astype(np.float32)
    high = high + np.median(high) + FLOOR
    scores = score_moments(maps / high)
    if not trusted:
        middle, upper = np.quantile(scores, (0.5, 0.75))
        expected = np.log(len(scores) / 2 / OUTLIERS)  # scales above the median
        scores = scores[scores <= middle + expected * (upper - middle) / np.log(2)]
    if len(scores) < LEAST:
        return None
    level = float(np.quantile(scores, 1 - TAIL))
    shape, scale = _fit_pareto(np.sort(scores[scores > level] - level))
    return Usual(high, level, shape, scale, len(scores))


def _fit_pareto(excesses: NDArray[np.float64]) -> tuple[float, float]:
    """Fit shape and scale to sorted excesses (Hosking and Wallis 1987, Section 3).

    A tail that ends is not believed, as of few moments it would call everything beyond impossible:
    the shape is 0 at least, and ½ at most, up to which the estimate is known to be good.
    """
    count = len(excesses)
    if not count:
        return 0.0, FLOOR
    mean = float(excesses.mean())
    weights = 1 - (np.arange(1, count + 1) - 0.35) / count
    first = float((weights * excesses).mean())
    shape = min(max(2 - mean / max(mean - 2 * first, 1e-12), 0.0), 0.5)
    return shape, max(mean * (1 - shape), FLOOR)
