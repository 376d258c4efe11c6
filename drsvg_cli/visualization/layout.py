"""Lay labelled clips out side by side, as an animation or on one page, with their times.

Knows frames, labels and colours, and nothing of what the clips mean. Sizes are in pixels and
follow from the tile, the longer side of one enlarged frame.
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Film = Frames | Sequence[Frames]
"""Frames in order: an array `(T, H, W, 3)`, or T arrays `(H, W, 3)`."""
Colour = tuple[int, int, int]

BACKGROUND: Colour = (17, 20, 24)
TEXT: Colour = (222, 226, 232)
NEUTRAL: Colour = (176, 184, 196)
MUTED: Colour = (128, 137, 150)
OBSERVED: Colour = (52, 190, 178)
PREDICTED: Colour = (244, 172, 54)

_MOST_CONTEXT_COLUMNS = 4
_PLEASANT_ASPECT = 1.6


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
    """Return the sizes for frames `(T, H, W, 3)` whose longer side becomes `tile` pixels."""
    height, width = _fitted(frames[0].shape, tile)
    text = min(max(10, round(tile / 17)), 22)
    return Layout(height, width, text, text * 8 // 5, max(6, tile // 20), max(1, tile // 100))


def animate(rows: Sequence[Row], *, observed: int, tile: int, rate: Fraction) -> Iterator[Frames]:
    """Play clips of one length side by side, the time below: yield frames `(H', W', 3)`.

    Args:
        rows: the clips.
        observed: how many first frames were seen rather than predicted; they are marked so.
        tile: longer side of one clip.
        rate: frames per second.
    """
    sizes = layout(rows[0].frames, tile)
    seen = [("observed", OBSERVED)] * len(rows)
    played = [(row.label, row.colour) for row in rows]
    widest = max(text_width(label, sizes) for label, _ in seen + played)
    border, pad = sizes.border, sizes.pad
    across = max(sizes.width + 2 * border, widest) + pad
    down = sizes.line + sizes.height + 2 * border + pad
    columns = min(len(rows), round(math.sqrt(_PLEASANT_ASPECT * len(rows) * down / across)) or 1)
    foot = pad + math.ceil(len(rows) / columns) * down
    for index in range(len(rows[0].frames)):
        picture = canvas(foot + sizes.line + pad, columns * across + pad)
        for number, row in enumerate(rows):
            label, colour = (seen if index < observed else played)[number]
            x, y = pad + number % columns * across, pad + number // columns * down
            write(picture, label, (x, y), colour, sizes=sizes)
            y += sizes.line
            picture[y : y + sizes.height + 2 * border, x : x + sizes.width + 2 * border] = colour
            paste(picture, enlarge(row.frames[index], tile), (x + border, y + border))
        write(picture, moment(index, observed, rate), (pad, foot), colour, sizes=sizes)
        yield picture


def sheet(
    rows: Sequence[Row], *, shown: Sequence[int], observed: int, tile: int, rate: Fraction
) -> Frames:
    """Put frames of clips on one page, a row each, time from left to right: `(H', W', 3)`.

    Args:
        rows: the clips; of each only the frames to be shown.
        shown: which frames these are, as `choose` says.
        observed: how many first frames were seen rather than predicted; a line divides the two.
        tile: longer side of one frame.
        rate: frames per second.
    """
    sizes = layout(rows[0].frames, tile)
    past = sum(index < observed for index in shown)
    times = [moment(index, observed, rate) for index in shown]
    step = max(sizes.width, *(text_width(time, sizes) for time in times)) + sizes.pad // 2
    gutter = max(text_width(row.label, sizes) for row in rows) + 2 * sizes.pad
    seam = 2 * sizes.pad if past else 0
    lefts = [gutter + seam * (k >= past) + k * step for k in range(len(shown))]
    top = sizes.pad + sizes.line + (sizes.line + sizes.pad if past else 0)
    down = max(sizes.height, sizes.line) + sizes.pad // 2
    # A legend makes its label three lines high, more than a row of small frames.
    room = max(0, 3 * sizes.line - sizes.height) // 2
    height = top + len(rows) * down + sizes.pad // 2 + 2 * room * any(row.legend for row in rows)
    page = canvas(height, lefts[-1] + step + sizes.pad // 2)
    for time, left in zip(times, lefts, strict=True):
        write(page, time, (left, top - sizes.line), MUTED, sizes=sizes)
    if past:
        _draw_seam(page, lefts, past, sizes=sizes)
    for number, row in enumerate(rows):
        y = top + number * down + (room if row.legend else 0)
        _label(page, row, y, sizes=sizes)
        for frame, left in zip(row.frames, lefts, strict=True):
            paste(page, enlarge(frame, tile), (left, y))
    return page


def choose(length: int, observed: int, columns: int) -> list[int]:
    """Choose the frames of a clip that a sheet shows, `columns` at most.

    They are the last observed ones, at most four, and the others thinned evenly, their first and
    last frame among them.
    """
    past = min(observed, _MOST_CONTEXT_COLUMNS, columns // 3)
    future = [observed + k for k in thin(length - observed, columns - past)]
    return [*range(observed - past, observed), *future]


def enlarge(frames: Frames, size: int) -> Frames:
    """Resize frames `(..., H, W, 3)` to `size` pixels on the longer side, both sides even.

    Growing is bicubic, shrinking averages areas.
    """
    height, width = _fitted(frames.shape, size)
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
    """Put `(h, w, 3)` into a picture `(H, W, 3)` with its corner at `at`, `(x, y)`."""
    (x, y), (height, width) = at, content.shape[:2]
    picture[y : y + height, x : x + width] = content


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


def _fitted(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    height, width = shape[-3:-1]
    scale = size / max(height, width)
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


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
