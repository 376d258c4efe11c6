"""Futures as one HTML page that needs no other file, no server and no network.

`page.html` beside this module is the page; this module fills in its data. Every clip is a JPEG of
all its frames, so all of them keep time with each other and any moment can be looked at.
"""

import base64
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import cv2
import numpy as np

from drsvg_cli.visualization.layout import Film, Frames, Row
from drsvg_cli.visualization.samples import Futures, future_rows, heat_row

MOST_TILES = 24
"""Samples on the page; a browser need not hold a thousand."""
_QUALITY = 90
_LARGEST_SIDE = 384
_LARGEST_STRIP = 2**24
"""Pixels of all frames of a clip: of long clips they are shown smaller."""
_MARK = "DATA"


class Listing(NamedTuple):
    """A table below the clips: rows of cells, the first of each its name."""

    title: str
    rows: Sequence[Sequence[str]]


def page(futures: Futures, *, title: str, subtitle: str, tables: Sequence[Listing]) -> str:
    """Return the page as HTML text.

    Args:
        futures: the clips to show; of many samples, the first ones.
        title: what is shown.
        subtitle: how it was made, in a line.
        tables: what else is known.
    """
    rows = future_rows(futures)[: MOST_TILES + (futures.truth is not None)]
    if len(futures.samples) > MOST_TILES:
        subtitle += f" · the first {MOST_TILES} samples"
    tiles = [_tile(row, "sample" if row.label.startswith("sample") else "truth") for row in rows]
    if len(futures.samples) > 1:
        heat = heat_row(futures)
        tiles.append(_tile(heat, "heat", note=heat.legend))
    height, width = _shrunk(rows[0].frames, 0).shape[:2]
    data = {
        "title": title,
        "subtitle": subtitle,
        "rate": float(futures.rate),
        "observed": len(futures.context),
        "frames": len(rows[0].frames),
        "width": width,
        "height": height,
        "tiles": tiles,
        "tables": [{"title": table.title, "rows": table.rows} for table in tables],
    }
    # A name of a file may hold what would end the script.
    text = json.dumps(data).replace("<", "\\u003c")
    before, after = (
        files("drsvg_cli.visualization").joinpath("page.html").read_text("utf-8").split(_MARK)
    )
    return before + text + after


def _tile(row: Row, kind: str, *, note: str = "") -> dict[str, str]:
    return {"label": row.label, "kind": kind, "note": note, "strip": _strip(row.frames)}


def _shrunk(film: Film, index: int) -> Frames:
    """Take a frame `(H, W, 3)` of a clip, shrunk if it is larger than the page shows it."""
    frame: Frames = film[index]
    height, width = frame.shape[:2]
    side = min(_LARGEST_SIDE, math.isqrt(_LARGEST_STRIP // len(film)))
    share = side / max(height, width)
    if share >= 1:
        return frame
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _strip(film: Film) -> str:
    """Lay the frames of a clip out in a square of pictures, as the address of a JPEG."""
    count = len(film)
    height, width = _shrunk(film, 0).shape[:2]
    columns = math.ceil(math.sqrt(count))
    picture = np.zeros((math.ceil(count / columns) * height, columns * width, 3), np.uint8)
    for index in range(count):
        top, left = index // columns * height, index % columns * width
        picture[top : top + height, left : left + width] = _shrunk(film, index)
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
