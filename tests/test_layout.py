"""The parts that every picture is laid out with."""

from fractions import Fraction

import numpy as np
import pytest

from drsvg_cli.visualization import layout


@pytest.mark.parametrize(("count", "most"), [(1, 8), (8, 8), (9, 8), (100, 8), (30, 2)])
def test_thinning_keeps_the_first_and_the_last_and_the_order(count: int, most: int) -> None:
    kept = layout.thin(count, most)
    assert len(kept) == len(set(kept)) == min(count, most)
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert kept == sorted(kept)
    steps = np.diff(kept)
    assert not len(steps) or steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    ("index", "observed", "text"),
    [(0, 5, "−0.40 s"), (4, 5, "0.00 s"), (5, 5, "+0.10 s"), (0, 0, "0.00 s"), (3, 0, "+0.30 s")],
)
def test_time_counts_from_the_last_observed_frame(index: int, observed: int, text: str) -> None:
    assert layout.moment(index, observed, Fraction(10)) == text


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((64, 64), 256, (256, 256)), ((45, 80), 160, (90, 160)), ((64, 20), 33, (32, 10))],
)
def test_enlarging_keeps_the_aspect_and_makes_even_sides(
    shape: tuple[int, int], size: int, expected: tuple[int, int]
) -> None:
    frames = np.full((2, 3, *shape, 3), 77, np.uint8)
    enlarged = layout.enlarge(frames, size)
    assert enlarged.shape == (2, 3, *expected, 3)
    assert (enlarged == 77).all()


def test_a_frame_of_the_right_size_is_left_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    assert np.array_equal(layout.enlarge(frames, 48), frames)


def test_the_heat_runs_from_dark_to_bright() -> None:
    brightness = layout.heat_colours(64).astype(int) @ [3, 6, 1]
    assert (np.diff(brightness) >= 0).all()
    assert brightness[0] < 100 < 2000 < brightness[-1]
