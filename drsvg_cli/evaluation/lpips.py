"""LPIPS (Zhang et al. 2018): how different two frames look, by AlexNet's features.

The distance is the square of a Euclidean one: `|features(x) − features(y)|²`. The weights are
those of AlexNet (torchvision) and of LPIPS v0.1, in half precision; lpips.LICENSE beside them has
the licences. It is computed in float32.
"""

from importlib.resources import files

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

_STRIDES = (4, 1, 1, 1, 1)
_PADDINGS = (2, 2, 1, 1, 1)
_POOLED = (1, 2)
"""Layers that a max pooling comes before."""
SMALLEST = 32
"""Pixels along the shorter side, below which the deepest features vanish."""
_AT_ONCE = 16
"""Frames whose maps are computed together."""


class LPIPS:
    """The network, and frames as points whose squared Euclidean distances are LPIPS."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Read the weights from the package."""
        data = files("drsvg_cli.evaluation").joinpath("lpips.safetensors").read_bytes()
        weights = {k: v.float().to(device) for k, v in safetensors.torch.load(data).items()}
        self._convolutions = [
            (weights[f"conv{layer}.weight"], weights[f"conv{layer}.bias"]) for layer in range(5)
        ]
        self._weights = [weights[f"linear{layer}.weight"].clamp(min=0).sqrt() for layer in range(5)]
        # The authors' own network takes [-1, 1] and these constants, which is nearly the same.
        self._shift = torch.tensor((-0.030, -0.088, -0.188), device=device).view(3, 1, 1)
        self._scale = torch.tensor((0.458, 0.448, 0.450), device=device).view(3, 1, 1)

    def features(self, frames: Tensor) -> Tensor:
        """Turn frames `(B, 3, H, W)` in [0, 1] into points `(B, F)`."""
        return torch.cat([self._some(part) for part in frames.float().split(_AT_ONCE)])

    def _some(self, frames: Tensor) -> Tensor:
        maps, points = (2 * frames - 1 - self._shift) / self._scale, []
        layers = zip(self._convolutions, self._weights, _STRIDES, _PADDINGS, strict=True)
        for layer, ((weight, bias), linear, stride, padding) in enumerate(layers):
            if layer in _POOLED:
                maps = functional.max_pool2d(maps, 3, 2)
            maps = functional.conv2d(maps, weight, bias, stride, padding).relu()
            length = torch.linalg.vector_norm(maps, dim=1, keepdim=True) + 1e-10
            places = maps.shape[-2] * maps.shape[-1]
            points.append((maps * (linear / places**0.5) / length).flatten(1))
        return torch.cat(points, 1)
