"""What a few clips lack: pieces of other pictures that move across, pictures that bend.

What moves, and where to, is known to the last pixel, edges are sharp, and what was hidden comes
into view; real clips alone show too little of that.
"""

import math
import random
from typing import NamedTuple

import cv2
import numpy as np

from drsvg_cli.config import Augmentation
from drsvg_cli.frames import Frames, resize

FASTEST = 3.5
"""Pixels a frame at 64 x 64."""


class Strength(NamedTuple):
    """How much training sequences are changed: shares of all sequences, 0 to 1."""

    speed: tuple[float, float]
    """Between which factors they are sped up."""
    reversed: float
    camera: float
    """That are seen by a camera that moves."""
    still: float
    """That are made of one frame, which moves by what is done to it alone."""
    bent: float
    pasted: float
    """Across which a piece of another clip moves, and of these that have one more, up to three."""
    tint: float
    """Strength of changes of colour and exposure."""


STRENGTHS: dict[Augmentation, Strength] = {
    "none": Strength((1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "full": Strength((0.5, 2.0), 0.3, 0.5, 0.35, 0.25, 0.5, 0.5),
}


def paste(sequence: Frames, picture: Frames, chance: random.Random) -> Frames:
    """Move a round piece of `picture` `(H, W, 3)` across a sequence `(T, S, S, 3)`."""
    size = sequence.shape[1]
    piece = np.dstack([_texture(picture, size, chance), _outline(size, chance)])
    scale, growth = chance.uniform(0.25, 0.9), chance.uniform(-0.02, 0.02)
    angle, turn = chance.uniform(0, 360), chance.choice([0, chance.gauss(0, 4)])
    path = _path(len(sequence), size, chance)
    pasted = np.empty_like(sequence)
    for time, (x, y) in enumerate(path):
        move = cv2.getRotationMatrix2D(
            (size / 2, size / 2), angle + turn * time, scale * (1 + growth * time)
        )
        move[:, 2] += x - size / 2, y - size / 2
        moved = cv2.warpAffine(piece, move, (size, size), flags=cv2.INTER_LINEAR)
        share = moved[..., 3:].astype(np.float32) / 255
        blend = share * moved[..., :3] + (1 - share) * sequence[time]
        pasted[time] = blend.round().astype(np.uint8)
    return pasted


def bend(sequence: Frames, chance: random.Random) -> Frames:
    """Deform a sequence `(T, S, S, 3)` smoothly, to and fro or ever further."""
    length, size = sequence.shape[:2]
    field = _smooth_field(size, chance, (0.5, 4))
    period, phase = chance.uniform(8, 40), chance.uniform(0, 2 * math.pi)
    shares = np.sin(2 * math.pi * np.arange(length) / period + phase).astype(np.float32)
    return np.stack(
        [
            _fetch(frame, _places(size) + share * field, cv2.BORDER_REFLECT)
            for frame, share in zip(sequence, shares, strict=True)
        ]
    )


def _places(size: int) -> np.ndarray:
    """Return where every pixel is, (x, y): `(S, S, 2)`."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def _smooth_field(size: int, chance: random.Random, deviations: tuple[float, float]) -> np.ndarray:
    """Draw a smooth field of shifts `(S, S, 2)` of some deviation, in pixels at 64 x 64."""
    side = chance.randint(3, 6)
    knots = [chance.gauss(0, 1) for _ in range(2 * side * side)]
    field = np.array(knots, np.float32).reshape(side, side, 2)
    field *= chance.uniform(*deviations) * size / 64
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)


def _fetch(frame: Frames, points: np.ndarray, border: int) -> Frames:
    """Fetch every pixel of a frame from the place `(S, S, 2)`, (x, y), that is named for it."""
    x, y = (np.ascontiguousarray(points[..., axis]) for axis in range(2))
    fetched = cv2.remap(np.ascontiguousarray(frame), x, y, cv2.INTER_LINEAR, borderMode=border)
    return fetched.astype(np.uint8, copy=False)


def _texture(picture: Frames, size: int, chance: random.Random) -> Frames:
    height, width = picture.shape[:2]
    side = round(chance.uniform(0.3, 0.9) * min(height, width))
    top, left = chance.randint(0, height - side), chance.randint(0, width - side)
    return resize(picture[top : top + side, left : left + side], width=size, height=size)


def _outline(size: int, chance: random.Random) -> Frames:
    """Draw up to three overlapping ellipses, opaque inside, `(S, S)`."""
    outline = np.zeros((size, size), np.uint8)
    for _ in range(chance.randint(1, 3)):
        center = [round(size * chance.uniform(0.4, 0.6)) for _ in range(2)]
        axes = [round(size * chance.uniform(0.12, 0.36)) for _ in range(2)]
        cv2.ellipse(outline, center, axes, chance.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    return outline


def _path(length: int, size: int, chance: random.Random) -> np.ndarray:
    """Choose centres `(T, 2)`: straight on with or without gathering speed, or to and fro."""
    time = np.arange(length)[:, None]
    heading = chance.uniform(0, 2 * math.pi)
    direction = np.array([math.cos(heading), math.sin(heading)])
    speed = FASTEST * size / 64 * chance.random()
    middle = np.array([chance.uniform(0.1, 0.9) * size for _ in range(2)])
    if chance.random() < 0.3:
        period, phase = chance.uniform(6, 24), chance.uniform(0, 2 * math.pi)
        reach = speed * period / (2 * math.pi)
        return middle + direction * reach * np.sin(2 * math.pi * time / period + phase)
    gain = chance.choice([0, chance.uniform(-0.05, 0.05)])
    travelled = speed * (time - length / 2) * (1 + gain * time)
    return middle + direction * travelled
