"""How the decoder's maps become a frame: bare pixels, or a warp of the last observed frame.

Both heads compose at any resolution: enlarge the maps, give a reference frame of the same size,
and what is sharp in the reference stays sharp in the result.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from drsvg_cli.config import ModelConfig

FLOW_GAIN = 0.1
"""Displacement, in half frames, for a map value of one."""
OPEN_MASK = 3.0
"""Mask logit for a map value of zero: all of a frame is the warped reference."""


class PixelsHead(nn.Module):
    """The paper's head: a sigmoid over the decoder's maps."""

    def __init__(self, config: ModelConfig) -> None:
        """Take one map a colour channel."""
        super().__init__()
        self.maps: int = config.channels
        self.starts_from_zero = False

    def drawn(self, maps: Tensor) -> Tensor:
        """Return the share of the picture that is drawn: no choice of this head, so zero."""
        return maps.new_zeros(())

    def compose(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Turn maps `(K B, C, H, W)` into frames in [0, 1]; the reference is not looked at."""
        return torch.sigmoid(maps.float())


class WarpHead(nn.Module):
    """Mask · warp(last observed frame) + (1 − mask) · pixels; a departure from the paper.

    The idea is that of CDNA (Finn et al. 2016) and SAVP (Lee et al. 2018) with a single warp.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Take a map a colour channel, two for the displacement and one for the mask."""
        super().__init__()
        self.maps: int = config.channels + 3
        self.starts_from_zero = True

    def drawn(self, maps: Tensor) -> Tensor:
        """Return the share of the picture that is drawn and not fetched by the warp, a scalar."""
        return 1 - self._kept(maps[:, -1:]).mean()

    def _kept(self, mask: Tensor) -> Tensor:
        """Turn the mask's map into the share of each pixel that the warp gives, 0 to 1."""
        return saturate(1.2 * torch.sigmoid(mask.float() + OPEN_MASK) - 0.1)

    def compose(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Turn maps `(K B, C + 3, H, W)` and references `(B, C, H, W)` into frames in [0, 1]."""
        colors, flow, mask = maps.float().split([self.maps - 3, 2, 1], dim=1)
        copies = reference.float().repeat(len(maps) // len(reference), 1, 1, 1)
        warped = warp(copies, flow * FLOW_GAIN)
        kept = self._kept(mask)
        return kept * warped + (1 - kept) * torch.sigmoid(colors)


def saturate(values: Tensor) -> Tensor:
    """Clamp to [0, 1], so that a kept pixel is kept exactly, with the gradient of no clamp.

    A clamp's own gradient is zero outside: a pixel once kept would be kept for ever.
    """
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
