"""Curves: a value stands where it should, with its interval and the line where training stopped."""

import math

import numpy as np

from drsvg_cli.visualization.charts import SEPARATOR, Curve, Panel, chart

RED, BLUE = (250, 30, 40), (40, 60, 250)


def rows_of(picture, colour, column):
    """Return the rows in which a column has a colour."""
    return np.flatnonzero((picture[:, column] == colour).all(-1))


def draw(*curves, separators=()):
    return chart([Panel("PSNR (dB)", curves)], along="frame", separators=separators)


def test_higher_values_stand_higher_and_equal_ones_level():
    picture = draw(Curve("a", RED, [10.0] * 5, [0.0] * 5), Curve("b", BLUE, [5.0] * 5, [0.0] * 5))
    middle = picture.shape[1] // 2
    red, blue = (rows_of(picture[:345], colour, middle) for colour in (RED, BLUE))
    assert len(red) and len(blue) and red.max() < blue.min()
    for column in (middle - 50, middle + 50):
        assert rows_of(picture[:345], RED, column).tolist() == red.tolist()


def test_an_interval_is_shaded_to_both_sides():
    bare = draw(Curve("a", RED, [5.0] * 9, [0.0] * 9), Curve("b", BLUE, [0.0, 10.0] * 4, [0.0] * 8))
    wide = draw(Curve("a", RED, [5.0] * 9, [2.0] * 9), Curve("b", BLUE, [0.0, 10.0] * 4, [0.0] * 8))
    changed = np.flatnonzero((bare[:345] != wide[:345]).any(-1)[:, 200])
    line = rows_of(bare[:345], RED, 200)
    assert changed.min() < line.min() - 40 and changed.max() > line.max() + 40
    assert abs((changed.min() + changed.max()) - (line.min() + line.max())) <= 3


def test_the_separator_stands_between_two_frames():
    values = [0.0] * 9 + [1.0] * 11
    picture = draw(Curve("a", RED, values, [0.0] * 20), separators=(9,))
    green = np.flatnonzero((picture[:300] == SEPARATOR).all(-1).any(0))
    rise = [c for c in range(picture.shape[1]) if len(rows_of(picture[:345], RED, c)) > 12]
    assert len(green) == 2
    assert min(rise) - 2 <= green.min() and green.max() <= max(rise) + 2


def test_odd_numbers_are_drawn_too():
    for values in ([0.0], [1e-9, 1e-9], [-3.0, 4000.0], [0.1234] * 3):
        picture = draw(Curve("a", RED, values, [math.nan] * len(values)))
        assert (picture == RED).all(-1).any()
        assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    one, three = (
        chart([Panel("p", [Curve("a", RED, [1.0], [0.0])])] * n, along="x", separators=())
        for n in (1, 3)
    )
    assert three.shape[1] > 2 * one.shape[1] and three.shape[0] == one.shape[0]
