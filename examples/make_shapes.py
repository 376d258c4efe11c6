"""Render the two drawn sample clips, examples/ball.mp4 and examples/pendulum.mp4.

The clips share nothing: neither colours nor shapes nor motion. That makes them a pair for
`drsvg swap`, which joins the content of one with the motion of the other.
"""

from fractions import Fraction
from math import cos, pi, sin
from pathlib import Path

import av
import cv2
import numpy as np

SIZE = 192
FRAMES = 48
RATE = 12
FINE = 4  # rendered this many times finer, then averaged: smooth edges

Colour = tuple[int, int, int]


def backdrop(top: Colour, bottom: Colour, floor: Colour, *, horizon: float) -> np.ndarray:
    """Paint a vertical gradient above a floor, soft at the horizon."""
    height = np.linspace(0, 1, SIZE * FINE)[:, None, None]
    wall = np.array(top) * (1 - height) + np.array(bottom) * height
    ground = np.array(floor) * (1.15 - 0.35 * height)
    share = np.clip((height - horizon) * 40 + 0.5, 0, 1)
    rows = wall * (1 - share) + ground * share
    return np.broadcast_to(rows, (SIZE * FINE, SIZE * FINE, 3)).clip(0, 255).astype(np.uint8)


def shadow(picture: np.ndarray, centre: tuple[float, float], radius: float, depth: float) -> None:
    """Darken a soft ellipse on the floor; all lengths are shares of the picture's side."""
    rows, columns = np.mgrid[0 : 1 : SIZE * FINE * 1j, 0 : 1 : SIZE * FINE * 1j]
    distance = ((columns - centre[0]) / radius) ** 2 + ((rows - centre[1]) / (radius / 4)) ** 2
    picture[:] = picture * (1 - depth * np.exp(-distance))[..., None]


def disc(picture: np.ndarray, centre: tuple[float, float], radius: float, colour: Colour) -> None:
    """Draw a ball lit from the upper left."""
    side = SIZE * FINE
    for step in np.linspace(0, 1, 24):
        light = 0.72 + 0.5 * step
        shade = tuple(min(255, round(value * light)) for value in colour)
        shift = radius * 0.35 * step
        point = (round((centre[0] - shift) * side), round((centre[1] - shift) * side))
        cv2.circle(picture, point, round(radius * (1 - 0.85 * step) * side), shade, -1)


def ball(time: float) -> np.ndarray:
    """Draw an orange ball that bounces between two walls, `time` in seconds."""
    picture = backdrop((244, 232, 214), (250, 216, 186), (176, 132, 110), horizon=0.82).copy()
    radius = 0.11
    across = (0.31 * time) % 2
    x = radius + (1 - 2 * radius) * (across if across <= 1 else 2 - across)
    phase = (time / 0.95 + 0.5) % 1
    rise = 0.52 * 4 * phase * (1 - phase)
    ground = 0.9
    shadow(picture, (x, ground), radius * (1 + rise), 0.55 - 0.6 * rise)
    disc(picture, (x, ground - radius - rise), radius, (236, 112, 44))
    return picture


def pendulum(time: float) -> np.ndarray:
    """Draw a blue weight that swings on a rod, `time` in seconds."""
    picture = backdrop((26, 38, 62), (58, 84, 112), (40, 52, 70), horizon=0.9).copy()
    side = SIZE * FINE
    angle = 0.62 * cos(2 * pi * time / 2.4)
    pivot, length, half = (0.5, 0.1), 0.6, 0.1
    x, y = pivot[0] + length * sin(angle), pivot[1] + length * cos(angle)
    shadow(picture, (x, 0.94), half * 1.2, 0.5)
    start = (round(pivot[0] * side), round(pivot[1] * side))
    end = (round(x * side), round(y * side))
    cv2.line(picture, start, end, (206, 214, 224), round(0.016 * side))
    cv2.circle(picture, start, round(0.028 * side), (206, 214, 224), -1)
    box = cv2.boxPoints(((x * side, y * side), (2 * half * side, 2 * half * side), -angle * 57.3))
    cv2.fillConvexPoly(picture, np.rint(box).astype(np.int32), (52, 176, 190))
    inner = cv2.boxPoints(((x * side, y * side), (half * side, half * side), -angle * 57.3))
    cv2.fillConvexPoly(picture, np.rint(inner).astype(np.int32), (226, 240, 236))
    return picture


def write(path: Path, frames: list[np.ndarray]) -> None:
    """Encode 8-bit RGB frames as H.264, the same bytes on every run."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "20", "preset": "slow"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    folder = Path(__file__).parent
    for scene in (ball, pendulum):
        pictures = [scene(index / RATE) for index in range(FRAMES)]
        small = [cv2.resize(p, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for p in pictures]
        write(folder / f"{scene.__name__}.mp4", small)


if __name__ == "__main__":
    main()
