"""How the decoder's maps become a frame: bare pixels, or a warp of the last observed frame.

Both heads compose at the resolution of the reference frame: maps are enlarged to it, and what is
sharp in the reference stays sharp in the result.
"""

from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from drsvg_cli.config import ModelConfig

SPEED_GAIN = 0.025
"""Speed, in half frames a frame, for a map value of one: 0.8 pixels at 64 pixels."""
FORWARD_GAIN = 0.075
"""The same of a forward warp."""
OPEN_MASK = 3.0
"""Mask logit for a map value of zero: all of a frame is the warped reference."""
SMOOTHNESS = 1.5
"""Deviation of the Gaussian that smooths a warp, in pixels of the model: neighbours move together,
or edges fray. The next frame's warp is left as it is, later ones are smoothed more and more."""
HALF_REACH = 4.0
"""Frames ahead at which a warp's maps have half of their say: the next frame is nearly sure."""
BODY = 5.0
"""Deviation of the Gaussian, in pixels of the model, that leaves of a motion that of a body."""
COMPANY = 8.0
"""The same of what makes parts of a body that moves keep together: heads and feet go along."""
CRACK = 0.5
"""The same of what smooths what a forward warp carries."""
GUESSES = 2
"""Times that a motion is looked for where the guess before says that it is."""
STILL = 0.002
"""Weight of what did not move, where something arrives that moved; that weighs 1 after a pixel."""


class Travel(NamedTuple):
    """How far everything has moved since the reference: so many times its motions, and a shift."""

    times: Tensor
    """`(K B, N, H, W)`, of each of the N motions that a head goes on with."""
    shift: Tensor
    """`(K B, 2, H, W)` in half frames, see `warp`."""
    told: Tensor
    """By how much the two together changed since the frame before: `(K B, 2, S, S)`."""
    speed: Tensor
    """The same at the places of the frames, where what moves so has got to by then."""
    ahead: Tensor
    """Frames ahead of the reference, `(1,)`."""


class Reference(NamedTuple):
    """The frame that a head may fetch pixels from, one a clip."""

    frame: Tensor
    """`(B, C, H, W)` in [0, 1]."""
    motion: Tensor | None
    """Where each place was a frame earlier: `(B, 2, H, W)` in half frames, see `warp`."""


class PixelsHead(nn.Module):
    """The paper's head: a sigmoid over the decoder's maps."""

    moving = False

    def __init__(self, config: ModelConfig) -> None:
        """Take one map a colour channel."""
        super().__init__()
        self.maps: int = config.channels

    def drawn(self, maps: Tensor, ahead: Tensor) -> Tensor:
        """Return the share of the picture that is drawn: no choice of this head, so zero."""
        return maps.new_zeros(())

    def travel(
        self, maps: Tensor, reference: Reference, ahead: Tensor, since: Travel | None = None
    ) -> None:
        """Tell that nothing is fetched from elsewhere."""

    def compose(
        self, maps: Tensor, reference: Reference, ahead: Tensor, travel: Travel | None
    ) -> Tensor:
        """Turn maps `(K B, C, S, S)` into frames in [0, 1] of the reference's size."""
        return torch.sigmoid(enlarge(maps, reference.frame.shape[-2:]))


class WarpHead(nn.Module):
    """Mask · warp(last observed frame) + (1 − mask) · pixels; a departure from the paper.

    The idea is that of CDNA (Finn et al. 2016) and SAVP (Lee et al. 2018) with a single warp. The
    warp goes on with the motion that was measured between the last two observed frames; the maps
    of every frame change its speed from place to place and add to it. Speeds add up over time, but
    pixels are always fetched from the reference, so nothing blurs by being fetched again.
    """

    moving = True
    """Wants to know how frames move; training begins with maps of zero."""

    def __init__(self, config: ModelConfig) -> None:
        """Take a map a colour channel, two for the speed, one for its change, one for the mask."""
        super().__init__()
        self.maps: int = config.channels + 4
        self.size = config.size

    def drawn(self, maps: Tensor, ahead: Tensor) -> Tensor:
        """Return the share of the picture that is drawn and not fetched by the warp, a scalar."""
        steps = _each(ahead, maps)
        return 1 - self._kept(maps[:, -1:].float() * _reach(steps)).mean()

    def _kept(self, mask: Tensor) -> Tensor:
        """Turn the mask's map into the share of each pixel that the warp gives, 0 to 1."""
        return saturate(1.2 * torch.sigmoid(mask + OPEN_MASK) - 0.1)

    def travel(
        self, maps: Tensor, reference: Reference, ahead: Tensor, since: Travel | None = None
    ) -> Travel | None:
        """Add up the speeds that maps `(K B, C + 4, S, S)` give, `ahead` `(K,)` in rising order.

        Where frames between two of the times are left out, the later one's speed holds for them.
        Maps of zero let everything move on as it did. `since` is what a call for the times before
        returned.
        """
        assert reference.motion is not None
        _, speed, change, _ = self._split(maps)
        frames = _each(ahead, maps)
        reach = _reach(frames)
        times = self._shared(1 + change * reach, frames)
        each = torch.cat([times, self._speed(speed, reach)], dim=1)
        begin = ahead.new_zeros(1) if since is None else since.ahead
        steps = _each(torch.diff(ahead, prepend=begin), maps)
        total = (each * steps).unflatten(0, (len(ahead), -1)).cumsum(0).flatten(0, 1)
        if since is not None:
            total = total + _tiled(torch.cat([since.times, since.shift], dim=1), total)
        told = self._flow(reference.motion, each[:, :-2], each[:, -2:])
        times, shift = total[:, :-2], total[:, -2:]
        flow = self._flow(reference.motion, times, self._together(shift, frames))
        speed = self._seen(told, flow)
        return Travel(times, shift, told, speed, ahead[-1:])

    def _shared(self, times: Tensor, frames: Tensor) -> Tensor:
        """Share out how many times motion goes on in a frame, so many ahead, among the motions."""
        return times

    def _motions(self, motion: Tensor) -> tuple[Tensor, ...]:
        """Tell with which motions `(B, 2, H, W)` everything goes on."""
        return (motion,)

    def _flow(self, motion: Tensor, times: Tensor, shift: Tensor) -> Tensor:
        """Add so many times each motion to a shift `(K B, 2, H, W)`."""
        for each, often in zip(self._motions(motion), times.split(1, dim=1), strict=True):
            shift = torch.addcmul(shift, _tiled(each, shift), often)
        return shift

    def _speed(self, maps: Tensor, reach: Tensor) -> Tensor:
        """Turn the maps of the speed into half frames a frame."""
        return maps * reach * SPEED_GAIN

    def aim(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Turn motion measured in the frames after the reference into what maps should tell.

        Args:
            motion: where each place was a frame earlier, `(K, B, 2, S, S)` in half frames.

        Returns:
            The same of what the maps speak of, and 1 where it is known, else 0 `(K, B, 1, S, S)`.
        """
        return motion, torch.ones_like(motion[:, :, :1])

    def compose(
        self, maps: Tensor, reference: Reference, ahead: Tensor, travel: Travel | None
    ) -> Tensor:
        """Turn maps `(K B, C + 4, S, S)` into frames in [0, 1], `ahead` `(K,)` of the reference.

        The frames are of the reference's size.
        """
        assert travel is not None and reference.motion is not None
        size = reference.frame.shape[-2:]
        colors, _, _, mask = self._split(maps)
        steps = _each(ahead, maps)
        times = enlarge(travel.times, size)
        shift = enlarge(self._together(travel.shift, steps), size)
        flow, covered = self._fetching(self._flow(reference.motion, times, shift), steps)
        warped = warp(_tiled(reference.frame.float(), maps), flow)
        kept = self._kept(enlarge(mask * _reach(steps), size)) * covered
        return torch.lerp(torch.sigmoid(enlarge(colors, size)), warped, kept)

    def _together(self, shift: Tensor, steps: Tensor) -> Tensor:
        """Correct a shift `(K B, 2, S, S)` that speeds have added up to in so many frames."""
        return shift

    def _seen(self, speed: Tensor, flow: Tensor) -> Tensor:
        """Tell at which places of a frame the speeds are, after a flow up to it."""
        return speed

    def _fetching(self, flow: Tensor, steps: Tensor) -> tuple[Tensor, Tensor | float]:
        """Tell from where pixels are fetched, and which of them are anywhere, 0 to 1."""
        return torch.lerp(self._smoothed(flow, SMOOTHNESS), flow, 1 / steps), 1.0

    def _smoothed(self, flow: Tensor, deviation: float) -> Tensor:
        """Smooth a flow `(K B, N, H, W)`; a larger one than the model's is smoothed at its size."""
        blur = _gaussian(self.size, flow.device, deviation)
        coarse = functional.adaptive_avg_pool2d(flow, self.size)
        with torch.autocast(flow.device.type, enabled=False):  # a flow needs more than eight bits
            smooth = blur @ coarse @ blur.T
        return smooth if flow.shape == coarse.shape else enlarge(smooth, flow.shape[-2:])

    def _split(self, maps: Tensor) -> tuple[Tensor, ...]:
        """Tell colours, speed, its change, and the mask apart."""
        return maps.float().split([self.maps - 4, 2, 1, 1], dim=1)


class ForwardWarpHead(WarpHead):
    """A warp whose speeds are those of what the reference shows, wherever that has moved to.

    Forward warping (Niklaus and Liu 2020): flows are carried along with what moves and only then
    tell where pixels are fetched. Speeds of one thing add up without being told anew at every
    place it comes to; where nothing has come to, a frame is drawn.
    """

    def _speed(self, maps: Tensor, reach: Tensor) -> Tensor:
        """Have a say from the first frame on: a swap, which knows of no motion, begins there."""
        return maps * FORWARD_GAIN

    def aim(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Follow what every place of the reference shows from frame to frame."""
        return trace(motion)

    def _together(self, shift: Tensor, steps: Tensor) -> Tensor:
        """Let what moves go along with what moves around it, more and more, or bodies bend."""
        moved = (shift.detach() * (self.size / 2)).square().sum(1, keepdim=True)
        weight = STILL + moved
        near = self._smoothed(torch.cat([shift * weight, weight], dim=1), COMPANY)
        return torch.lerp(shift, near[:, :2] / near[:, 2:], (1 - 1 / steps) * moved / (moved + 1))

    def _seen(self, speed: Tensor, flow: Tensor) -> Tensor:
        carried, covered = carry(speed, flow, self.size)
        return carried * covered

    def _shared(self, times: Tensor, frames: Tensor) -> Tensor:
        """Let limbs go on as they move now for a little while, and bodies from then on."""
        return torch.cat([times / frames, times * (1 - 1 / frames)], dim=1)

    def _motions(self, motion: Tensor) -> tuple[Tensor, ...]:
        return motion, self._smoothed(motion, BODY)

    def _fetching(self, flow: Tensor, steps: Tensor) -> tuple[Tensor, Tensor | float]:
        return carry(flow, flow, self.size)


HEADS: dict[str, type[PixelsHead] | type[WarpHead]] = {
    "pixels": PixelsHead,
    "warp": WarpHead,
    "forward_warp": ForwardWarpHead,
}
"""By their names in a recipe."""


def _tiled(each: Tensor, like: Tensor) -> Tensor:
    """Repeat a batch `(B, ...)` to the length of one `(K B, ...)`."""
    return each.repeat(len(like) // len(each), *[1] * (each.dim() - 1))


def _each(ahead: Tensor, maps: Tensor) -> Tensor:
    """Spread one number a time `(K,)` over the maps `(K B, ...)`: `(K B, 1, 1, 1)`."""
    steps = ahead.to(maps.device).repeat_interleave(len(maps) // len(ahead))
    return steps[:, None, None, None]


def _reach(steps: Tensor) -> Tensor:
    """Return how much say maps have so many frames ahead, from 0 to 1."""
    return steps / (steps + HALF_REACH)


@cache
def _gaussian(size: int, device: torch.device, deviation: float) -> Tensor:
    """Return the weights `(size, size)` that smooth along one dimension; each row adds up to 1."""
    with torch.inference_mode(False):  # training needs them after a prediction has
        places = torch.arange(size, device=device, dtype=torch.float32)
        weights = torch.exp(-(((places - places[:, None]) / deviation) ** 2) / 2)
        return weights / weights.sum(1, keepdim=True)


def saturate(values: Tensor) -> Tensor:
    """Clamp to [0, 1], so that a kept pixel is kept exactly, with the gradient of no clamp.

    A clamp's own gradient is zero outside: a pixel once kept would be kept for ever.
    """
    if not values.requires_grad:
        return values.clamp(0, 1)
    return values.clamp(0, 1).detach() + (values - values.detach())


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Fetch every pixel of `frames` `(B, C, H, W)` from where `flow` `(B, 2, H, W)` points.

    The flow is in half frames (x, y): 1 reaches from the centre to the border. Beyond the border
    the border's own pixels repeat.
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
        flow: `(B, 2, H, W)` in half frames, against the motion, as for `warp`.
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
        off = (warp(each, path - speed) - speed).norm(dim=1, keepdim=True)
        seen = seen * (off < 2 / motion.shape[-1] + speed.norm(dim=1, keepdim=True) / 4)
        path = path - speed
        speeds.append(speed)
        sights.append(seen)
    return torch.stack(speeds), torch.stack(sights)


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
