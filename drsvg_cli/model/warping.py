"""Maps and frames resampled: smoothed, enlarged, and brought to other places along a flow.

A flow `(B, 2, H, W)` tells where each place was: in half frames (x, y), 1 reaches from the centre
to the border.
"""

from functools import cache
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

CRACK = 0.5
"""Deviation of the Gaussian that closes cracks in what is carried, in pixels of the model."""
GUESSES = 2
"""Times that a motion is looked for where the guess before says that it is."""
STILL = 0.002
"""Weight of what did not move, where something arrives that moved; that weighs 1 after a pixel."""


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Fetch every pixel of `frames` `(B, C, H, W)` from where `flow` `(B, 2, H, W)` points.

    Beyond the border the border's own pixels repeat.
    """
    _, _, height, width = frames.shape
    x = (torch.arange(width, device=frames.device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=frames.device) * 2 + 1) / height - 1
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([columns, rows], dim=-1) + flow.permute(0, 2, 3, 1)
    return functional.grid_sample(frames, points, padding_mode="border", align_corners=False)


def carry(values: Tensor, flow: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Bring values `(B, C, H, W)` from every pixel to where what is there has moved to.

    Where several arrive, what moved more is in front: they count by the fourth power of how far.
    What arrived is smoothed a little, or cracks would open in what is stretched.

    Args:
        values: of any kind.
        flow: `(B, 2, H, W)`, against the motion, as for `warp`.
        size: height and width of a frame in pixels of the model.

    Returns:
        The values where they arrived, zero where none did, and which pixels are covered
        `(B, 1, H, W)`, 0 to 1.
    """
    batch, channels, height, width = values.shape
    moved = (flow.detach() * (size / 2)).square().sum(1, keepdim=True)
    weight = STILL + moved.square()
    parts = torch.cat([values * weight, weight, torch.ones_like(weight)], dim=1)
    parts = parts.movedim(1, -1).flatten(0, 2)
    columns, rows = (torch.arange(length, device=flow.device) for length in (width, height))
    x = columns - flow[:, 0] * (width / 2)
    y = rows[:, None] - flow[:, 1] * (height / 2)
    first = torch.arange(batch, device=flow.device)[:, None, None] * (height * width)
    arrived = parts.new_zeros(parts.shape)
    left, top = x.detach().floor(), y.detach().floor()
    for row, column in product((top, top + 1), (left, left + 1)):
        share = (1 - (x - column).abs()) * (1 - (y - row).abs())
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        places = first + torch.where(inside, row.long() * width + column.long(), 0)
        portion = parts * (share * inside).reshape(-1, 1)
        arrived = arrived.index_add(0, places.flatten(), portion)
    sums = arrived.unflatten(0, (batch, height, width)).movedim(-1, 1)
    down, across = (
        _gaussian(length, flow.device, CRACK * length / size) for length in (height, width)
    )
    with torch.autocast(flow.device.type, enabled=False):
        result, weights, covered = (down @ sums @ across.T).split([channels, 1, 1], dim=1)
    return result / (weights + 1e-3 * STILL), (2 * covered).clamp(max=1)


@torch.no_grad()
def trace(motion: Tensor) -> tuple[Tensor, Tensor]:
    """Follow what every place of a frame shows through the frames after it.

    It is lost from sight, for good, where no motion leads there but for a pixel and a quarter of
    that motion. Where a thing leaves, the ground fits as well; measured motion reaches beyond what
    moves, so this is rare.

    Args:
        motion: where each place was a frame earlier, `(K, B, 2, S, S)` in half frames.

    Returns:
        The motion of what was at each place, wherever it is, and 1 while it is in sight, else 0
        `(K, B, 1, S, S)`.
    """
    path, seen = torch.zeros_like(motion[0]), torch.ones_like(motion[0, :, :1])
    speeds, sights = [], []
    for each in motion:
        # It is now where it was, less a motion that is to be found at the place where it is now.
        speed = warp(each, path)
        for _ in range(GUESSES):
            speed = warp(each, path - speed)
        off = _length(warp(each, path - speed) - speed)
        seen = seen * (off < 2 / motion.shape[-1] + _length(speed) / 4)
        path = path - speed
        speeds.append(speed)
        sights.append(seen)
    return torch.stack(speeds), torch.stack(sights)


def _length(flow: Tensor) -> Tensor:
    """Return how far a flow `(B, 2, H, W)` leads, `(B, 1, H, W)`; many times as fast as a norm."""
    return torch.hypot(*flow.split(1, dim=1))


def smooth(maps: Tensor, deviation: float, size: int) -> Tensor:
    """Smooth maps `(B, N, H, W)` by a Gaussian; `deviation` is in pixels of `size` a frame.

    Larger maps are smoothed at that size.
    """
    blur = _gaussian(size, maps.device, deviation)
    coarse = shrink(maps, (size, size))
    with torch.autocast(maps.device.type, enabled=False):  # a flow needs more than eight bits
        smoothed = blur @ coarse @ blur.T
    return smoothed if maps.shape == coarse.shape else enlarge(smoothed, maps.shape[-2:])


def shrink(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Average maps `(B, N, H, W)` to a smaller size; maps of that size stay as they are."""
    return maps if maps.shape[-2:] == size else functional.adaptive_avg_pool2d(maps, size)


def enlarge(maps: Tensor, size: torch.Size) -> Tensor:
    """Enlarge maps `(..., H, W)` bicubically: rows and columns are two matrix products."""
    if maps.shape[-2:] == size:
        return maps.float()
    down, across = (
        _bicubic(before, after, maps.device)
        for before, after in zip(maps.shape[-2:], size, strict=True)
    )
    return down @ (maps.float() @ across.T)


@cache
def _bicubic(before: int, after: int, device: torch.device) -> Tensor:
    """Return the weights `(after, before)` of `interpolate` along one dimension."""
    with torch.inference_mode(False):  # as above
        alone = torch.eye(before)[None, None]
        return functional.interpolate(alone, (after, before), mode="bicubic")[0, 0].to(device)


@cache
def _gaussian(size: int, device: torch.device, deviation: float) -> Tensor:
    """Return the weights `(size, size)` that smooth along one dimension; each row adds up to 1."""
    with torch.inference_mode(False):  # training needs them after a prediction has
        places = torch.arange(size, device=device, dtype=torch.float32)
        weights = torch.exp(-(((places - places[:, None]) / deviation) ** 2) / 2)
        return weights / weights.sum(1, keepdim=True)
