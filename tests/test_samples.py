"""What the pictures show: the right pixels in the right place, and where futures disagree."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from drsvg_cli.visualization import layout
from drsvg_cli.visualization import samples as pictures
from drsvg_cli.visualization.samples import Futures

Frames = NDArray[np.uint8]
Found = list[tuple[int, int]]

RATE = Fraction(10)
TILE = 32


def noise(*shape: int, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def futures(
    samples: int = 3, *, context: int = 5, horizon: int = 6, truth: bool = True, height: int = 24
) -> Futures:
    """Return clips of noise that fit a tile of 32 pixels as they are, so that pixels compare."""
    return Futures(
        noise(context, height, TILE),
        noise(samples, horizon, height, TILE, seed=1),
        truth=noise(horizon, height, TILE, seed=2) if truth else None,
        rate=RATE,
    )


def animated(movie: Iterator[Frames]) -> Frames:
    return np.stack(list(movie))


def find(picture: Frames, frame: Frames) -> Found:
    """Return where `(x, y)` a picture shows a frame, pixel for pixel, in reading order."""
    height, width = frame.shape[:2]
    corners = np.argwhere((picture == frame[0, 0]).all(axis=-1))
    return [
        (int(x), int(y))
        for y, x in corners
        if np.array_equal(picture[y : y + height, x : x + width], frame)
    ]


def only(found: Found) -> tuple[int, int]:
    assert len(found) == 1, found
    return found[0]


def has(picture: Frames, colour: layout.Colour) -> bool:
    return bool((picture == colour).all(axis=-1).any())


@pytest.mark.parametrize("samples", [1, 2, 5, 20])
@pytest.mark.parametrize("truth", [False, True])
@pytest.mark.parametrize("height", [8, 24, 32])
def test_every_picture_has_even_sides(samples: int, truth: bool, height: int) -> None:
    clips = futures(samples, truth=truth, height=height)
    movie = animated(pictures.grid(clips, tile=TILE))
    assert movie.shape[0] == 11
    for picture in (
        movie[0],
        pictures.contact_sheet(clips, tile=TILE),
    ):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3 and picture.shape[2] == 3
        assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0


def test_the_grid_shows_the_context_in_every_tile() -> None:
    clips = futures(3)
    movie = animated(pictures.grid(clips, tile=TILE))
    for shown, frame in zip(movie, clips.context, strict=False):
        assert len(find(shown, frame)) == 4
        assert has(shown, layout.OBSERVED)


def test_the_grid_shows_the_truth_first_and_then_each_sample() -> None:
    clips = futures(3)
    assert clips.truth is not None
    movie = animated(pictures.grid(clips, tile=TILE))
    tiles = find(movie[0], clips.context[0])
    for index in range(6):
        shown = movie[5 + index]
        assert only(find(shown, clips.truth[index])) == tiles[0]
        assert [only(find(shown, sample[index])) for sample in clips.samples] == tiles[1:]


def test_the_grid_marks_what_is_observed_predicted_and_true() -> None:
    clips = futures(2)
    movie = animated(pictures.grid(clips, tile=TILE))
    truth, sample, _ = find(movie[0], clips.context[0])

    def border(index: int, tile: tuple[int, int]) -> tuple[int, ...]:
        return tuple(movie[index, tile[1], tile[0] - 1].tolist())

    assert border(4, truth) == border(4, sample) == layout.OBSERVED
    assert border(5, truth) == pictures.TRUTH
    assert border(5, sample) == layout.PREDICTED


def test_a_grid_of_many_is_neither_a_line_nor_a_tower() -> None:
    movie = animated(pictures.grid(futures(20, truth=False), tile=TILE))
    assert 0.5 < movie.shape[2] / movie.shape[1] < 3


def test_of_very_many_the_first_are_shown() -> None:
    many, most = futures(103, horizon=1, height=16), pictures.MOST_SHOWN
    fewer = Futures(many.context, many.samples[:most], rate=RATE, truth=many.truth)
    shown, expected = (animated(pictures.grid(clips, tile=16)) for clips in (many, fewer))
    assert np.array_equal(shown, expected)


def test_the_contact_sheet_has_a_row_a_sample_and_time_to_the_right() -> None:
    clips = futures(3)
    assert clips.truth is not None
    sheet = pictures.contact_sheet(clips, tile=TILE)
    rows = [y for _, y in find(sheet, clips.context[-1])]
    assert rows == sorted(set(rows)) and len(rows) == 4
    for row, clip in zip(rows, [clips.truth, *clips.samples], strict=True):
        places = [only(find(sheet, frame)) for frame in clip]
        assert {y for _, y in places} == {row}
        columns = [x for x, _ in places]
        assert columns == sorted(columns)
        assert columns[0] > find(sheet, clips.context[-1])[0][0]


def test_the_contact_sheet_keeps_the_last_of_the_context() -> None:
    clips = futures(1, truth=False)
    sheet = pictures.contact_sheet(clips, tile=TILE)
    assert [len(find(sheet, frame)) for frame in clips.context] == [0, 1, 1, 1, 1]


def test_the_contact_sheet_thins_a_long_horizon() -> None:
    clips = futures(1, horizon=40, truth=False)
    sheet = pictures.contact_sheet(clips, tile=TILE)
    shown = [bool(find(sheet, frame)) for frame in clips.samples[0]]
    assert shown[0] and shown[-1]
    past = sum(bool(find(sheet, frame)) for frame in clips.context)
    assert past >= 1 and past + sum(shown) == pictures.COLUMNS


def test_two_samples_or_more_add_a_row_of_heat() -> None:
    heights = [
        pictures.contact_sheet(futures(n, truth=False), tile=TILE).shape[0] for n in (1, 2, 3)
    ]
    assert heights[1] - heights[0] > heights[2] - heights[1] >= 24


def test_the_row_of_heat_shows_the_mean_under_the_disagreement() -> None:
    clips = futures(4)
    mean = clips.samples.mean(axis=0).astype(np.uint8)
    spread = clips.samples.astype(float).std(axis=0).max(axis=-1).astype(np.float32)
    heat = [pictures.heat_overlay(*each) for each in zip(mean, spread, strict=True)]
    sheet = pictures.contact_sheet(clips, tile=TILE)
    below = max(y for _, y in find(sheet, clips.context[-1]))
    assert all(only(find(sheet, frame))[1] > below for frame in heat)


def test_disagreement_is_the_deviation_of_the_channel_that_varies_most() -> None:
    samples = noise(7, 2, 4, 5)
    expected = samples.astype(float).std(axis=0).max(axis=-1).mean(axis=0)
    assert np.allclose(pictures.mean_disagreement(samples), expected, atol=1e-3)


def test_one_sample_agrees_with_itself() -> None:
    assert not pictures.mean_disagreement(noise(1, 3, 4, 5)).any()


def test_heat_is_dark_where_the_samples_agree_and_saturates_at_the_scale() -> None:
    frame = np.full((1, 3, 3), 255, np.uint8)
    spread = np.array([[0, pictures.HEAT_SCALE, 127.5]], np.float32)
    agreed, most, beyond = pictures.heat_overlay(frame, spread)[0].astype(int)
    assert agreed.max() <= 110 and np.ptp(agreed) <= 5
    assert np.array_equal(most, beyond)
    assert np.array_equal(most, layout.heat_colours()[-1])


def test_the_mean_disagreement_is_high_where_the_samples_part() -> None:
    samples = np.full((4, 3, TILE, TILE, 3), 60, np.uint8)
    samples[::2, :, 8:16, 8:16] = 200
    spread = pictures.mean_disagreement(samples)
    assert (spread[8:16, 8:16] == 70).all() and spread.sum() == 70 * 64
    assert not pictures.mean_disagreement(samples[::2]).any()


def test_a_strip_shows_each_clip_in_its_row() -> None:
    rows = [(f"clip {k}", noise(20, 24, TILE, seed=k)) for k in range(3)]
    page = pictures.strip(rows, tile=TILE, rate=RATE, columns=7)
    places = [[place for frame in frames for place in find(page, frame)] for _, frames in rows]
    assert [len(row) for row in places] == [7, 7, 7]
    assert all(len({y for _, y in row}) == 1 for row in places)
    assert [[x for x, _ in row] for row in places] == [[x for x, _ in places[0]]] * 3
    assert find(page, rows[0][1][0]) and find(page, rows[0][1][-1])


def test_the_same_futures_give_the_same_pixels() -> None:
    clips = futures(3)
    assert np.array_equal(*(animated(pictures.grid(clips, tile=64)) for _ in range(2)))
    assert np.array_equal(*(pictures.contact_sheet(clips, tile=64) for _ in range(2)))
