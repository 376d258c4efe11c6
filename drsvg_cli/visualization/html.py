"""Videos that lie beside each other, as one HTML page that plays them together.

`page.html` beside this module is the page; this module puts style, player and data into it. The
page needs the videos in its folder, and no server, no network and nothing else.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

import numpy  # noqa: F401  (without it OpenCV prints advice on stdout)

# isort: split
import cv2

from drsvg_cli.visualization.layout import Frames

MOST_TILES = 24
"""Videos on the page; a browser need not play a hundred at once."""


class Tile(NamedTuple):
    """A video on the page."""

    label: str
    source: str
    """Its name in the folder of the page."""
    kind: str
    """`sample`, `truth` or `given`."""
    note: str = ""


class Listing(NamedTuple):
    """A table below the videos: rows of cells, the first of each its name."""

    title: str
    rows: Sequence[Sequence[str]]


class Picture(NamedTuple):
    """A small picture, and what it shows."""

    title: str
    pixels: Frames
    """uint8 RGB `(H, W, 3)`."""
    words: str
    wide: bool = False
    """Whether it takes the page's width."""


@dataclass(frozen=True)
class Page:
    """What a page shows."""

    title: str
    subtitle: str
    tiles: Sequence[Tile]
    rate: float
    """Frames a second of all videos."""
    observed: int
    """Frames of each that were observed; the others were predicted."""
    frames: int
    shape: tuple[int, int]
    """Height and width of the videos."""
    words: tuple[str, str] = ("observed", "predicted")
    """What frames up to `observed`, and those after it, are called."""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Listing] = ()

    def html(self) -> str:
        """Return the page as HTML text."""
        data = vars(self) | {"height": self.shape[0], "width": self.shape[1]}
        data["tiles"] = [tile._asdict() for tile in self.tiles[:MOST_TILES]]
        data["tables"] = [table._asdict() for table in self.tables]
        data["pictures"] = [
            {**each._asdict(), "pixels": None, "source": _address(each.pixels)}
            for each in self.pictures
        ]
        if (more := len(self.tiles) - MOST_TILES) > 0:
            data["subtitle"] += f" · {more} more in this folder"
        # A name of a file may hold what would end the script.
        text = json.dumps(data).replace("<", "\\u003c")
        filled = {"STYLE": part("page.css"), "PLAYER": part("player.html")}
        filled |= {"DATA": text, "SCRIPT": part("player.js")}
        return re.sub("STYLE|PLAYER|DATA|SCRIPT", lambda mark: filled[mark[0]], part("page.html"))


def part(name: str) -> str:
    """Return a part of the page: `page.css`, `player.html` or `player.js`."""
    return files("drsvg_cli.visualization").joinpath(name).read_text("utf-8")


def _address(picture: Frames) -> str:
    """Write a picture as an address that holds it."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
