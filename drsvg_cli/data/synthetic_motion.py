"""Motion made from stills and cut-outs: its path is smooth, and it may begin or stop at any time.

Both kinds show what few clips show often: a camera that pans, zooms or turns, and things that move
across in front of others, deform, and uncover what was hidden.
"""

import math
import random

import cv2
import numpy as np
from numpy.typing import NDArray

from drsvg_cli.frames import Frames, resize

Points = NDArray[np.float32]
MAX_SPEED = 0.05
"""Sides of the frame that something may move by from one frame to the next."""
VIEW = 0.75, 1.2
"""Sides of the camera's view, in pixels of the still to one pixel of the result."""


def move_camera(still: Frames, length: int, size: int, rng: random.Random) -> Frames:
    """Film a still `(H, W, 3)` with a camera that pans, zooms and turns: `(T, S, S, 3)`."""
    height, width = still.shape[:2]
    views = []
    for _ in range(2):
        side = min(rng.uniform(*VIEW) * size, height, width)
        x, y = (rng.uniform(side / 2, extent - side / 2) for extent in (width, height))
        views.append(np.array([x, y, math.log(side), rng.gauss(0, 0.06)]))
    first, last = views
    travel = float(np.hypot(*(last - first)[:2])) / (MAX_SPEED * size * (length - 1))
    last = first + (last - first) * rng.random() / max(1, travel)
    grid = _grid(size) - (size - 1) / 2
    frames = []
    for share in _progress(length, rng):
        x, y, log_side, angle = first + share * (last - first)
        points = grid @ _rotation(angle, math.exp(log_side) / size).T + (x - 0.5, y - 0.5)
        frames.append(_remap(still, points, cv2.BORDER_REFLECT_101))
    return np.stack(frames)


def paste_cutout(sequence: Frames, picture: Frames, rng: random.Random) -> Frames:
    """Move a round piece of a picture `(H, W, 3)` across a sequence `(T, S, S, 3)`.

    It turns, grows or shrinks, and deforms to and fro.
    """
    length, size = sequence.shape[:2]
    piece = np.dstack([_texture(picture, size, rng), _outline(size, rng)])
    scale, growth = rng.uniform(0.3, 0.9), rng.gauss(0, 0.1)
    angle, turn = rng.uniform(0, 2 * math.pi), rng.choice([0.0, rng.gauss(0, 0.5)])
    start = np.array([rng.uniform(0.1, 0.9) * size for _ in range(2)])
    heading, way = rng.uniform(0, 2 * math.pi), rng.random() * MAX_SPEED * size * (length - 1)
    travel = way * np.array([math.cos(heading), math.sin(heading)])
    field = _smooth_field(size, rng) * rng.choice([0.0, 0.04 * size * rng.random()])
    period, phase = rng.uniform(8, 40), rng.uniform(0, 2 * math.pi)
    middle, grid = (size - 1) / 2, _grid(size)
    frames = []
    for time, share in enumerate(_progress(length, rng)):
        turned = _rotation(angle + share * turn, 1 / (scale * math.exp(share * growth)))
        points = (grid - start - share * travel) @ turned.T + middle
        points += math.sin(2 * math.pi * time / period + phase) * field
        moved = _remap(piece, points, cv2.BORDER_CONSTANT).astype(np.float32)
        alpha = moved[..., 3:] / 255
        frames.append((alpha * moved[..., :3] + (1 - alpha) * sequence[time]).round())
    return np.stack(frames).astype(np.uint8)


def _progress(length: int, rng: random.Random) -> NDArray[np.float64]:
    """Draw which share of its way something has gone in every frame: steadily, or with easing.

    It may stand still at first, and stop before the end.
    """
    begin = rng.choice([0.0, 0.0, rng.uniform(0, 0.7)])
    end = rng.choice([1.0, 1.0, rng.uniform(begin + 0.2, 1)])
    time = ((np.linspace(0, 1, length) - begin) / (end - begin)).clip(0, 1)
    eased = rng.choice([time, time, time * time * (3 - 2 * time), time * (2 - time)])
    return eased * (end - begin)


def _rotation(angle: float, scale: float) -> NDArray[np.float64]:
    sine, cosine = scale * math.sin(angle), scale * math.cos(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _grid(size: int) -> Points:
    """Return the place of every pixel, (x, y): `(S, S, 2)`."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def _remap(picture: Frames, points: NDArray[np.floating], border: int) -> Frames:
    """Fetch every pixel of the result from its point `(S, S, 2)`, (x, y), of a picture."""
    x, y = (np.ascontiguousarray(points[..., axis], np.float32) for axis in range(2))
    fetched = cv2.remap(np.ascontiguousarray(picture), x, y, cv2.INTER_LINEAR, borderMode=border)
    return fetched.astype(np.uint8, copy=False)


def _smooth_field(size: int, rng: random.Random) -> Points:
    """Draw a smooth field of shifts `(S, S, 2)` with a deviation of about one."""
    side = rng.randint(3, 6)
    knots = np.array([rng.gauss(0, 1) for _ in range(2 * side * side)], np.float32)
    field = cv2.resize(knots.reshape(side, side, 2), (size, size), interpolation=cv2.INTER_CUBIC)
    return field.astype(np.float32, copy=False)


def _texture(picture: Frames, size: int, rng: random.Random) -> Frames:
    """Cut a random square from a picture and resize it."""
    height, width = picture.shape[:2]
    side = round(rng.uniform(0.3, 0.9) * min(height, width))
    top, left = rng.randint(0, height - side), rng.randint(0, width - side)
    return resize(picture[top : top + side, left : left + side], width=size, height=size)


def _outline(size: int, rng: random.Random) -> Frames:
    """Draw up to three overlapping ellipses, opaque inside, `(S, S)`."""
    outline = np.zeros((size, size), np.uint8)
    for _ in range(rng.randint(1, 3)):
        center = [round(size * rng.uniform(0.4, 0.6)) for _ in range(2)]
        axes = [round(size * rng.uniform(0.12, 0.36)) for _ in range(2)]
        cv2.ellipse(outline, center, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    return outline
