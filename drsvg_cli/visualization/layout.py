"""Lay labelled clips out side by side, as an animation or on one page, with their times.

Knows frames, labels and colours, and nothing of what the clips mean. Sizes are in pixels and
follow from the tile, the longer side of one enlarged frame. An animation draws a frame when it is
asked for it, so that its length costs no memory.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (17, 20, 24)
TEXT: Colour = (222, 226, 232)
NEUTRAL: Colour = (176, 184, 196)
MUTED: Colour = (128, 137, 150)
OBSERVED: Colour = (52, 190, 178)
PREDICTED: Colour = (244, 172, 54)

_SMALLEST_TILE = 16
_MOST_CONTEXT_COLUMNS = 4
_PLEASANT_ASPECT = 1.6


class Film(Protocol):
    """Frames in order: an array `(T, H, W, 3)`, or what gives each when it is asked for it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return `(T, H, W, 3)`."""

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Return the type of a number."""

    def __len__(self) -> int:
        """Return T."""

    def __getitem__(self, index: int, /) -> Any:
        """Return the frame `(H, W, 3)`."""


class Row(NamedTuple):
    """Hold one labelled clip `(T, H, W, 3)`; a `legend` puts the heat's scale below the label."""

    label: str
    colour: Colour
    frames: Film
    legend: str = ""


class Layout(NamedTuple):
    """Hold the sizes that everything in a picture derives from."""

    height: int
    width: int
    text: int
    line: int
    pad: int
    border: int


def layout(frames: Film, tile: int) -> Layout:
    """Return the sizes for frames `(..., H, W, 3)` whose longer side becomes `tile` pixels.

    Raises:
        ValueError: the tile is too small to show anything.
    """
    if tile < _SMALLEST_TILE:
        raise ValueError(f"a tile needs {_SMALLEST_TILE} pixels or more, not {tile}")
    height, width = _fitted(frames, tile)
    text = min(max(10, round(tile / 17)), 22)
    return Layout(height, width, text, text * 8 // 5, max(6, tile // 20), max(1, tile // 100))


@dataclass(frozen=True, eq=False)
class Animation:
    """Clips of one length side by side, a timeline below; frames are drawn as they are asked for.

    Attributes:
        rows: the clips.
        corners: of the tiles, `(x, y)`.
        captioned: the empty picture while frames are observed, and after that.
        observed: how many first frames were seen rather than predicted.
        tile: longer side of one clip.
        times: of all frames, in words.
        stops: how far the bar of the timeline has come before each frame, and at the end.
        sizes: what the picture is laid out with.
    """

    rows: Sequence[Row]
    corners: Sequence[tuple[int, int]]
    captioned: tuple[Frames, Frames]
    observed: int
    tile: int
    times: Sequence[str]
    stops: NDArray[np.int_]
    sizes: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Return `(T, H', W', 3)`."""
        return len(self), *self.captioned[0].shape

    def __len__(self) -> int:
        """Return T."""
        return len(self.times)

    def __getitem__(self, index: int, /) -> Frames:
        """Draw one frame `(H', W', 3)`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        picture = self.captioned[index >= self.observed].copy()
        for row, (x, y) in zip(self.rows, self.corners, strict=True):
            paste(picture, enlarge(row.frames[index], self.tile), (x, y))
        self._draw_timeline(picture, index)
        return picture

    def __iter__(self) -> Iterator[Frames]:
        """Draw all frames in order."""
        return (self[index] for index in range(len(self)))

    def _draw_timeline(self, picture: Frames, index: int) -> None:
        """Draw a bar that fills with time, and the time, at the foot of a frame."""
        sizes, length, observed = self.sizes, len(self), self.observed
        colour, bottom = self.rows[-1].colour, len(picture) - sizes.pad
        stops = self.stops
        middle, thick = bottom - sizes.text // 2, max(2, sizes.text // 5)
        hue = OBSERVED if index < observed else colour
        write(picture, self.times[index], (sizes.pad, bottom - sizes.text), hue, sizes=sizes)
        bar = picture[middle - thick // 2 : middle - thick // 2 + thick]
        for first, last, shade in ((0, observed, OBSERVED), (observed, length, colour)):
            bar[:, stops[first] : stops[last]] = _dimmed(shade)
            bar[:, stops[first] : stops[max(first, min(index + 1, last))]] = shade


def animate(rows: Sequence[Row], *, observed: int, tile: int, rate: Fraction) -> Animation:
    """Play clips of one length side by side.

    Args:
        rows: the clips.
        observed: how many first frames were seen rather than predicted; they are marked so.
        tile: longer side of one clip.
        rate: frames per second.
    """
    sizes = layout(rows[0].frames, tile)
    seen = [("observed", OBSERVED)] * len(rows)
    played = [(row.label, row.colour) for row in rows]
    widest = max(text_width(label, sizes) for label, _ in seen[: min(1, observed)] + played)
    cell = max(sizes.width + 2 * sizes.border, widest)
    corners, base = _board(len(rows), cell, sizes)
    captioned = (
        _captioned(base, seen, corners, sizes=sizes),
        _captioned(base, played, corners, sizes=sizes),
    )
    times = [moment(index, observed, rate) for index in range(len(rows[0].frames))]
    start = 2 * sizes.pad + max(text_width(time, sizes) for time in times)
    stops = np.linspace(start, base.shape[1] - sizes.pad, len(times) + 1).round().astype(int)
    return Animation(rows, corners, captioned, observed, tile, times, stops, sizes)


def sheet(rows: Sequence[Row], *, observed: int, tile: int, columns: int, rate: Fraction) -> Frames:
    """Put clips of one length on one page, a row each, time from left to right: `(H', W', 3)`.

    Args:
        rows: the clips.
        observed: how many first frames were seen rather than predicted; a line divides the two.
        tile: longer side of one frame.
        columns: frames in a row at most.
        rate: frames per second.

    Raises:
        ValueError: fewer than three columns.
    """
    sizes = layout(rows[0].frames, tile)
    length = len(rows[0].frames)
    past, future = _shown(length, observed, columns)
    times = [moment(index, observed, rate) for index in past + future]
    step = max(sizes.width, *(text_width(time, sizes) for time in times)) + sizes.pad // 2
    gutter = max(text_width(row.label, sizes) for row in rows) + 2 * sizes.pad
    seam = 2 * sizes.pad if past else 0
    lefts = [gutter + k * step for k in range(len(past))]
    lefts += [gutter + seam + k * step for k in range(len(past), len(past + future))]
    top = sizes.pad + sizes.line + (sizes.line + sizes.pad if past else 0)
    down = max(sizes.height, sizes.line) + sizes.pad // 2
    # A legend makes its label three lines high, more than a row of small frames.
    room = max(0, 3 * sizes.line - sizes.height) // 2
    height = top + len(rows) * down + sizes.pad // 2 + 2 * room * any(row.legend for row in rows)
    page = canvas(height, lefts[-1] + step + sizes.pad // 2)
    for time, left in zip(times, lefts, strict=True):
        write(page, time, (left, top - sizes.line), MUTED, sizes=sizes)
    if past:
        _draw_seam(page, lefts, len(past), sizes=sizes)
    for number, row in enumerate(rows):
        y = top + number * down + (room if row.legend else 0)
        _label(page, row, y, sizes=sizes)
        for index, left in zip(past + future, lefts, strict=True):
            paste(page, enlarge(row.frames[index], tile), (left, y))
    return page


def enlarge(frames: Frames, size: int) -> Frames:
    """Resize frames `(..., H, W, 3)` to `size` pixels on the longer side, both sides even.

    Growing is bicubic, shrinking averages areas.
    """
    height, width = _fitted(frames, size)
    if (height, width) == frames.shape[-3:-1]:
        return frames
    method = cv2.INTER_CUBIC if height * width > math.prod(frames.shape[-3:-1]) else cv2.INTER_AREA
    flat = frames.reshape(-1, *frames.shape[-3:])
    resized = np.empty((len(flat), height, width, 3), np.uint8)
    for frame, target in zip(flat, resized, strict=True):
        cv2.resize(frame, (width, height), dst=target, interpolation=method)
    return resized.reshape(*frames.shape[:-3], height, width, 3)


def canvas(height: int, width: int) -> Frames:
    """Return an empty picture of at least this size, both sides even."""
    empty = np.empty((height + height % 2, width + width % 2, 3), np.uint8)
    empty[:] = BACKGROUND
    return empty


def paste(picture: Frames, content: Frames, at: tuple[int, int]) -> None:
    """Put `(..., h, w, 3)` into a picture `(..., H, W, 3)` with its corner at `at`, `(x, y)`."""
    (x, y), (height, width) = at, content.shape[-3:-1]
    picture[..., y : y + height, x : x + width, :] = content


def write(
    picture: Frames, text: str, at: tuple[int, int], colour: Colour, *, sizes: Layout
) -> None:
    """Write one line whose capitals start at `at`, `(x, y)`."""
    baseline = (at[0], at[1] + sizes.text * 4 // 5)
    cv2.putText(picture, text, baseline, colour, cv2.FontFace("sans"), sizes.text, 450)


def text_width(text: str, sizes: Layout) -> int:
    """Return the pixels that `write` needs for a line."""
    return cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("sans"), sizes.text, 450)[2] + 2


def heat_colours(count: int = 256) -> Frames:
    """Return `(count, 3)` colours of even steps, from black over red to pale yellow."""
    levels = np.linspace(0, 255, count).round().astype(np.uint8)[:, None]
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, 0, ::-1])


def moment(index: int, observed: int, rate: Fraction) -> str:
    """Return the time of a frame, counted from the last observed one or else from the first."""
    seconds = float((index - max(observed - 1, 0)) / rate)
    sign = "" if not seconds else "+" if seconds > 0 else "−"
    return f"{sign}{abs(seconds):.2f} s"


def thin(count: int, most: int) -> list[int]:
    """Choose at most `most` of `count` indices, evenly, the first and the last among them."""
    return [round(x) for x in np.linspace(0, count - 1, min(count, most)).tolist()]


def _fitted(frames: Film, size: int) -> tuple[int, int]:
    height, width = frames.shape[-3:-1]
    scale = size / max(height, width)
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def _shown(length: int, observed: int, columns: int) -> tuple[list[int], list[int]]:
    if columns < 3:
        raise ValueError(f"a sheet needs 3 columns or more, not {columns}")
    past = min(observed, _MOST_CONTEXT_COLUMNS, columns // 3)
    future = [observed + k for k in thin(length - observed, columns - past)]
    return list(range(observed - past, observed)), future


def _board(count: int, cell: int, sizes: Layout) -> tuple[list[tuple[int, int]], Frames]:
    """Return the corners of the tiles and an empty canvas with room for a timeline."""
    across, down = cell + sizes.pad, sizes.line + sizes.height + 2 * sizes.border + sizes.pad
    columns = min(range(1, count + 1), key=lambda n: _clumsiness(n, count, across / down))
    corners = [
        (
            sizes.pad + sizes.border + (k % columns) * across,
            sizes.pad + sizes.line + sizes.border + (k // columns) * down,
        )
        for k in range(count)
    ]
    lines = math.ceil(count / columns)
    return corners, canvas(sizes.pad + lines * down + sizes.line, columns * across + sizes.pad)


def _clumsiness(columns: int, count: int, aspect: float) -> float:
    """Rate an arrangement: how far from a pleasant shape, and how many holes it leaves."""
    lines = math.ceil(count / columns)
    holes = lines * columns - count
    shape = abs(math.log(columns * aspect / lines / _PLEASANT_ASPECT))
    return shape + (1.2 + 0.1 * holes if holes else 0)


def _captioned(
    base: Frames,
    captions: Iterable[tuple[str, Colour]],
    corners: Sequence[tuple[int, int]],
    *,
    sizes: Layout,
) -> Frames:
    """Return a copy of the canvas with a border and a caption for each tile."""
    picture, border = base.copy(), sizes.border
    for (caption, colour), (x, y) in zip(captions, corners, strict=True):
        write(picture, caption, (x - border, y - border - sizes.line), colour, sizes=sizes)
        bottom, right = y + sizes.height + border, x + sizes.width + border
        picture[y - border : bottom, x - border : right] = colour
    return picture


def _dimmed(colour: Colour) -> Colour:
    red, green, blue = ((3 * back + c) // 4 for back, c in zip(BACKGROUND, colour, strict=True))
    return red, green, blue


def _draw_seam(page: Frames, lefts: Sequence[int], count: int, *, sizes: Layout) -> None:
    """Head the observed and the predicted columns, and draw the line between them."""
    rule = sizes.pad + sizes.line
    for name, colour, span in (
        ("observed", OBSERVED, lefts[:count]),
        ("predicted", PREDICTED, lefts[count:]),
    ):
        write(page, name, (span[0], sizes.pad), colour, sizes=sizes)
        page[rule : rule + sizes.border, span[0] : span[-1] + sizes.width] = colour
    middle = (lefts[count - 1] + sizes.width + lefts[count]) // 2
    page[sizes.pad : -sizes.pad, middle : middle + 1] = MUTED


def _label(page: Frames, row: Row, y: int, *, sizes: Layout) -> None:
    """Write a row's label at its left, half way up, and the scale of the heat where it is due."""
    middle = y + sizes.height // 2 - sizes.text // 2
    if row.legend:
        middle -= sizes.line
        ramp = heat_colours(text_width(row.label, sizes))
        top = middle + sizes.line
        page[top : top + sizes.text // 2, sizes.pad : sizes.pad + len(ramp)] = ramp
        write(page, row.legend, (sizes.pad, top + sizes.text), MUTED, sizes=sizes)
    write(page, row.label, (sizes.pad, middle), row.colour, sizes=sizes)
