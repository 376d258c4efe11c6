"""Draw how rare each moment of a clip is, over time, with what stands out marked.

Knows times and how often something is expected, and nothing of how that was found.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from drsvg_cli.visualization import layout
from drsvg_cli.visualization.layout import Colour, Frames, Layout

RAREST = 3e7
"""Seconds, about a year: what is rarer is drawn as if it was not."""
_LINES = {"1 s": 1.0, "10 s": 10, "1 min": 60, "10 min": 600, "1 h": 3600, "1 day": 86400}
_LINES |= {"1 month": 2.6e6, "1 year": RAREST}
_SIZES = Layout(height=260, width=1100, text=15, line=24, pad=14, border=1)
_LEFT = 84
_GRID: Colour = (44, 49, 56)


def timeline(
    seconds: Sequence[float],
    rarity: NDArray[np.float64],
    *,
    step: float,
    limit: float,
    length: float,
    events: Sequence[tuple[float, float]] = (),
    cuts: Sequence[float] = (),
) -> Frames:
    """Draw one moment after the other: `(H', W', 3)`.

    Args:
        seconds: when each moment is, from the clip's beginning.
        rarity: seconds in which something like it is expected once, of each.
        step: seconds from a moment to the next.
        limit: the rarity from which on something is an event.
        length: of the clip, in seconds.
        events: from when to when each lasts.
        cuts: when the camera was cut.
    """
    height, width, top = _SIZES.height, _SIZES.width, _SIZES.pad
    page = layout.canvas(top + height + 3 * _SIZES.line, _LEFT + width + 2 * _SIZES.pad)
    bottom = top + height

    def x(moment: float) -> int:
        return _LEFT + round(min(max(moment / length, 0), 1) * (width - 1))

    def y(wait: float) -> int:
        share = np.log(np.clip(wait, 0.3, RAREST) / 0.3) / np.log(RAREST / 0.3)
        return bottom - 1 - round(float(share) * (height - 1))

    for begin, end in events:
        page[top:bottom, x(begin) : x(end) + 2] = _mixed(layout.PREDICTED, 0.28)
    for name, wait in _LINES.items():
        page[y(wait), _LEFT : _LEFT + width] = _GRID
        _write(page, name, _LEFT - 6, y(wait) - _SIZES.text // 2, align=1.0)
    for cut in cuts:
        page[top:bottom:6, x(cut)] = page[top + 1 : bottom : 6, x(cut)] = layout.NEUTRAL
    for moment, wait in zip(seconds, rarity, strict=True):
        page[y(float(wait)) : bottom, x(moment) : x(moment + step) + 1] = layout.OBSERVED
    page[y(limit), _LEFT : _LEFT + width] = layout.PREDICTED
    for share in (0, 0.25, 0.5, 0.75, 1):
        _write(page, clock(share * length), x(share * length), bottom + 6, align=share)
    words = "how rarely something like it is expected (shaded: events, dotted: camera cuts)"
    _write(page, words, _LEFT, bottom + 8 + _SIZES.line, align=0.0)
    return page


def clock(seconds: float) -> str:
    """Write a moment as minutes and seconds, and hours where there are any."""
    minutes, rest = divmod(round(seconds, 1), 60)
    if minutes < 60:
        return f"{minutes:.0f}:{rest:04.1f}"
    return f"{minutes // 60:.0f}:{minutes % 60:02.0f}:{rest:02.0f}"


def _write(page: Frames, text: str, x: int, y: int, *, align: float) -> None:
    """Write a line whose share `align` stands left of x."""
    left = round(x - align * layout.text_width(text, _SIZES))
    layout.write(page, text, (left, y), layout.MUTED, sizes=_SIZES)


def _mixed(colour: Colour, share: float) -> Colour:
    """Mix a colour with the background."""
    pairs = zip(colour, layout.BACKGROUND, strict=True)
    red, green, blue = (round(share * a + (1 - share) * b) for a, b in pairs)
    return red, green, blue


def outlined(frame: Frames, box: Sequence[int], scale: float) -> Frames:
    """Outline a box (x, y, width, height) on a copy of a frame that is `scale` times as large."""
    picture = np.ascontiguousarray(frame).copy()
    x, y, width, height = (round(value * scale) for value in box)
    for colour, thickness in ((layout.BACKGROUND, 4), (layout.PREDICTED, 2)):
        cv2.rectangle(picture, (x + 1, y + 1), (x + width - 2, y + height - 2), colour, thickness)
    return picture
