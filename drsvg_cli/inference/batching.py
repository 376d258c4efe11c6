"""Samples generated in batches, so that memory depends neither on their number nor their length."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from drsvg_cli.device import is_used_up

BATCH = 64
"""Sequences, samples times clips, generated together at most, but one sample of every clip."""


class Moment(NamedTuple):
    """One frame of some samples."""

    samples: range
    """Which samples, counted from 0."""
    time: int
    """Which generated frame, counted from 0."""
    frames: Tensor
    """`(N, S, C, size, size)` in [0, 1]."""


def in_batches(
    generate: Callable[[range], Iterator[Moment]], samples: range, *, clips: int
) -> Iterator[Moment]:
    """Let `generate` make samples of `clips` clips, batch after batch.

    Where memory is used up, a batch is begun anew in two halves; its frames come again.
    """
    most = max(1, BATCH // clips)
    for first in range(0, len(samples), most):
        yield from _batch(generate, samples[first : first + most])


def _batch(generate: Callable[[range], Iterator[Moment]], samples: range) -> Iterator[Moment]:
    try:
        yield from generate(samples)
        return
    except (MemoryError, RuntimeError) as error:
        if len(samples) == 1 or not is_used_up(error):
            raise
    half = len(samples) // 2
    for part in (samples[:half], samples[half:]):
        yield from _batch(generate, part)
