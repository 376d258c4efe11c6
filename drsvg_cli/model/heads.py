"""How the decoder's maps become a frame: bare pixels, or a warp of the last observed frame.

Both heads compose at the resolution of the reference frame: maps are enlarged to it, and what is
sharp in the reference stays sharp in the result.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from drsvg_cli.config import ModelConfig
from drsvg_cli.model.warping import STILL, carry, enlarge, shrink, smooth, trace, warp

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
FINENESS = 4
"""Pixels along a side that a flow is carried in for one of the model, at most: it is smooth, and in
all pixels of a large view it would take many times as long."""


class Travel(NamedTuple):
    """How far everything has moved since the reference: so many times its motions, and a shift."""

    times: Tensor
    """`(K B, N, H, W)`, of each of the N motions that a head goes on with."""
    shift: Tensor
    """`(K B, 2, H, W)` in half frames, see `warping`."""
    summed: Tensor
    """What speeds alone have added up to, `(K B, 2, H, W)`: the next ones add to it."""
    told: Tensor
    """How far everything has moved since the frame before, by the maps: `(K B, 2, S, S)`."""
    speed: Tensor
    """The same at the places of the frames, where what moves so has got to by then."""
    ahead: Tensor
    """Frames ahead of the reference, `(1,)`."""


class Reference(NamedTuple):
    """The frame that a head may fetch pixels from, one a clip."""

    frame: Tensor
    """`(B, C, H, W)` in [0, 1]."""
    motion: Tensor | None
    """Where each place was a frame earlier: `(B, 2, H, W)` in half frames, see `warping`."""


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
        self.size, self.company = config.size, config.company

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
            total = total + _tiled(torch.cat([since.times, since.summed], dim=1), total)
        told = self._flow(reference.motion, each[:, :-2], each[:, -2:])
        times, summed = total[:, :-2], total[:, -2:]
        shift = self._added(summed, frames)
        speed = self._seen(told, self._flow(reference.motion, times, shift))
        return Travel(times, shift, summed, told, speed, ahead[-1:])

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

    def _added(self, summed: Tensor, steps: Tensor) -> Tensor:
        """Correct what speeds `(K B, 2, S, S)` have added up to in so many frames."""
        return summed

    def _together(self, flow: Tensor, steps: Tensor) -> Tensor:
        """Let what moves go along with what moves around it, more and more, or bodies bend.

        A place counts by the square of how far it has moved; what stands still stays.
        """
        few = shrink(flow, (self.size, self.size))
        weight = STILL + self._moved(few)
        near = smooth(torch.cat([few * weight, weight], dim=1), self.company, self.size)
        joint = enlarge(near[:, :2] / near[:, 2:], flow.shape[-2:])
        moved = self._moved(flow)
        return torch.lerp(flow, joint, (1 - 1 / steps) * moved / (moved + 1))

    def _moved(self, flow: Tensor) -> Tensor:
        """Return the square of how far a flow leads, in pixels of the model."""
        return (flow.detach() * (self.size / 2)).square().sum(1, keepdim=True)

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
        times, shift = enlarge(travel.times, size), enlarge(travel.shift, size)
        flow, covered = self._fetching(self._flow(reference.motion, times, shift), steps)
        warped = warp(_tiled(reference.frame.float(), maps), flow)
        kept = self._kept(enlarge(mask * _reach(steps), size)) * covered
        return torch.lerp(torch.sigmoid(enlarge(colors, size)), warped, kept)

    def _seen(self, speed: Tensor, flow: Tensor) -> Tensor:
        """Tell at which places of a frame the speeds are, after a flow up to it."""
        return speed

    def _fetching(self, flow: Tensor, steps: Tensor) -> tuple[Tensor, Tensor | float]:
        """Tell from where pixels are fetched, and which of them are anywhere, 0 to 1."""
        flow = self._together(flow, steps)
        return torch.lerp(smooth(flow, SMOOTHNESS, self.size), flow, 1 / steps), 1.0

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

    def _added(self, summed: Tensor, steps: Tensor) -> Tensor:
        return self._together(summed, steps)

    def _seen(self, speed: Tensor, flow: Tensor) -> Tensor:
        carried, covered = carry(speed, flow, self.size)
        return carried * covered

    def _shared(self, times: Tensor, frames: Tensor) -> Tensor:
        """Let limbs go on as they move now for a little while, and bodies from then on."""
        return torch.cat([times / frames, times * (1 - 1 / frames)], dim=1)

    def _motions(self, motion: Tensor) -> tuple[Tensor, ...]:
        return motion, smooth(motion, BODY, self.size)

    def _fetching(self, flow: Tensor, steps: Tensor) -> tuple[Tensor, Tensor | float]:
        size, most = flow.shape[-2:], FINENESS * self.size
        few = shrink(flow, (min(size[0], most), min(size[1], most)))
        carried, covered = carry(few, few, self.size)
        return enlarge(carried, size), enlarge(covered, size).clamp(0, 1)


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


def saturate(values: Tensor) -> Tensor:
    """Clamp to [0, 1], so that a kept pixel is kept exactly, with the gradient of no clamp.

    A clamp's own gradient is zero outside: a pixel once kept would be kept for ever.
    """
    if not values.requires_grad:
        return values.clamp(0, 1)
    return values.clamp(0, 1).detach() + (values - values.detach())
