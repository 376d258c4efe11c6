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


class _Scale(NamedTuple):
    """Turns numbers into places in a panel."""

    corner: tuple[int, int]
    last: float
    least: float
    most: float

    def x(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.corner[0] + (values - 0.5) / self.last * _SIZES.width

    def y(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        share = (values - self.least) / (self.most - self.least)
        return self.corner[1] + (1 - share) * _SIZES.height


def _draw_panel(
    page: Frames,
    panel: Panel,
    corner: tuple[int, int],
    *,
    along: str,
    separators: Sequence[int],
) -> None:
    lows, highs = zip(*(_reach(curve) for curve in panel.curves), strict=True)
    ticks = _ticks(min(map(np.min, lows)), max(map(np.max, highs)))
    longest = max(len(curve.values) for curve in panel.curves)
    scale = _Scale(corner, longest, ticks[0], ticks[-1])
    left, top = corner
    bottom, right = top + _SIZES.height, left + _SIZES.width
    for tick in ticks:
        y = round(float(scale.y(np.array(tick))))
        page[y, left:right] = _GRID
        text = f"{tick:g}"
        at = (left - layout.text_width(text, _SIZES) - 4, y - _SIZES.text // 2)
        layout.write(page, text, at, layout.MUTED, sizes=_SIZES)
    for number in (1, *(int(t) for t in _ticks(1, longest) if 1 < t <= longest)):
        x = round(float(scale.x(np.array(float(number)))))
        text = str(number)
        at = (x - layout.text_width(text, _SIZES) // 2, bottom + 6)
        layout.write(page, text, at, layout.MUTED, sizes=_SIZES)
    middle = (left + right - layout.text_width(along, _SIZES)) // 2
    layout.write(page, along, (middle, bottom + 6 + _SIZES.line), layout.MUTED, sizes=_SIZES)
    for separator in separators:
        x = round(float(scale.x(np.array(separator + 0.5))))
        page[top:bottom, x - 1 : x + 1] = SEPARATOR
    for curve, low, high in zip(panel.curves, lows, highs, strict=True):
        _shade(page, scale, low, high, curve.colour)
    for curve in panel.curves:
        _draw_line(page, scale, np.asarray(curve.values, float), curve.colour)


def _reach(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of a curve's intervals; a single sequence has none."""
    values, spread = np.asarray(curve.values, float), np.nan_to_num(np.asarray(curve.spread, float))
    return values - spread, values + spread


def _ticks(least: float, most: float) -> list[float]:
    """Choose four to eight round numbers that span `least` to `most`."""
    room = max(most - least, 1e-3)
    power = 10.0 ** math.floor(math.log10(room / 4))
    step = next(power * times for times in (1, 2, 5, 10) if room / (power * times) <= 6)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def _points(scale: _Scale, values: NDArray[np.float64]) -> NDArray[np.int32]:
    x = scale.x(np.arange(1, len(values) + 1, dtype=float))
    return (np.stack([x, scale.y(values)], axis=1) * 2**_FINE).round().astype(np.int32)


def _shade(
    page: Frames,
    scale: _Scale,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    colour: Colour,
) -> None:
    outline = np.concatenate([_points(scale, low), _points(scale, high)[::-1]])
    covered = np.zeros(page.shape[:2], np.uint8)
    cv2.fillPoly(covered, [outline], 255, cv2.LINE_AA, _FINE)
    share = covered[..., None] / 255 * 0.28
    page[:] = (page * (1 - share) + np.array(colour) * share).round().astype(np.uint8)


def _draw_line(page: Frames, scale: _Scale, values: NDArray[np.float64], colour: Colour) -> None:
    points = _points(scale, values)
    cv2.polylines(page, [points], False, colour, 2, cv2.LINE_AA, _FINE)
    if len(points) == 1:
        cv2.circle(page, points[0], 3 << _FINE, colour, -1, cv2.LINE_AA, _FINE)
