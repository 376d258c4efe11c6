"""Draw curves with their intervals, a panel a metric: the pictures of Fig. 3.

Knows numbers, labels and colours, and nothing of what they measure. Sizes are in pixels.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from drsvg_cli.visualization import layout
from drsvg_cli.visualization.layout import Colour, Frames, Layout

PALETTE: tuple[Colour, ...] = (
    layout.PREDICTED,
    (92, 160, 255),
    (226, 110, 160),
    (170, 140, 240),
    (230, 220, 110),
    (90, 205, 205),
    (240, 110, 90),
    (165, 110, 80),
)
SEPARATOR: Colour = (80, 200, 100)
_SIZES = Layout(height=300, width=440, text=15, line=24, pad=14, border=1)
_GRID: Colour = (44, 49, 56)
_FINE = 4
"""Bits of a fraction of a pixel in a drawn point."""


class Curve(NamedTuple):
    """One line: a value for x = 1, 2, …, and how far its interval reaches to either side."""

    label: str
    colour: Colour
    values: Sequence[float]
    spread: Sequence[float]


class Panel(NamedTuple):
    """One set of axes."""

    title: str
    curves: Sequence[Curve]


def chart(panels: Sequence[Panel], *, along: str, separators: Sequence[int]) -> Frames:
    """Draw panels side by side above one legend: `(H', W', 3)`.

    Args:
        panels: with the same curves, by label and colour.
        along: what x is.
        separators: x after which a green line stands, as where training stopped in Fig. 3.
    """
    gutter = 4 * _SIZES.pad
    across = gutter + _SIZES.width + _SIZES.pad
    top = _SIZES.pad + _SIZES.line
    legend = top + _SIZES.height + 2 * _SIZES.line + _SIZES.pad
    page = layout.canvas(legend + _SIZES.line + _SIZES.pad // 2, across * len(panels) + gutter // 2)
    for number, panel in enumerate(panels):
        left = gutter + number * across
        layout.write(page, panel.title, (left, _SIZES.pad // 2), layout.TEXT, sizes=_SIZES)
        _draw_panel(page, panel, (left, top), along=along, separators=separators)
    x = gutter
    for curve in panels[0].curves:
        middle = legend + _SIZES.text // 2
        page[middle - 1 : middle + 2, x : x + 2 * _SIZES.pad] = curve.colour
        x += 2 * _SIZES.pad + _SIZES.pad // 2
        layout.write(page, curve.label, (x, legend), layout.TEXT, sizes=_SIZES)
        x += layout.text_width(curve.label, _SIZES) + 2 * _SIZES.pad
    return page


def _draw_panel(
    page: Frames, panel: Panel, corner: tuple[int, int], *, along: str, separators: Sequence[int]
) -> None:
    """Draw one set of axes with all of its curves, its upper left corner at `corner`, `(x, y)`."""
    curves = [
        (np.asarray(curve.values, float), np.nan_to_num(curve.spread), curve.colour)
        for curve in panel.curves  # a single sequence has no interval
    ]
    ticks = _ticks(
        min(float((values - spread).min()) for values, spread, _ in curves),
        max(float((values + spread).max()) for values, spread, _ in curves),
    )
    longest = max(len(values) for values, _, _ in curves)
    (left, top), bottom, right = corner, corner[1] + _SIZES.height, corner[0] + _SIZES.width

    def places(values: NDArray[np.float64], first: float = 1) -> NDArray[np.float64]:
        x = left + (np.arange(len(values)) + first - 0.5) / longest * _SIZES.width
        return np.stack(
            [x, bottom - (values - ticks[0]) / (ticks[-1] - ticks[0]) * _SIZES.height], 1
        )

    for tick in ticks:
        y = round(float(places(np.array([tick]))[0, 1]))
        page[y, left:right] = _GRID
        at = left - layout.text_width(f"{tick:g}", _SIZES) - 4, y - _SIZES.text // 2
        layout.write(page, f"{tick:g}", at, layout.MUTED, sizes=_SIZES)
    marks = (1, *(int(t) for t in _ticks(1, longest) if 1 < t <= longest))
    named = [(str(n), round(float(places(np.zeros(1), n)[0, 0])), bottom + 6) for n in marks]
    for text, x, y in [*named, (along, (left + right) // 2, bottom + 6 + _SIZES.line)]:
        at = x - layout.text_width(text, _SIZES) // 2, y
        layout.write(page, text, at, layout.MUTED, sizes=_SIZES)
    for separator in separators:
        x = round(float(places(np.zeros(1), separator + 0.5)[0, 0]))
        page[top:bottom, x - 1 : x + 1] = SEPARATOR
    for values, spread, colour in curves:
        outline = np.concatenate([places(values - spread), places(values + spread)[::-1]])
        covered = np.zeros(page.shape[:2], np.uint8)
        cv2.fillPoly(covered, [_fixed(outline)], 255, cv2.LINE_AA, _FINE)
        share = covered[..., None] / 255 * 0.28
        page[:] = (page * (1 - share) + np.array(colour) * share).round().astype(np.uint8)
    for values, _, colour in curves:
        points = _fixed(places(values))
        cv2.polylines(page, [points], False, colour, 2, cv2.LINE_AA, _FINE)
        if len(points) == 1:
            cv2.circle(page, points[0], 3 << _FINE, colour, -1, cv2.LINE_AA, _FINE)


def _fixed(places: NDArray[np.float64]) -> NDArray[np.int32]:
    """Write places as OpenCV takes them, in fractions of a pixel."""
    return (places * 2**_FINE).round().astype(np.int32)


def _ticks(least: float, most: float) -> list[float]:
    """Choose four to eight round numbers that span `least` to `most`."""
    room = max(most - least, 1e-3)
    power = 10.0 ** math.floor(math.log10(room / 4))
    step = next(power * times for times in (1, 2, 5, 10) if room / (power * times) <= 6)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
