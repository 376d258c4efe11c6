"""A classifier that judges content: it learns, and it is what it was when it is loaded again."""

import pytest
import torch

from benchmarks.train_classifier import accuracy, learn, main, save
from drsvg_cli.evaluation.classifier import (
    Classifier,
    Known,
    load_classifier,
    read_classifier,
)


def bars(size, seed):
    """Frames of a bar at any place: its direction and its brightness are attributes."""
    generator = torch.Generator().manual_seed(sum(seed.encode()))
    upright, bright = torch.randint(0, 2, (2, size), generator=generator)
    places = torch.randint(2, 26, (size,), generator=generator).tolist()
    frames = torch.zeros(size, 1, 32, 32)
    for frame, place, way, level in zip(frames, places, upright, bright, strict=True):
        frame[:, place : place + 4, 4:28] = 0.4 + 0.6 * level
        if way:
            frame.copy_(frame.mT.clone())
    return frames, {"direction": upright, "brightness": bright}


@pytest.fixture(scope="module")
def classifier():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Classifier({"direction": 2, "brightness": 2}, size=32, channels=1)
    learn(made, bars, steps=60, batch=16)
    return made


def test_it_learns(classifier):
    assert not classifier.training
    shares = accuracy(classifier, bars, frames=200)
    assert set(shares) == {"all", "direction", "brightness"}
    assert 0.95 < shares["all"] <= min(shares.values())


def test_all_attributes_that_are_asked_for_must_be_right(classifier):
    frames, labels = bars(6, "3")
    wrong = {"direction": labels["direction"], "brightness": 1 - labels["brightness"]}
    one = {"direction": labels["direction"]}
    for number, frame in enumerate(frames[:, None, None]):
        shown = [Known(classifier, each).shows(frame, number) for each in (labels, wrong, one)]
        assert [each.tolist() for each in shown] == [[[1.0]], [[0.0]], [[1.0]]]


def test_what_is_saved_is_loaded(classifier, tmp_path):
    save(tmp_path / "c.safetensors", classifier, words="bars")
    loaded = read_classifier(tmp_path / "c.safetensors")
    assert (loaded.attributes, loaded.size, loaded.channels) == (classifier.attributes, 32, 1)
    frames, _ = bars(20, "5")
    with torch.no_grad():
        for name, logits in classifier(frames).items():
            torch.testing.assert_close(loaded(frames)[name], logits, rtol=0.05, atol=0.05)


def test_the_package_has_those_of_two_data_sets():
    assert load_classifier("moving-mnist").attributes == {"digits": 55}
    assert set(load_classifier("sprites").attributes) > {"hair", "action", "direction"}
    assert load_classifier("kth") is load_classifier("clips") is None


def test_the_program_that_makes_them(write_mnist, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.train_classifier.TESTED", 50)
    write_mnist(tmp_path / "mnist")
    out = tmp_path / "made.safetensors"
    data = ["--data", str(tmp_path / "mnist"), "--steps", "3", "--batch", "4"]
    main(["moving-mnist", *data, "-o", str(out)])
    made = read_classifier(out)
    assert (made.attributes, made.size, made.channels) == ({"digits": 55}, 64, 1)
