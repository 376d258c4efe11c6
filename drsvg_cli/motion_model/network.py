"""The network of `general`: what is measured goes on, and latents say how it deviates.

The last observed frame is fetched along paths of motion. A path follows flows, one a predicted
frame; each is the measured motion, made faster, slower, turned or exchanged by a few maps:

    u = (1 + a) v + b v⊥ + c (v₁ − v) + d (v₄ − v) + r

with v measured over two frames and v₁, v₄ over one and four. The maps (a, b, c, d, r) are mixed
from basis maps, which are computed once a clip at the network's resolution, by coefficients on a
coarse grid that a recurrent predictor gives for every frame from the content latent of the clip
and the pose latent of the frame (Eq. 7, with flows in place of pixels). At the beginning of
training all maps are zero: the model starts as the measurement.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from drsvg_cli.config import MotionConfig
from drsvg_cli.motion_model.fields import EVIDENCE_CHANNELS, FEATURE_CHANNELS
from drsvg_cli.motion_model.latents import ConvGRU, Latent, LatentHead, Posterior

GRID = 8
"""Pixels of the network's frames that a cell of the coarse grid is wide."""
CONTROLS = 6
"""Maps that change the measured flow: a, b, c, d and the two of r."""
BASES = 3
_WIDTHS = (24, 32, 48, 64)
_MOST_RESIDUAL = 4.0
"""Pixels a frame, at the network's resolution, that a flow may have beside the measured one."""
_SLOPE = 0.1


class Scene(NamedTuple):
    """What is computed once a clip, `(B, ...)` each."""

    bases: Tensor
    """`(B, BASES, H, W)`, what coefficients mix."""
    steady: Tensor
    """`(B, CONTROLS, H, W)`, the part of the maps that is the same for all frames and samples."""
    flow: Tensor
    """v, the measured motion that goes on."""
    others: tuple[Tensor, Tensor]
    """v₁ and v₄."""


class MotionNetwork(nn.Module):
    """Latents, predictor and the maps that change measured motion."""

    def __init__(self, *, content_dim: int, pose_dim: int, whole_dim: int, width: int) -> None:
        """Build the network.

        Args:
            content_dim: maps of the content latent.
            pose_dim: maps of the pose latent.
            whole_dim: numbers of the whole frame in either latent.
            width: channels of the features and of the predictor's state.
        """
        super().__init__()
        self.encoder = _encoder(FEATURE_CHANNELS, width)
        self.scene = _SceneNetwork(EVIDENCE_CHANNELS)
        self.content = Posterior(width, width * 2 // 3, content_dim, whole_dim)
        self.pose = Posterior(width, width * 2 // 3, pose_dim, whole_dim)
        self.prior = nn.Sequential(
            nn.Conv2d(width, width * 2 // 3, 3, padding=1), nn.LeakyReLU(_SLOPE)
        )
        self.prior_head = LatentHead(width * 2 // 3, pose_dim, whole_dim)
        self.begin = nn.Conv2d(_WIDTHS[-1] + width, width, 3, padding=1)
        self.predictor = ConvGRU(content_dim + pose_dim + 2 * whole_dim, width)
        self.coefficients = nn.Conv2d(width, CONTROLS * BASES, 3, padding=1)
        # Without a direct way the pose is of no use for so long that its posterior collapses.
        self.direct = nn.Conv2d(pose_dim + whole_dim, CONTROLS * BASES, 1, bias=False)
        for weights in (*self.coefficients.parameters(), *self.direct.parameters()):
            nn.init.zeros_(weights)

    def encode(self, features: Tensor) -> Tensor:
        """Encode `(T, B, F, H, W)` to `(T, B, width, H / 8, W / 8)`."""
        encoded: Tensor = self.encoder(features.flatten(0, 1))
        return encoded.unflatten(0, features.shape[:2])

    def look(self, evidence: Tensor, flows: Tensor, encoded: Tensor) -> tuple[Scene, Tensor]:
        """Return the scene of clips and the predictor's state at their last observed frame.

        Args:
            evidence: `(B, E, H, W)`, sides multiples of 8.
            flows: measured over one to four frames, `(4, B, 2, H, W)`.
            encoded: of the last observed frame, `(B, width, H / 8, W / 8)`.
        """
        deep, bases, steady = self.scene(evidence)
        state = self.begin(torch.cat([deep, encoded], 1)).tanh()
        return Scene(bases, steady, flows[1], (flows[0], flows[3])), state

    def expect(self, state: Tensor) -> Latent:
        """Return the prior of the next frame's pose (Eq. 8)."""
        latent: Latent = self.prior_head(self.prior(state))
        return latent

    def advance(self, state: Tensor, pose: Tensor, content: Tensor) -> Tensor:
        """Return the predictor's state at the next frame."""
        after: Tensor = self.predictor(torch.cat([pose, content], 1), state)
        return after

    def controls(self, state: Tensor, pose: Tensor, scene: Scene) -> Tensor:
        """Return the maps that change the measured flow, `(S, B, CONTROLS, H, W)`.

        Args:
            state: the predictor's, `(S B, width, h, w)`, samples first.
            pose: that it got there with, `(S B, P, h, w)`.
            scene: of B clips.
        """
        size = scene.bases.shape[-2:]
        coarse = self.coefficients(state) + self.direct(pose)
        rows, columns = _enlarger(coarse.shape[-2], size[0]), _enlarger(coarse.shape[-1], size[1])
        mixed = rows @ coarse @ columns.T
        mixed = mixed.unflatten(1, (CONTROLS, BASES)).unflatten(0, (-1, len(scene.bases)))
        maps = scene.steady
        for basis in range(BASES):
            maps = maps + mixed[:, :, :, basis] * scene.bases[:, None, basis]
        return maps


def deviate(controls: Tensor, flow: Tensor, others: Sequence[Tensor], *, scale: float) -> Tensor:
    """Change a measured flow as the controls say.

    Args:
        controls: `(..., CONTROLS, H, W)`.
        flow: v, `(..., 2, H, W)`.
        others: v₁ and v₄.
        scale: pixels of these fields that are one pixel of the network's frames.
    """
    speed, turn, first, fourth, residual = controls.split((1, 1, 1, 1, 2), -3)
    across = torch.stack([-flow[..., 1, :, :], flow[..., 0, :, :]], -3)
    return (
        flow * (1 + 2 * (speed / 2).tanh())
        + across * turn.tanh()
        + first * (others[0] - flow)
        + fourth * (others[1] - flow)
        + (scale * _MOST_RESIDUAL) * (residual / _MOST_RESIDUAL).tanh()
    )


def build_network(config: MotionConfig) -> MotionNetwork:
    """Build the network that a recipe asks for, with random weights from the global generator."""
    return MotionNetwork(
        content_dim=config.content_dim,
        pose_dim=config.pose_dim,
        whole_dim=config.whole_dim,
        width=config.width,
    )


@lru_cache(maxsize=64)
def _enlarger(size: int, larger: int) -> Tensor:
    """Return the matrix `(larger, size)` of bilinear interpolation along one side."""
    identity = torch.eye(size)[None]
    lines = functional.interpolate(identity, larger, mode="linear", align_corners=False)[0]
    return lines.T.contiguous()


def _encoder(inputs: int, width: int) -> nn.Sequential:
    sizes = (inputs, width // 2, width, width)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(_SLOPE))


class _SceneNetwork(nn.Module):
    """A U-Net over the evidence: deep features, basis maps and steady maps."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, _WIDTHS[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(_WIDTHS)
        )
        self.deep = nn.Conv2d(_WIDTHS[-1], _WIDTHS[-1], 3, padding=1)
        self.up = nn.ModuleList(
            nn.Conv2d(above + beside, beside, 3, padding=1)
            for above, beside in zip(_WIDTHS[:0:-1], _WIDTHS[-2::-1], strict=True)
        )
        self.maps = nn.Conv2d(_WIDTHS[0], BASES + CONTROLS, 3, padding=1)
        with torch.no_grad():
            self.maps.weight[BASES:] = 0
            self.maps.bias[BASES:] = 0  # type: ignore[index]

    def forward(self, evidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = _activate(self.first(evidence))
        skips = []
        for layer in self.down:
            skips.append(maps)
            maps = _activate(layer(maps))
        maps = deep = _activate(self.deep(maps))
        for layer in self.up:
            larger = functional.interpolate(maps, scale_factor=2.0, mode="nearest")
            maps = _activate(layer(torch.cat([larger, skips.pop()], 1)))
        bases, steady = self.maps(maps).split((BASES, CONTROLS), 1)
        return deep, bases, steady


def _activate(maps: Tensor) -> Tensor:
    return functional.leaky_relu(maps, _SLOPE)
