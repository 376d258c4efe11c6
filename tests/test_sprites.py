"""Sprites: characters that are put together, what they do, and what is said of both."""

import hashlib
import shutil

import numpy as np
import pytest
import torch

from drsvg_cli.config import DataConfig, ModelConfig, Recipe
from drsvg_cli.data import sprites
from drsvg_cli.data.dataset import BenchmarkOptions, DataPaths, Progress
from drsvg_cli.data.registry import benchmark, training_data
from drsvg_cli.data.sprites import (
    ACTIONS,
    CYCLES,
    FIRST_CELLS,
    GARMENTS,
    MovingSprites,
    characters,
    read_sheets,
)
from drsvg_cli.errors import DataError

COLOUR = ModelConfig(channels=3)
SILENT = Progress(note=lambda _: None, update=lambda *_: None)
PARTS = ("training", "validation", "test")


@pytest.fixture(scope="module")
def layers(sheets):
    return read_sheets(sheets)


@pytest.fixture(scope="module")
def draw(layers):
    def shown(size=64, *, length=30, seed="0", model=COLOUR, which="training"):
        return MovingSprites(layers, which, model, length).draw(size, seed=seed)

    return shown


def cell_of(action, direction, phase):
    """Return the cell of a sheet, as the sheets' numbers go, that labels speak of."""
    possible = CYCLES if ACTIONS[action] == "stand" else [ACTIONS[action]]
    return {FIRST_CELLS[name][direction] + CYCLES[name][phase] for name in possible}


class TestSequences:
    def test_show_what_the_labels_say(self, draw):
        shown = draw()
        assert shown.frames.shape == (30, 64, 3, 64, 64) and shown.frames.dtype == torch.uint8
        cells = shown.frames[..., 0, 0, 0].flatten().tolist()
        labels = [shown.poses[name].flatten().tolist() for name in ("action", "direction", "phase")]
        for cell, *pose in zip(cells, *labels, strict=True):
            assert cell in cell_of(*pose)
        for place, garment in enumerate(GARMENTS):
            block = shown.frames[:, :, :, 8 + 10 * place : 18 + 10 * place, 16:48]
            red = 60 + 60 * shown.labels[garment]
            blue = 200 - 60 * shown.labels[garment]
            assert (block[:, :, 0] == red[:, None, None]).all()
            assert (block[:, :, 1] == 30 * place).all()
            assert (block[:, :, 2] == blue[:, None, None]).all()

    def test_are_black_where_nothing_is_drawn(self, draw):
        assert not draw(4).frames[..., 60:, :].any()

    def test_are_their_seed_and_begin_alike(self, draw):
        one, again = (draw(8, seed="7/3") for _ in range(2))
        short = draw(8, length=11, seed="7/3")
        other = draw(8, seed="7/4")
        assert torch.equal(one.frames, again.frames) and not torch.equal(one.frames, other.frames)
        assert torch.equal(one.frames[:11], short.frames)
        assert all(torch.equal(one.poses[name][:11], short.poses[name]) for name in one.poses)


def cells_and_changes(draw):
    shown = draw(150)
    phase = shown.poses["phase"]
    return shown, phase, (phase[1:] != (phase[:-1] + 1) % 8)


def test_gestures_change_at_random_moments(draw):
    shown, phase, restarted = cells_and_changes(draw)
    direction = shown.poses["direction"]
    turned = direction[1:] != direction[:-1]
    # Where a gesture goes on, so does its direction; another one begins at its beginning.
    assert (phase[1:][restarted] == 0).all() and (phase[1:][turned] == 0).all()
    assert 0.12 < restarted.float().mean() < 1 / 6
    # At any moment, and to all that there is.
    often = restarted.float().mean(1)
    assert often.min() > 0.05 and often.max() < 0.3
    assert {
        tuple(pose)
        for pose in torch.stack([direction, shown.poses["action"]], -1).view(-1, 2).tolist()
    } == {(way, action) for way in range(3) for action in range(4)}
    # Pose does not tell sequences apart: its share of directions is the same in all of them.
    assert (direction == 1).float().mean() == pytest.approx(1 / 3, abs=0.05)


def test_no_character_is_in_two_parts():
    counts = (7, 7, 6, 10, 3)
    sets = {which: {tuple(who) for who in characters(counts, which).tolist()} for which in PARTS}
    assert sum(map(len, sets.values())) == 7 * 7 * 6 * 10 * 3 == len(set.union(*sets.values()))
    assert len(sets["test"]) == 1764 and len(sets["training"]) > 6000
    for members in sets.values():
        for garment, count in enumerate(counts):
            assert {who[garment] for who in members} == set(range(count))
    # Embedded weights have been tested on these: no version may learn from them.
    digest = hashlib.sha256(characters(counts, "test").astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "cf9f90e977168a1b"


def test_a_benchmark_says_what_it_shows(sheets, tiny_config, tmp_path):
    recipe = Recipe("s", model=tiny_config(size=64), data=DataConfig(source="sprites"))
    place, options = DataPaths([sheets], tmp_path), BenchmarkOptions(2, horizon=6, count=9)
    found = benchmark(recipe, place, SILENT, options)
    poses = [found.poses[name].flatten().tolist() for name in ("action", "direction", "phase")]
    frames = np.stack(found.clips)
    cells = frames[:, :, 0, 0, 0].flatten().tolist()
    for cell, *pose in zip(cells, *poses, strict=True):
        assert cell in cell_of(*pose)
    for place, name in enumerate(found.labels):
        red = frames[:, :, 10 + 10 * place, 20, 0]
        assert (red == 60 + 60 * found.labels[name][:, None].numpy()).all()


def test_a_part_shows_its_own_characters(draw):
    for which in PARTS:
        own = {tuple(who) for who in characters((3,) * 5, which).tolist()}
        shown = draw(400, length=1, which=which)
        seen = {tuple(who) for who in torch.stack(list(shown.labels.values()), 1).tolist()}
        assert seen <= own and (len(seen) > 5)


def test_what_is_put_on_later_hides_what_is_below():
    sheet = np.zeros((2, sprites.ROWS * sprites.SIZE, sprites.COLUMNS * sprites.SIZE, 4), np.uint8)
    sheet[0] = (10, 20, 30, 255)  # blue first
    sheet[1, :, ::2] = (40, 50, 60, 200)
    sheet[1, :, 1::2] = (255, 255, 255, 100)
    below, above = (sprites._layer(each[None]) for each in sheet)
    who = dict(zip(GARMENTS, [below, above, *[_nothing()] * 3], strict=True))
    frames = MovingSprites(who, "training", COLOUR, 1).draw(1, seed="0").frames[0, 0]
    assert frames[:, 0, 0].tolist() == [60, 50, 40] and frames[:, 0, 1].tolist() == [30, 20, 10]


def _nothing():
    return sprites._layer(np.zeros((1, 21 * 64, 13 * 64, 4), np.uint8))


def test_other_models_see_the_same_sequences(draw):
    small = draw(3, model=ModelConfig(channels=1, size=32))
    assert small.frames.shape == (30, 3, 1, 32, 32)
    colour = draw(3).frames.float()
    luma = (colour * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(2)
    mean = luma.unflatten(-1, (32, 2)).unflatten(-3, (32, 2)).mean((-1, -3))
    assert (small.frames[:, :, 0] - mean).abs().max() <= 2
    assert draw(2, length=2, model=ModelConfig(size=128)).frames.shape == (2, 2, 3, 128, 128)


class TestSheets:
    @pytest.fixture
    def folder(self, sheets, tmp_path):
        return shutil.copytree(sheets, tmp_path / "sheets")

    def test_a_missing_garment(self, folder):
        shutil.rmtree(folder / "hair")
        with pytest.raises(DataError, match=r"hair/0\.png.*drsvg data sprites"):
            read_sheets(folder)

    def test_too_few_for_a_part_of_the_work(self, folder, tiny_config):
        for garment in GARMENTS:
            for number in (1, 2) if garment != "hair" else (2,):
                (folder / garment / f"{number}.png").unlink()
        place = DataPaths([folder], folder)
        recipe = Recipe("few", model=tiny_config(), data=DataConfig(source="sprites"))
        # Of two characters one is learned from, and one is for the test; nobody is to validate on.
        with pytest.raises(DataError, match=r"make 2 characters, and none .* validation part; add"):
            training_data(recipe, place, SILENT)
        (folder / "hair" / "1.png").unlink()
        with pytest.raises(DataError, match=r"make 1 characters, and none .* test part; add"):
            benchmark(recipe, place, SILENT, BenchmarkOptions(2, horizon=2, count=2))

    def test_twenty_characters_are_enough(self):
        for count in range(20, 500):
            assert all(len(characters((count,), which)) for which in PARTS)

    def test_a_damaged_sheet(self, folder):
        path = folder / "hair" / "1.png"
        for data in (b"", b"nonsense", path.read_bytes()[:200]):
            path.write_bytes(data)
            with pytest.raises(DataError, match=r"hair/1\.png is damaged"):
                read_sheets(folder)

    def test_one_that_hides_another_garment_is_left_out(self, folder):
        (folder / "topwear" / "2.png").rename(folder / "topwear" / "6.png")
        assert len(read_sheets(folder)["topwear"].colours) == 2

    def test_are_ordered_by_their_numbers(self, folder):
        (folder / "hair" / "2.png").rename(folder / "hair" / "10.png")
        (folder / "hair" / "0.png").rename(folder / "hair" / "9.png")
        colours = read_sheets(folder)["hair"].colours[:, 0, 0, 45, 20].tolist()
        assert colours == [120, 60, 180]
