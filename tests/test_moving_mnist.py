"""Moving MNIST: the digits that are read, and how they move."""

import gzip
import hashlib

import numpy as np
import pytest
import torch

from drsvg_cli.config import ModelConfig
from drsvg_cli.data import moving_mnist
from drsvg_cli.data.moving_mnist import PAIRS, Digits, MovingDigits, part, read_digits
from drsvg_cli.errors import DataError

GRAY = ModelConfig(channels=1)
WALLS = ["stochastic", "deterministic"]


def blocks(count=20):
    """Digits whose corners show where they are: 28×28 pixels of one brightness, none at 0."""
    labels = np.arange(count, dtype=np.uint8) % 10
    images = np.repeat(100 + labels, 28 * 28).reshape(count, 28, 28)
    return Digits(images.astype(np.uint8), labels)


def draw(walls, *, size=64, length=40, seed="0", digits=None, model=GRAY):
    drawn = MovingDigits(digits or blocks(), model, length, walls).draw(size, seed=seed)
    return drawn.frames, drawn.labels["digits"]


def paths(walls, *, size=50, length=40):
    """Return the top left corners of a single digit, found in the frames: `(T, B, 2 axes)`."""
    images = np.zeros((2, 28, 28), np.uint8)
    images[0] = 200  # only the first digit can be seen
    digits = Digits(images, np.array([0, 1], np.uint8))
    frames, pairs = draw(walls, size=4 * size, length=length, digits=digits)
    frames = frames[:, pairs == PAIRS.index((0, 1)), 0].numpy() > 0
    top, left = frames.any(-1).argmax(-1), frames.any(-2).argmax(-1)
    return np.stack([top, left], axis=-1).astype(int)[:, :size]


@pytest.mark.parametrize("walls", WALLS)
class TestMotion:
    def test_no_digit_leaves_the_frame(self, walls):
        side = {"stochastic": 32, "deterministic": 28}[walls]
        path = paths(walls)
        assert path.min() == 0 and path.max() <= 64 - side
        frames, _ = draw(walls)
        # Both are whole in every frame, unless they overlap.
        covered = (frames > 0).sum((-1, -2, -3))
        assert side**2 <= covered.min() and covered.max() > 1.9 * side**2

    def test_a_batch_is_its_seed(self, walls):
        one, shown = draw(walls, seed="7/3")
        again, _ = draw(walls, seed="7/3")
        other, _ = draw(walls, seed="7/4")
        assert torch.equal(one, again) and not torch.equal(one, other)
        assert one.dtype == torch.uint8 and one.shape == (40, 64, 1, 64, 64)
        assert shown.shape == (64,)

    def test_a_longer_sequence_begins_with_the_shorter(self, walls):
        short, long = (draw(walls, length=length)[0] for length in (15, 25))
        assert torch.equal(short, long[:15])

    def test_says_what_it_shows(self, walls):
        frames, pairs = draw(walls, size=100, length=1)
        for frame, pair in zip(frames[0, :, 0], pairs.tolist(), strict=True):
            seen = {int(level) for level in frame.unique() if 100 <= level < 110}
            assert seen <= {100 + digit for digit in PAIRS[pair]}

    def test_the_numbers_never_change(self, walls):
        """A test set that changes with a library's version compares nothing."""
        expected = {"stochastic": "0604e01f08512949", "deterministic": "b7c2696ea1bc00da"}[walls]
        path = paths(walls, length=30).astype("<i4")
        assert hashlib.sha256(path.tobytes()).hexdigest()[:16] == expected


def test_deterministic_walls_reflect():
    path = paths("deterministic", length=60)
    step = np.diff(path, axis=0)
    at_wall = (path == 0) | (path == 36)
    inside = ~(at_wall[:-1] | at_wall[1:])
    speed = np.abs(step)
    # A straight line is one or two neighbouring whole numbers a frame; no axis is faster than STEP.
    assert speed.max() <= 4
    for sequence in range(path.shape[1]):
        for axis in (0, 1):
            steps = speed[inside[:, sequence, axis], sequence, axis]
            assert not len(steps) or steps.max() - steps.min() <= 1
    turned = np.sign(step[1:]) * np.sign(step[:-1]) < 0
    assert turned.any()
    assert not (turned & ~(at_wall[:-2] | at_wall[1:-1] | at_wall[2:])).any(), "only at walls"


def test_stochastic_walls_draw_a_new_speed_for_both_axes():
    path = paths("stochastic", size=100, length=60)
    step = np.diff(path, axis=0)
    assert np.abs(step).max() <= 4
    at_wall = ((path == 0) | (path == 31)).any(-1)
    inside = ~(at_wall[:-2] | at_wall[1:-1] | at_wall[2:])
    assert (step[1:][inside] == step[:-1][inside]).all(), "straight on, away from the walls"
    hit = (path[1:-1, :, 0] == 31) & (step[:-1, :, 0] > 0) & (path[1:-1, :, 1] % 31 > 4)
    hit &= path[1:-1, :, 1] % 31 < 27
    ahead, across = step[1:][hit].T
    assert set(across) == set(range(-4, 5)), "any speed along the wall, at each bounce"
    assert set(ahead) - {0} == {-4, -3, -2, -1}, "and away from it; a hit shows a frame late"


def test_overlaps():
    """Added up in SVG's code, the brighter one in Srivastava's."""
    images = np.full((1, 28, 28), 200, np.uint8)
    digits = Digits(images, np.zeros(1, np.uint8))
    added, _ = draw("stochastic", digits=digits)
    assert {0, 200, 255} == set(added.unique().tolist())
    brighter, _ = draw("deterministic", digits=digits)
    assert {0, 200} == set(brighter.unique().tolist())


def test_other_models_see_the_same_sequences():
    small, _ = draw("stochastic", size=3, length=4, model=ModelConfig(channels=3, size=32))
    whole, _ = draw("stochastic", size=3, length=4)
    assert small.shape == (4, 3, 3, 32, 32)
    blurred = whole.float().unflatten(-1, (32, 2)).mean(-1).unflatten(-2, (32, 2)).mean(-2)
    assert (small - blurred).abs().max() <= 0.5
    large, _ = draw("stochastic", size=3, length=4, model=ModelConfig(channels=1, size=128))
    assert large.shape == (4, 3, 1, 128, 128)


class TestFiles:
    @pytest.fixture(params=["packed", "plain", "dots"])
    def folder(self, request, write_mnist, tmp_path):
        folder = write_mnist(tmp_path / "mnist", packed=request.param != "plain")
        if request.param == "dots":
            for path in folder.iterdir():
                path.rename(path.with_name(path.name.replace("-idx", ".idx")))
        return folder

    def test_are_read(self, folder):
        images, labels = read_digits(folder, "t10k")
        assert images.shape == (40, 28, 28) and labels.shape == (40,)
        assert labels.tolist() == [number % 10 for number in range(40)]
        # tests/conftest.py writes a digit as its own brightness.
        assert (images.max((1, 2)) == 100 + 10 * labels).all()

    def test_no_digit_is_in_two_parts(self, folder, monkeypatch):
        monkeypatch.setattr(moving_mnist, "HELD", 20)
        parts = [part(folder, which) for which in ("training", "validation", "test")]
        assert [len(digits.labels) for digits in parts] == [60, 20, 40]
        # Every image has a number of its own in its first pixels.
        seen = [{image[0, :3].tobytes() for image in digits.images} for digits in parts]
        assert [len(each) for each in seen] == [60, 20, 40]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


class TestDamagedFiles:
    @pytest.fixture
    def folder(self, write_mnist, tmp_path):
        return write_mnist(tmp_path / "mnist")

    def refused(self, folder, *said):
        with pytest.raises(DataError) as caught:
            read_digits(folder, "train")
        text = str(caught.value)
        assert "\n" not in text and str(folder) in text
        assert all(words in text for words in said)

    def test_missing(self, folder):
        (folder / "train-labels-idx1-ubyte.gz").unlink()
        self.refused(folder, "train-labels-idx1-ubyte", "drsvg data mnist", "--data")

    @pytest.mark.parametrize("keep", [0, 5, 100, -10])
    def test_cut_off(self, folder, keep):
        path = folder / "train-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes()[:keep])
        self.refused(folder, path.name, "damaged")

    @pytest.mark.parametrize("keep", [0, 3, 4, 15, 16, 1000, -1])
    def test_cut_off_before_it_was_packed(self, folder, keep):
        path = folder / "train-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:keep]))
        self.refused(folder, path.name, "damaged")

    @pytest.mark.parametrize("place", [10, 100, -6])
    def test_a_wrong_byte(self, folder, place):
        path = folder / "train-images-idx3-ubyte.gz"
        data = bytearray(path.read_bytes())
        data[place] ^= 0x55
        path.write_bytes(data)
        try:
            read_digits(folder, "train")
        except DataError as error:
            assert path.name in str(error)

    def test_another_kind_of_file(self, folder):
        path = folder / "train-images-idx3-ubyte.gz"
        labels = (folder / "train-labels-idx1-ubyte.gz").read_bytes()
        path.write_bytes(labels)
        self.refused(folder, "no idx file of 3 dimension")
        path.write_bytes(b"<html>not found</html>")
        self.refused(folder, path.name, "damaged")

    def test_files_of_two_sets(self, folder, write_mnist, tmp_path):
        other = write_mnist(tmp_path / "other", counts=(50, 40))
        name = "train-labels-idx1-ubyte.gz"
        (folder / name).write_bytes((other / name).read_bytes())
        self.refused(folder, "80 images", "50 labels")
