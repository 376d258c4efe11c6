"""Measure predicted frames against true ones: PSNR, SSIM and sharpness, and the best of S samples.

Works on tensors of any device and any leading shape. Knows nothing of files and prints nothing.
"""

import math

from torch import Tensor

# A wrong last bit in 8-bit video is worth about 48 dB, so a cap of 100 dB hides nothing.
_LEAST_ERROR = 1e-10
_BELL = [math.exp(-0.5 * (x / 1.5) ** 2) for x in range(-5, 6)]
_WINDOW = [value / sum(_BELL) for value in _BELL]
CEILING = 50.0
"""Averages over clips cut PSNRs at this many dB: beyond it nobody sees a difference, and a frame
that is exact must not outweigh all others."""


def psnr(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each frame, in dB.

    The squared error is clamped at 1e-10, so that identical frames score a finite 100 dB.

    Args:
        predicted: frames `(..., C, H, W)` in [0, 1].
        truth: frames that broadcast against `predicted`.

    Returns:
        `(...)`, the leading shape of both after broadcasting.

    Raises:
        TypeError: the frames are not floating point.
        ValueError: a tensor has fewer than three dimensions or the frames differ in size.
    """
    _check(predicted, truth)
    error = (predicted.float() - truth.float()).square().mean(dim=(-3, -2, -1))
    return -10 * error.clamp(min=_LEAST_ERROR).log10()


def ssim(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of each frame, in [-1, 1], as in SRVP's tables.

    Gaussian window of 11 pixels and sigma 1.5, range 1, population covariance, averaged over the
    valid region, where the window lies inside the frame, and the channels. Other definitions differ
    by up to nine points.

    Args:
        predicted: frames `(..., C, H, W)` in [0, 1].
        truth: frames that broadcast against `predicted`.

    Returns:
        `(...)`, the leading shape of both after broadcasting.

    Raises:
        TypeError: the frames are not floating point.
        ValueError: the frames are smaller than the window, have fewer than three dimensions or
            differ in size.
    """
    _check(predicted, truth)
    if min(predicted.shape[-2:]) < len(_WINDOW):
        raise ValueError(f"SSIM needs frames of at least {len(_WINDOW)} pixels a side")
    x, y, c1, c2 = predicted.float(), truth.float(), 0.01**2, 0.03**2
    mean_x, mean_y, square_x, square_y, product = map(_average, (x, y, x * x, y * y, x * y))
    var_x, var_y = square_x - mean_x**2, square_y - mean_y**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * (product - mean_x * mean_y) + c2) / (var_x + var_y + c2)
    return (luminance * structure).mean(dim=(-3, -2, -1))


LEAST_SHARPNESS = 1e-3
"""Of a true frame that others are compared with: of an empty one nothing is a share."""


def sharpness(frames: Tensor) -> Tensor:
    """Return how sharp each frame `(..., C, H, W)` is: `(...)`.

    It is the mean absolute difference of neighbouring pixels, down and across. Blur lowers it.
    """
    down, across = frames.diff(dim=-2).abs(), frames.diff(dim=-1).abs()
    return down.mean((-3, -2, -1)) + across.mean((-3, -2, -1))


def best_of(scores: Tensor) -> Tensor:
    """Return which sample of each clip has the highest average over time.

    SRVP, and the tables that follow it, select by each metric's own average: call this once a
    metric. The first of equal samples wins.

    Args:
        scores: `(..., S, T)`, higher is better.

    Returns:
        `(...)` int64 indices into S.

    Raises:
        ValueError: `scores` has fewer than two dimensions.
    """
    if scores.ndim < 2:
        raise ValueError(f"expected scores (..., S, T), got shape {tuple(scores.shape)}")
    return scores.mean(dim=-1).argmax(dim=-1)


def _check(predicted: Tensor, truth: Tensor) -> None:
    if not (predicted.is_floating_point() and truth.is_floating_point()):
        raise TypeError(f"expected frames in [0, 1], got {predicted.dtype} and {truth.dtype}")
    if min(predicted.ndim, truth.ndim) < 3 or predicted.shape[-3:] != truth.shape[-3:]:
        raise ValueError(
            "expected frames (..., C, H, W) of one size, "
            f"got {tuple(predicted.shape)} and {tuple(truth.shape)}"
        )


def _average(maps: Tensor) -> Tensor:
    """Average `(..., H, W)` over the window, valid region only.

    Written as sums of shifted slices: a convolution would run in TF32 or bfloat16 on request of
    the caller's settings, and a variance as a difference of squares does not survive that.
    """
    for dim in (-1, -2):
        size = maps.shape[dim] - len(_WINDOW) + 1
        total = maps.narrow(dim, 0, size) * _WINDOW[0]
        for offset, weight in enumerate(_WINDOW[1:], start=1):
            total.add_(maps.narrow(dim, offset, size), alpha=weight)
        maps = total
    return maps
