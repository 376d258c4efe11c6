"""A classifier that judges content: it learns, and it is what it was when it is loaded again."""

import json

import pytest
import safetensors.torch
import torch

from drsvg_cli.commands import classifier as work
from drsvg_cli.errors import WeightsError
from drsvg_cli.evaluation.classifier import Classifier, accuracy, learn, recognised
from drsvg_cli.weights.files import load_classifier, save_classifier


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
    lessons = list(learn(made, bars, steps=60, batch=16))
    assert [lesson.number for lesson in lessons] == list(range(1, 61))
    return made


def test_it_learns(classifier):
    assert not classifier.training
    shares = accuracy(classifier, bars, frames=200)
    assert set(shares) == {"all", "direction", "brightness"}
    assert 0.95 < shares["all"] <= min(shares.values())


def test_all_attributes_that_are_asked_for_must_be_right(classifier):
    frames, labels = bars(6, "3")
    wrong = {"direction": labels["direction"], "brightness": 1 - labels["brightness"]}
    assert recognised(classifier, frames, labels).all()
    assert not recognised(classifier, frames, wrong).any()
    assert recognised(classifier, frames, {"direction": labels["direction"]}).all()
    # Labels of sequences go with all of their samples and frames.
    many = frames.view(2, 1, 3, 1, 32, 32).expand(2, 4, 3, 1, 32, 32)
    both = {name: each.view(2, 1, 3) for name, each in labels.items()}
    assert recognised(classifier, many, both).shape == (2, 4, 3)


def test_what_is_saved_is_loaded(classifier, tmp_path):
    for name in ("c", "again"):
        save_classifier(tmp_path / f"{name}.safetensors", classifier, words="bars")
    once, again = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("c", "again"))
    assert once == again, "a digest of it tells whether an evaluation had the same one"
    loaded = load_classifier(tmp_path / "c.safetensors")
    assert (loaded.attributes, loaded.size, loaded.channels) == (classifier.attributes, 32, 1)
    frames, _ = bars(20, "5")
    with torch.no_grad():
        for name, logits in classifier(frames).items():
            torch.testing.assert_close(loaded(frames)[name], logits, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("attributes", ["[1, 2]", "5", '{"body": 1e400}', '{"body": "two"}', "{"])
def test_a_header_that_describes_no_classifier_is_refused(classifier, tmp_path, attributes):
    path = tmp_path / "c.safetensors"
    save_classifier(path, classifier, words="bars")
    with safetensors.safe_open(path, framework="pt") as file:
        header = file.metadata() | {"attributes": attributes}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    safetensors.torch.save_file(tensors, path, header)
    with pytest.raises(WeightsError, match=r"c\.safetensors is damaged or is no classifier"):
        load_classifier(path)


@pytest.mark.parametrize("data", [b"", b"nonsense", bytes(200)])
def test_a_damaged_file_is_refused(tmp_path, data):
    (tmp_path / "c.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match=r"c\.safetensors"):
        load_classifier(tmp_path / "c.safetensors")
    with pytest.raises(WeightsError, match="no such file"):
        load_classifier(tmp_path / "none.safetensors")


def test_the_command(drsvg, write_mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "TESTED", 50)
    write_mnist(tmp_path / "mnist")
    options = ("--data", "mnist", "--steps", 3, "--batch", 4, "--device", "cpu")
    outcome = drsvg("classifier", "moving-mnist", *options, "--json")
    assert outcome.code == 0, outcome
    told = json.loads(outcome.out)
    assert 0 <= told["accuracy"] <= 1 and told["steps"] == 3
    made = load_classifier(tmp_path / told["file"])
    assert (made.attributes, made.size, made.channels) == ({"digits": 55}, 64, 1)
    outcome = drsvg("classifier", "moving-mnist", *options)
    assert (outcome.code, outcome.out) == (2, "") and "exists already" in outcome.err
