"""How well content and pose are told apart: swaps, what they show and how they move.

A swap shows A moving as B (Section 4.3). It is right where every garment, or whatever else content
is, is that of A, and the pose is that of B, frame by frame, as a classifier reads them. How it
moves can be measured without anybody who knows what it shows.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.evaluation.classifier import Known, Reading
from drsvg_cli.evaluation.metrics import LEAST_SHARPNESS, sharpness
from drsvg_cli.frames import to_frames
from drsvg_cli.inference.rollout import swap
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.optical_flow import measure_flow

PAIRS_AT_ONCE = 8
GRID = 4
"""Places along each side at which motion is compared."""


class Made(NamedTuple):
    """What is measured of what a model made of pairs of sequences."""

    reading: Reading
    sharpness: Tensor
    """In shares of that of the true frames of A, `(N, S, T)`."""
    motion: Tensor
    """How it moves, `(N, S, T, M)`, see `movement`."""
    distance: Tensor
    """How far it is from the swap, in levels of 255, `(N, S, T)`."""


def movement(frames: Tensor) -> Tensor:
    """Measure how sequences move.

    Args:
        frames: `(N, T, C, S, S)` in [0, 1].

    Returns:
        `(N, T - 1, M)`: the motion between neighbouring frames, averaged over a grid of
        `GRID` x `GRID` places, along each axis.
    """
    pairs = torch.stack([frames[:, :-1], frames[:, 1:]], 2).flatten(0, 1)
    flows = np.stack([measure_flow(to_frames(pair)) for pair in pairs])
    found = torch.from_numpy(flows).movedim(-1, 1)
    coarse = functional.adaptive_avg_pool2d(found, GRID).flatten(1)
    return coarse.unflatten(0, (len(frames), -1)).cpu()


def agreement(motion: Tensor, other: Tensor) -> float:
    """Return how much alike two things of equal shape move: the cosine of all motion at once.

    1 is the same motion, if not as far; 0 is motion that has nothing to do with the other.
    """
    return float(functional.cosine_similarity(motion.flatten(), other.flatten(), dim=0))


def partners(count: int) -> Tensor:
    """Return which sequence gives the pose to each of `count`: never itself, and one that is far.

    Neighbours may be of one clip.

    Raises:
        ValueError: there is no other one.
    """
    if count < 2:
        raise ValueError(f"a swap takes two sequences or more, not {count}")
    return torch.arange(count).roll(-(count // 2))


def swap_all(
    model: DRSVG,
    frames: Tensor,
    *,
    seeds: Sequence[int],
    temperature: float = 1.0,
    known: Known | None = None,
    tick: Callable[[int], object] = lambda _: None,
) -> dict[str, Made]:
    """Swap all sequences with their partners and measure what comes out, in turns.

    Args:
        model: in evaluation mode.
        frames: uint8 `(N, T, C, S, S)`.
        seeds: one a sample.
        temperature: as for `rollout.swap`.
        known: what the sequences show, if that is known.
        tick: called with the number of pairs that have been swapped since.

    Returns:
        `swap`; `reconstruction`, with the pose of A itself; and, for a model with content latents,
        `content of B`, the swap with those of B: where it does not differ from the swap, content
        comes from the first frame alone.
    """
    device, parts = next(model.parameters()).device, []
    swapped_with = partial(swap, model, seeds=seeds, temperature=temperature)
    kinds = ["swap", "reconstruction", *["content of B"] * (len(model.latents) > 1)]
    for some in torch.arange(len(frames)).split(PAIRS_AT_ONCE):
        others = partners(len(frames))[some]
        content, pose = (frames[each].to(device).float() / 255 for each in (some, others))
        # Poses differ from frame to frame, so true frames are the measure on average only.
        true = sharpness(content[:, None, 1:]).mean(-1, keepdim=True).clamp(min=LEAST_SHARPNESS)
        made: dict[str, Made] = {}
        for kind in kinds:
            giver, poses = (content, some) if kind == "reconstruction" else (pose, others)
            latents = pose if kind == "content of B" else None
            shown = swapped_with(content, giver, content_latents=latents).frames
            if kind == "swap":
                swapped = shown
            films = torch.cat([content[:, None, :1].expand(-1, len(seeds), *[-1] * 4), shown], 2)
            made[kind] = Made(
                known.judge(shown, content=some, poses=poses) if known else {},
                (sharpness(shown) / true).cpu(),
                movement(films.flatten(0, 1)).unflatten(0, shown.shape[:2]),
                255 * (shown - swapped).abs().mean((-3, -2, -1)).cpu(),
            )
        parts.append(made)
        tick(len(some))
    return {kind: _joined([part[kind] for part in parts]) for kind in kinds}


def _joined(parts: Sequence[Made]) -> Made:
    """Join what was measured of different pairs, in order."""
    readings, *tensors = zip(*parts, strict=True)
    joined = {name: torch.cat([each[name] for each in readings]) for name in readings[0]}
    return Made(joined, *map(torch.cat, tensors))
