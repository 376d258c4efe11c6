"""`drsvg evaluate --swap`: what it measures, where content and pose are known and where not."""

import json

import cv2
import pytest
import torch

from drsvg_cli.commands import evaluate_swap, evaluation_setup
from drsvg_cli.commands.evaluate_swap import _shown
from drsvg_cli.config import DataConfig, Recipe
from drsvg_cli.data.sprites import GARMENTS
from drsvg_cli.evaluation.classifier import Classifier
from drsvg_cli.weights.files import save_model

QUICK = ("--sequences", 6, "--device", "cpu")
FILES = {"swaps.json", "swaps.png", "table.md"}
READ = dict.fromkeys(GARMENTS, 3) | {"action": 4, "direction": 3}


@pytest.fixture
def save(tiny_model, tiny_config, tmp_path):
    """Return a function that writes a model of Sprites."""

    def make(name, *, seed=0, data=None, **changes):
        wanted = {"source": "sprites", "context": 2, "horizon": 3} | (data or {})
        recipe = Recipe(name, model=tiny_config(**changes), data=DataConfig(**wanted))
        save_model(tmp_path / name, recipe, tiny_model(seed=seed, **changes).state_dict())
        return name

    return make


@pytest.fixture
def reader(monkeypatch):
    """Let a classifier that has not learned anything yet stand for the one of Sprites."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Classifier(READ, size=32, channels=3).eval()
    monkeypatch.setattr(evaluation_setup, "load_classifier", lambda _: made)


def test_swaps_are_judged(drsvg, sheets, save, reader, tmp_path):
    names = save("ours"), save("lp", seed=1, content_dim=0)
    outcome = drsvg("evaluate", *names, "--swap", "--data", sheets, *QUICK, "--json")
    assert outcome.code == 0, outcome
    told = json.loads(outcome.out)
    assert {path.name for path in (tmp_path / "swaps").iterdir()} == FILES == set(told["files"])
    assert (told["pairs"], told["frames"]) == (6, 5)
    assert "Sprites' test characters" in told["data"]
    ours, baseline = (told["models"][name] for name in names)
    for model in (ours, baseline):
        right = {name: share for name, (share, *_) in model["swap"]["right"].items()}
        assert set(right) == {"content", "pose", "both", *READ}
        assert all(0 <= share <= 1 for share in right.values())
        assert right["both"] <= min(right["content"], right["pose"])
        assert model["swap"]["levels_from_swap"][0] == 0
    assert ours["content of B"]["levels_from_swap"][0] > 0.1
    assert "content of B" not in baseline, "it has no content latents"
    still, true = told["bounds"].values()
    assert set(still) == set(true) == {"content", "pose", "both", *READ}
    table = (tmp_path / "swaps" / "table.md").read_text(encoding="utf-8")
    for cell in ("content kept", "moves as B", "true frames of A", "lp, swap", "levels"):
        assert cell in table
    assert cv2.imread(str(tmp_path / "swaps" / "swaps.png")) is not None
    again = drsvg("evaluate", *names, "--swap", "--data", sheets, *QUICK)
    assert (again.code, again.out) == (2, "") and "exists already" in again.err


def test_where_nobody_reads_motion_and_sharpness_are_left(drsvg, sheets, save, tmp_path):
    options = ("--data", sheets, *QUICK, "--sequences", 2, "--json")
    outcome = drsvg("evaluate", save("ours"), "--swap", *options)
    assert outcome.code == 0, outcome
    told = json.loads(outcome.out)["models"]["ours"]
    assert told["swap"]["right"] == {} and told["swap"]["sharpness"][0] > 0
    assert "content kept" not in (tmp_path / "swaps" / "table.md").read_text()


def test_clips_are_swapped_too(drsvg, save, make_clip, tmp_path):
    name = save("clips", data={"source": "clips", "frame_rate": 10.0})
    for number in range(2):
        make_clip(tmp_path / "films" / f"{number}.mp4", 12, seed=number)
    outcome = drsvg("evaluate", name, "--swap", "--data", "films", *QUICK, "-o", "there", "--json")
    assert outcome.code == 0, outcome
    told = json.loads(outcome.out)
    model = told["models"][name]
    assert model["swap"]["right"] == {} and not told["bounds"]
    assert model["reconstruction"]["sharpness"][0] > 0
    # Nobody knows what they show, but how they move can be measured.
    for kind in ("swap", "reconstruction"):
        assert -1 <= model[kind]["moves"]["as_a"] <= 1 and -1 <= model[kind]["moves"]["as_b"] <= 1
    assert told["true_frames_move"]["as_a"] == pytest.approx(1)
    assert "true frames of A | 1.00" in (tmp_path / "there" / "table.md").read_text()
    assert {path.name for path in (tmp_path / "there").iterdir()} == FILES


def test_at_temperature_zero_no_seed_matters(drsvg, sheets, save, reader):
    name = save("ours")

    def sharpness(*options):
        given = ("--data", sheets, *QUICK, "--sequences", 2, "--json", "-y", *options)
        told = json.loads(drsvg("evaluate", name, "--swap", *given).out)
        return told["temperature"], told["models"][name]["swap"]["sharpness"]

    still = [sharpness("--temperature", 0, "--seed", seed) for seed in (1, 2)]
    drawn = [sharpness("--seed", seed) for seed in (1, 2)]
    assert still[0] == still[1] and still[0][0] == 0
    assert drawn[0] != drawn[1] and drawn[0][0] == 1


def test_what_cannot_be_done(drsvg, sheets, save, tmp_path):
    name = save("ours")
    options = ("--data", sheets, "--device", "cpu")
    for wrong, code, said in (
        (("--resume",), 2, "--resume is for predictions"),
        (("--size", 64), 2, "--size is for predictions"),
        (("--temperature", "200"), 2, "--temperature is 200"),
        (("--sequences", 1), 2, "two sequences"),
        (("--samples", 0), 2, "--samples is 0"),
        (("--data", "nowhere"), 2, "--data once"),
    ):
        outcome = drsvg("evaluate", name, "--swap", *options, *wrong)
        assert (outcome.code, outcome.out) == (code, ""), outcome
        assert outcome.err.startswith("error: ") and said in outcome.err
    outcome = drsvg("evaluate", name, "motion", "--swap", *options)
    assert outcome.code == 2 and "squares of their own size" in outcome.err
    assert not (tmp_path / "swaps").exists()


def test_a_file_of_the_user_s_is_found_before_any_work(drsvg, sheets, save, tmp_path, monkeypatch):
    monkeypatch.delattr(evaluate_swap, "load")
    save("ours")
    for name in FILES:
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("mine")
        outcome = drsvg("evaluate", "ours", "--swap", "--data", sheets, *QUICK, "-o", name, "-y")
        assert (outcome.code, outcome.out) == (2, "")
        assert f"{name} is not of an earlier result" in outcome.err


def test_the_picture_shows_pairs_whose_first_frames_show_somebody(noisy_frames):
    """Of every quarter the pair of which neither begins with an empty scene."""
    frames = (noisy_frames(8, 3, 3, 32, 32) * 255).to(torch.uint8)
    frames[[0, 3, 4, 7], 0] = 128  # sequence n moves as sequence n + 4 does
    assert _shown(frames) == [1, 2, 5, 6]
