"""Draw what a model predicts: animations, contact sheets and where samples disagree.

Takes and returns `uint8` RGB arrays; every picture has even sides, as video codecs want, and the
same input always gives the same pixels. Samples are looked at a frame at a time, so they may lie
elsewhere than in memory. Knows nothing of files, models or torch.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from functools import reduce
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from drsvg_cli.visualization import layout
from drsvg_cli.visualization.layout import Animation, Colour, Film, Frames, Row, enlarge

__all__ = [
    "HEAT_SCALE",
    "Continued",
    "Futures",
    "comparison",
    "contact_sheet",
    "disagreement",
    "enlarge",
    "future_rows",
    "grid",
    "heat_overlay",
    "heat_row",
    "mean_disagreement",
    "strip",
]

TRUTH: Colour = (240, 242, 245)

HEAT_SCALE = 64.0
"""The disagreement, in 8-bit levels, that is painted brightest."""
MOST_SHOWN = 100
"""Samples in a grid or a sheet, the first ones: more are too small to see, and fill any memory."""


class Films(Protocol):
    """Clips of one shape: an array `(S, N, H, W, 3)`, or what gives each when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return `(S, N, H, W, 3)`."""

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Return the type of a number."""

    def __len__(self) -> int:
        """Return S."""

    def __getitem__(self, index: int, /) -> Film:
        """Return one clip."""


@dataclass(frozen=True, eq=False)
class Futures:
    """Hold what was seen of a clip and what may follow, all `uint8` RGB.

    Attributes:
        context: the observed frames `(T, H, W, 3)`.
        samples: the predicted frames `(S, N, H, W, 3)`.
        rate: frames per second.
        truth: what really followed `(N, H, W, 3)`, where it is known.

    Raises:
        ValueError: an array is empty, is not `uint8` RGB or does not match the others.
    """

    context: Frames
    samples: Films
    _: KW_ONLY
    rate: Fraction
    truth: Frames | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        size = self.context.shape[-3:-1]
        _require("context", self.context, (None, *size))
        _require("samples", self.samples, (None, None, *size))
        if self.truth is not None:
            _require("truth", self.truth, (self.samples.shape[1], *size))
        if self.rate <= 0:
            raise ValueError(f"the frame rate must be positive, not {self.rate}")


def grid(futures: Futures, *, tile: int) -> Animation:
    """Animate the futures side by side, after the frames they start from.

    While the context runs every tile shows it, in the colour of the observed; then each tile goes
    its own way. The truth, where it is known, has the first tile. The time counts from the last
    observed frame. No more than `MOST_SHOWN` samples are shown.

    Args:
        futures: the clips to show.
        tile: longer side of one clip, in pixels.

    Returns:
        `(T + N, H', W', 3)`.
    """
    observed = len(futures.context)
    return layout.animate(future_rows(futures), observed=observed, tile=tile, rate=futures.rate)


def contact_sheet(futures: Futures, *, tile: int, columns: int = 12) -> Frames:
    """Lay the futures out on one page: a row each, time from left to right.

    The last observed frames, at most four, stand left of a line; the futures, thinned evenly to
    the columns left over, stand right of it, always with their first and last frame. Two samples
    or more add a row that shows where they disagree.

    Args:
        futures: the clips to show.
        tile: longer side of one frame, in pixels.
        columns: frames in a row at most, 3 or more.

    Returns:
        `(H', W', 3)`.
    """
    rows, observed = future_rows(futures), len(futures.context)
    if len(futures.samples) > 1:
        rows.append(heat_row(futures))
    return layout.sheet(rows, observed=observed, tile=tile, columns=columns, rate=futures.rate)


def comparison(rows: Sequence[tuple[str, Film]], *, tile: int, rate: Fraction) -> Animation:
    """Animate labelled clips `(T, H, W, 3)` of one shape side by side.

    Raises:
        ValueError: there is no clip or the clips differ in shape.
    """
    return layout.animate(_labelled(rows), observed=0, tile=tile, rate=rate)


def strip(
    rows: Sequence[tuple[str, Film]],
    *,
    tile: int,
    rate: Fraction,
    columns: int = 12,
    observed: int = 0,
) -> Frames:
    """Lay labelled clips `(T, H, W, 3)` of one shape out on one page: `(H', W', 3)`.

    A line stands after the first `observed` frames, of which the last four at most are shown.

    Raises:
        ValueError: there is no clip, the clips differ in shape or `columns` is below 3.
    """
    return layout.sheet(_labelled(rows), observed=observed, tile=tile, columns=columns, rate=rate)


def disagreement(samples: Films) -> NDArray[np.float32]:
    """Return how far samples `(S, N, H, W, 3)` are apart at each pixel: `(N, H, W)`.

    It is the standard deviation over the samples (divided by S) of the channel that varies most,
    in 8-bit levels, 0 to 127.5.
    """
    return np.stack([_statistics(samples, time)[1] for time in range(samples.shape[1])])


def _statistics(samples: Films, time: int) -> tuple[Frames, NDArray[np.float32]]:
    """Return the mean `(H, W, 3)` of all samples at a time and their disagreement `(H, W)`.

    Sums are exact, and one frame after the other is looked at.
    """
    total = np.zeros(samples.shape[2:])
    squares = np.zeros(samples.shape[2:])
    for number in range(len(samples)):
        frame = np.ascontiguousarray(samples[number][time])
        cv2.accumulate(frame, total)
        cv2.accumulateSquare(frame, squares)
    count = len(samples)
    most = reduce(np.maximum, cv2.split(count * squares - total * total))
    return (total / count).astype(np.uint8), (np.sqrt(most) / count).astype(np.float32)


def heat_overlay(frames: Frames, spread: NDArray[np.float32]) -> Frames:
    """Paint the disagreement `(N, H, W)` over dimmed gray frames `(N, H, W, 3)`.

    The colours run from black at 0 to pale yellow at `HEAT_SCALE` levels, whatever the clip, so
    that two pictures compare and what the samples agree on stays dark.
    """
    weight = np.clip(spread / np.float32(HEAT_SCALE), 0, 1)
    gray = 0.4 * frames.mean(axis=-1, dtype=np.float32)
    heat = layout.heat_colours()[np.rint(255 * weight).astype(np.uint8)]
    blend: Frames = np.clip(((1 - weight) * gray)[..., None] + heat, 0, 255).astype(np.uint8)
    return blend


def mean_disagreement(futures: Futures) -> NDArray[np.float32]:
    """Return how far the samples are apart at each pixel, averaged over time: `(H, W)`."""
    length = futures.samples.shape[1]
    total = sum(_statistics(futures.samples, time)[1] for time in range(length))
    return np.asarray(total / np.float32(length), np.float32)


def _require(name: str, frames: Film | Films, shape: tuple[int | None, ...]) -> None:
    """Raise unless the frames are `uint8` RGB of this shape, where `None` stands for any number."""
    known = len(shape) + 1 == len(frames.shape) and all(
        want in (None, have) for want, have in zip((*shape, 3), frames.shape, strict=True)
    )
    if not known or frames.dtype != np.uint8 or 0 in frames.shape:
        wanted = ", ".join("any" if want is None else str(want) for want in (*shape, 3))
        raise ValueError(f"{name}: expected uint8 ({wanted}), got {frames.dtype} {frames.shape}")


@dataclass(frozen=True, eq=False)
class Continued:
    """A context and what comes after it, as one clip; frames are asked for one at a time."""

    context: Frames
    tail: Film
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return `(T, H, W, 3)`."""
        return len(self), *self.context.shape[1:]

    def __len__(self) -> int:
        """Return T."""
        return len(self.context) + len(self.tail)

    def __getitem__(self, index: int, /) -> Frames:
        """Return one frame."""
        seen = len(self.context)
        frame: Frames = self.context[index] if index < seen else self.tail[index - seen]
        return frame


@dataclass(frozen=True, eq=False)
class _Heat:
    """The disagreement over the mean of the samples, as a clip."""

    samples: Films
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.samples.shape[1:]

    def __len__(self) -> int:
        return self.samples.shape[1]

    def __getitem__(self, index: int, /) -> Frames:
        mean, spread = _statistics(self.samples, index)
        return heat_overlay(mean[None], spread[None])[0]


def future_rows(futures: Futures) -> list[Row]:
    """Return a labelled row a future, from the first observed frame on; the truth comes first."""
    tails: list[tuple[str, Colour, Film]] = []
    if futures.truth is not None:
        tails.append(("what happened", TRUTH, futures.truth))
    for number in range(min(len(futures.samples), MOST_SHOWN)):
        tails.append((f"sample {number + 1}", layout.PREDICTED, futures.samples[number]))
    return [Row(name, hue, Continued(futures.context, tail)) for name, hue, tail in tails]


def heat_row(futures: Futures) -> Row:
    """Return the disagreement over the mean of the samples, blank while the context runs."""
    blank = np.full_like(futures.context, layout.BACKGROUND)
    frames = Continued(blank, _Heat(futures.samples))
    return Row("disagreement", layout.MUTED, frames, legend=f"0 to {HEAT_SCALE:.0f} levels")


def _labelled(rows: Sequence[tuple[str, Film]]) -> list[Row]:
    if not rows:
        raise ValueError("there is no clip to show")
    for label, frames in rows:
        _require(label, frames, rows[0][1].shape[:3])
    return [Row(label, layout.NEUTRAL, frames) for label, frames in rows]
