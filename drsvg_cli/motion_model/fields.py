"""Fields of motion: where each place of a frame came from, in pixels.

A flow `(B, 2, H, W)` tells, for each place, where it was one frame earlier, relative to it; a path
tells the same for several frames. Both are (x, y).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

SPEED_UNIT = 4.0
"""Pixels a frame, at the resolution of the network, that count as one."""
RESIDUAL_GAIN = 4.0
"""Makes differences of frames as large as other inputs."""
EARLIER = (1, 2, 3, 4)
"""Frames before the last one to which its motion is measured."""
EVIDENCE_CHANNELS = 3 + 2 * len(EARLIER) + len(EARLIER) + 2
FEATURE_CHANNELS = 3 + 2 + 3


def fetch(values: Tensor, path: Tensor, *, mode: str = "bilinear") -> Tensor:
    """Fetch maps `(B, C, H, W)` at p + path(p); beyond the border the nearest place counts."""
    height, width = path.shape[-2:]
    x = torch.arange(width, device=path.device, dtype=path.dtype)
    y = torch.arange(height, device=path.device, dtype=path.dtype)[:, None]
    places = torch.stack(
        [(2 * (x + path[:, 0]) + 1) / width - 1, (2 * (y + path[:, 1]) + 1) / height - 1], dim=-1
    )
    return functional.grid_sample(
        values, places, mode=mode, padding_mode="border", align_corners=False
    )


def extend(path: Tensor | None, flow: Tensor) -> Tensor:
    """Go one frame further: φₖ₊₁(p) = v(p) + φₖ(p + v(p)); the first path is the flow itself."""
    return flow if path is None else flow + fetch(path, flow)


def halve(frames: Tensor) -> Tensor:
    """Average frames or maps `(..., H, W)` down to half their size."""
    return functional.avg_pool2d(frames.flatten(0, -4), 2).unflatten(0, frames.shape[:-3])


def halve_flow(flow: Tensor) -> Tensor:
    """Bring a flow to half its size, in pixels of that size."""
    return halve(flow) / 2


def enlarge_path(path: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a path or flow `(B, 2, h, w)` to another size, in pixels of that size."""
    larger = functional.interpolate(path, tuple(size), mode="bilinear", align_corners=False)
    height, width = path.shape[-2:]
    scale = path.new_tensor([size[1] / width, size[0] / height])
    return larger * scale[:, None, None]


def evidence(frames: Tensor, flows: Tensor) -> Tensor:
    """Lay out what the last frame and its measured motions say, maps `(B, E, H, W)`.

    Where motions that were measured over one, two, three and four frames disagree, or do not
    explain the earlier frames, motion cannot be trusted to go on.

    Args:
        frames: the last observed frame and the four before it, newest first,
            `(5, B, 3, H, W)` in [0, 1].
        flows: measured from the last one to each of those before, a frame, `(4, B, 2, H, W)`.
    """
    last, earlier = frames[0], frames[1:]
    wrong = [
        (fetch(before, flow * steps) - last).abs().mean(1, keepdim=True)
        for steps, before, flow in zip(EARLIER, earlier, flows, strict=True)
    ]
    changed = [(earlier[n] - last).abs().mean(1, keepdim=True) for n in (0, -1)]
    base = flows[1]
    motions = [base, *(2 * (flows[n] - base) for n in (0, 2, 3))]
    scaled = [torch.asinh(motion / SPEED_UNIT) for motion in motions]
    return torch.cat([last - 0.5, *scaled, *(RESIDUAL_GAIN * m for m in (*wrong, *changed))], 1)


def features(frames: Tensor, steps: Tensor) -> Tensor:
    """Lay out what each frame shows and how it came about, `(T, B, F, H, W)`.

    Args:
        frames: `(T, B, 3, H, W)` in [0, 1].
        steps: measured from each frame to the one before, `(T, B, 2, H, W)`; zeros for the first.
    """
    before = torch.cat([frames[:1], frames[:-1]])
    carried = fetch(before.flatten(0, 1), steps.flatten(0, 1)).unflatten(0, frames.shape[:2])
    residual = RESIDUAL_GAIN * (carried - frames)
    return torch.cat([frames - 0.5, torch.asinh(steps / SPEED_UNIT), residual], dim=2)
