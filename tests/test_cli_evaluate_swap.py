"""`drsvg evaluate --swap`: what it measures, where content and pose are known and where not."""

import json

import cv2
import pytest
import torch

from drsvg_cli.commands import evaluate_swap
from drsvg_cli.commands.swap_report import _shown
from drsvg_cli.config import DataConfig, Recipe, TrainingConfig
from drsvg_cli.data.sprites import GARMENTS
from drsvg_cli.evaluation import disentanglement
from drsvg_cli.evaluation.classifier import Classifier
from drsvg_cli.training.trainer import fit
from drsvg_cli.weights.files import save_classifier, save_model

QUICK = ("--sequences", 6, "--device", "cpu")
FILES = {"swaps.json", "swaps.png", "table.md"}
READ = dict.fromkeys(GARMENTS, 3) | {"action": 4, "direction": 3}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(disentanglement, "ADVERSARY_STEPS", 5)


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
def reader(tmp_path):
    """A classifier that has not learned anything yet."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Classifier(READ, size=32, channels=3)
    save_classifier(tmp_path / "reader.safetensors", made, words="")
    return "reader.safetensors"


def test_swaps_are_judged_and_latents_probed(drsvg, sheets, save, reader, tmp_path):
    names = save("ours"), save("lp", seed=1, content_dim=0)
    outcome = drsvg(
        "evaluate", *names, "--swap", "--data", sheets, "--classifier", reader, *QUICK, "--json"
    )
    assert outcome.code == 0, outcome
    told = json.loads(outcome.out)
    assert {path.name for path in (tmp_path / "swaps").iterdir()} == FILES == set(told["files"])
    assert (told["pairs"], told["frames"]) == (6, 5)
    assert "Sprites' test characters" in told["data"]
    ours, baseline = (told["models"][name] for name in names)
    for model in (ours, baseline):
        assert set(model["swap"]) == {"content", "pose", "both", *READ}
        for share, _ in model["swap"].values():
            assert 0 <= share <= 1
        assert model["swap"]["both"][0] <= min(model["swap"][n][0] for n in ("content", "pose"))
        assert model["own_discriminator"] is None and 0 <= model["adversary"] <= 1
    assert set(ours["probes"]) == {"content", "pose"} and set(baseline["probes"]) == {"pose"}
    assert set(ours["probes"]["pose"]) == {*READ, "phase"}
    still, true = told["bounds"].values()
    assert set(still) == set(true) == {"content", "pose", "both", *READ}
    table = (tmp_path / "swaps" / "table.md").read_text(encoding="utf-8")
    for cell in ("content kept", "moves as B", "true frames of A", "lp, pose", "chance"):
        assert cell in table
    assert cv2.imread(str(tmp_path / "swaps" / "swaps.png")) is not None
    again = drsvg("evaluate", *names, "--swap", "--data", sheets, *QUICK)
    assert (again.code, again.out) == (2, "") and "exists already" in again.err


def test_a_run_folder_has_its_own_discriminator(drsvg, sheets, tiny_config, reader, tmp_path):
    from drsvg_cli.data.dataset import Listener, Place
    from drsvg_cli.data.registry import material

    recipe = Recipe(
        "run",
        model=tiny_config(),
        data=DataConfig(source="sprites", context=2, horizon=2),
        training=TrainingConfig(steps=1, batch=2),
    )
    silent = Listener(note=lambda _: None, tick=lambda *_: None)
    learned = material(recipe, Place([sheets], tmp_path), silent)
    for _ in fit(
        recipe, learned.sequences, learned.held[:2], tmp_path / "run", device=torch.device("cpu")
    ):
        pass
    outcome = drsvg("evaluate", "run", "--swap", "--data", sheets, *QUICK, "--json")
    assert outcome.code == 0, outcome
    told = json.loads(outcome.out)["models"]["run"]
    assert 0 <= told["own_discriminator"] <= 1
    # Nobody reads such small frames: what is left is sharpness and what the latents tell.
    assert told["swap"] is None and told["sharpness"][0] > 0 and "hair" in told["probes"]["pose"]


def test_clips_are_swapped_too(drsvg, save, make_clip, tmp_path):
    name = save("clips", data={"source": "clips", "rate": 10.0})
    for number in range(2):
        make_clip(tmp_path / "films" / f"{number}.mp4", 12, seed=number)
    outcome = drsvg("evaluate", name, "--swap", "--data", "films", *QUICK, "-o", "there", "--json")
    assert outcome.code == 0, outcome
    told = json.loads(outcome.out)
    assert told["models"][name]["swap"] is None and not told["bounds"]
    assert told["models"][name]["reconstructed_sharpness"][0] > 0
    # Nobody knows what they show, but how they move can be measured.
    for moves in (told["models"][name]["moves"], told["models"][name]["reconstruction_moves"]):
        assert -1 <= moves["as_a"] <= 1 and -1 <= moves["as_b"] <= 1
    assert told["true_frames_move"]["as_a"] == pytest.approx(1)
    assert "true frames of A | 1.00" in (tmp_path / "there" / "table.md").read_text()
    assert told["adversary_on_true_poses"] is None
    assert {path.name for path in (tmp_path / "there").iterdir()} == FILES


def test_at_temperature_zero_no_seed_matters(drsvg, sheets, save, reader):
    name = save("ours")

    def sharpness(*options):
        given = ("--data", sheets, *QUICK, "--json", "-y", *options)
        told = json.loads(drsvg("evaluate", name, "--swap", *given).out)
        return told["temperature"], told["models"][name]["sharpness"]

    still = [sharpness("--temperature", 0, "--seed", seed) for seed in (1, 2)]
    drawn = [sharpness("--seed", seed) for seed in (1, 2)]
    assert still[0] == still[1] and still[0][0] == 0
    assert drawn[0] != drawn[1] and drawn[0][0] == 1


def test_what_cannot_be_done(drsvg, sheets, save, reader, tmp_path):
    name = save("ours")
    options = ("--data", sheets, "--device", "cpu")
    for wrong, code, said in (
        (("--resume",), 2, "--resume is for predictions"),
        (("--ssim", "svg"), 2, "--ssim is for predictions"),
        (("--temperature", "200"), 2, "--temperature is 200"),
        (("--sequences", 3), 2, "give 4 or more"),
        (("--samples", 0), 2, "--samples is 0"),
        (("--data", "nowhere"), 2, "--data once"),
    ):
        outcome = drsvg("evaluate", name, "--swap", *options, *wrong)
        assert (outcome.code, outcome.out) == (code, ""), outcome
        assert outcome.err.startswith("error: ") and said in outcome.err
    assert not (tmp_path / "swaps").exists()
    other = Classifier({**READ, "hair": 2}, size=32, channels=3)
    save_classifier(tmp_path / "other.safetensors", other, words="")
    outcome = drsvg("evaluate", name, "--swap", *options, "--classifier", "other.safetensors")
    assert outcome.code == 2 and "no such hair" in outcome.err


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
