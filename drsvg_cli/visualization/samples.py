"""Draw what a model predicts: animations, contact sheets and where samples disagree.

Takes and returns `uint8` RGB arrays; every picture has even sides, as video codecs want, and the
same input always gives the same pixels. Samples are looked at a frame at a time, so they may lie
in a file that is mapped into memory. Knows nothing of models or torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from drsvg_cli.visualization import layout
from drsvg_cli.visualization.layout import Colour, Film, Frames, Row

TRUTH: Colour = (240, 242, 245)

HEAT_SCALE = 64.0
"""The disagreement, in 8-bit levels, that is painted brightest."""
MOST_SHOWN = 100
"""Samples in a grid or a sheet, the first ones: more are too small to see, and fill any memory."""
COLUMNS = 12
"""Frames in a row of a sheet."""


@dataclass(frozen=True, eq=False)
class Futures:
    """Hold what was seen of a clip and what may follow, all `uint8` RGB.

    Attributes:
        context: the observed frames `(T, H, W, 3)`.
        samples: the predicted frames `(S, N, H, W, 3)`.
        rate: frames per second.
        truth: what really followed `(N, H, W, 3)`, where it is known.
    """

    context: Frames
    samples: Frames
    _: KW_ONLY
    rate: Fraction
    truth: Frames | None = None

    def rows(self) -> list[Row]:
        """Return a labelled row a future, from the first observed frame on; the truth is first."""
        rows = [] if self.truth is None else [("what happened", TRUTH, self.truth)]
        for number, sample in enumerate(self.samples[:MOST_SHOWN], start=1):
            rows.append((f"sample {number}", layout.PREDICTED, sample))
        return [Row(label, colour, [*self.context, *tail]) for label, colour, tail in rows]


def grid(futures: Futures, *, tile: int) -> Iterator[Frames]:
    """Animate the futures side by side, after the frames they start from.

    While the context runs every tile shows it, in the colour of the observed; then each tile goes
    its own way. The truth, where it is known, has the first tile. The time counts from the last
    observed frame. No more than `MOST_SHOWN` samples are shown.

    Args:
        futures: the clips to show.
        tile: longer side of one clip, in pixels.

    Yields:
        T + N frames `(H', W', 3)`.
    """
    observed = len(futures.context)
    return layout.animate(futures.rows(), observed=observed, tile=tile, rate=futures.rate)


def contact_sheet(futures: Futures, *, tile: int) -> Frames:
    """Lay the futures out on one page: a row each, time from left to right.

    The last observed frames, at most four, stand left of a line; the futures, thinned evenly to
    the columns left over, stand right of it, always with their first and last frame. Two samples
    or more add a row that shows where they disagree.

    Args:
        futures: the clips to show.
        tile: longer side of one frame, in pixels.

    Returns:
        `(H', W', 3)`.
    """
    rows, observed, samples = futures.rows(), len(futures.context), futures.samples
    shown = layout.choose(len(rows[0].frames), observed, COLUMNS)
    rows = [row._replace(frames=[row.frames[index] for index in shown]) for row in rows]
    if len(samples) > 1:
        blank = np.full_like(futures.context[0], layout.BACKGROUND)
        heat = [
            blank if index < observed else heat_overlay(*_statistics(samples, index - observed))
            for index in shown
        ]
        scale = f"0 to {HEAT_SCALE:.0f} levels"
        rows.append(Row("disagreement", layout.MUTED, heat, legend=scale))
    return layout.sheet(rows, shown=shown, observed=observed, tile=tile, rate=futures.rate)


def strip(
    rows: Sequence[tuple[str, Film]],
    *,
    tile: int,
    rate: Fraction,
    columns: int = COLUMNS,
    observed: int = 0,
) -> Frames:
    """Lay labelled clips `(T, H, W, 3)` of one shape out on one page: `(H', W', 3)`.

    A line stands after the first `observed` frames, of which the last four at most are shown.
    """
    shown = layout.choose(len(rows[0][1]), observed, columns)
    drawn = [Row(label, layout.NEUTRAL, [clip[index] for index in shown]) for label, clip in rows]
    return layout.sheet(drawn, shown=shown, observed=observed, tile=tile, rate=rate)


def _statistics(samples: Frames, time: int) -> tuple[Frames, NDArray[np.float32]]:
    """Return the mean `(H, W, 3)` of all samples at a time and how far they are apart, `(H, W)`.

    That is the standard deviation over the samples (divided by S) of the channel that varies most,
    in 8-bit levels, 0 to 127.5. Sums are exact, and one frame after the other is looked at.
    """
    total = np.zeros(samples.shape[2:])
    squares = np.zeros(samples.shape[2:])
    for sample in samples:
        frame = np.ascontiguousarray(sample[time])
        cv2.accumulate(frame, total)
        cv2.accumulateSquare(frame, squares)
    count = len(samples)
    most = reduce(np.maximum, cv2.split(count * squares - total * total))
    return (total / count).astype(np.uint8), (np.sqrt(most) / count).astype(np.float32)


def heat_overlay(frame: Frames, spread: NDArray[np.float32]) -> Frames:
    """Paint the disagreement `(H, W)` over a dimmed gray frame `(H, W, 3)`.

    The colours run from black at 0 to pale yellow at `HEAT_SCALE` levels, whatever the clip, so
    that two pictures compare and what the samples agree on stays dark.
    """
    weight = np.clip(spread / np.float32(HEAT_SCALE), 0, 1)
    gray = 0.4 * frame.mean(axis=-1, dtype=np.float32)
    heat = layout.heat_colours()[np.rint(255 * weight).astype(np.uint8)]
    blend: Frames = np.clip(((1 - weight) * gray)[..., None] + heat, 0, 255).astype(np.uint8)
    return blend


def mean_disagreement(samples: Frames) -> NDArray[np.float32]:
    """Return how far samples `(S, N, H, W, 3)` are apart at each pixel, averaged over time."""
    length = samples.shape[1]
    total = sum(_statistics(samples, time)[1] for time in range(length))
    return np.asarray(total / np.float32(length), np.float32)
