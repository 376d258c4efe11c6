"""Weights files: what is saved is loaded, and what is damaged, foreign or hostile is refused."""

import resource
import zipfile
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from own_files import not_a_file

from drsvg_cli.config import Recipe
from drsvg_cli.errors import ConfigError, ResourceError, WeightsError
from drsvg_cli.inference.rollout import predict
from drsvg_cli.recipe_file import format_recipe, parse_recipe
from drsvg_cli.weights.files import (
    load_model,
    load_state,
    save_model,
    save_state,
    write_atomically,
)
from drsvg_cli.weights.model_folder import RECIPE_FILE, WEIGHTS_FILE, read_recipe


@pytest.fixture
def saved(tmp_path, tiny_model, tiny_config):
    """A saved tiny model: its folder, its recipe and itself."""
    recipe, model = Recipe(name="tiny", model=tiny_config()), tiny_model()
    save_model(tmp_path / "model", recipe, model.state_dict())
    return tmp_path / "model", recipe, model


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def rewrite(folder, change):
    """Write the weights anew after `change` has been applied to the dict of tensors."""
    tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    change(tensors)
    safetensors.torch.save_file(tensors, folder / WEIGHTS_FILE)


def test_a_model_survives_the_round_trip(saved, noisy_frames):
    folder, recipe, model = saved
    loaded, read = load_model(folder)
    assert read == recipe == read_recipe(folder)
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        expected = model.state_dict()[name]
        assert tensor.dtype == expected.dtype and tensor.shape == expected.shape, name
        torch.testing.assert_close(tensor, expected, rtol=1e-3, atol=1e-6, msg=name)
    context = noisy_frames(1, 3, 3, 32, 32)
    one, two = (predict(each, context, 2, seeds=[0]).frames for each in (model, loaded))
    assert (one - two).abs().max() < 1 / 255


def test_saving_what_was_loaded_changes_no_bit(saved, tmp_path):
    folder, recipe, _ = saved
    loaded, _ = load_model(folder)
    save_model(tmp_path / "again", recipe, loaded.state_dict())
    again, read = load_model(tmp_path / "again")
    assert read == recipe
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_a_loaded_model_can_be_trained(saved, noisy_frames):
    model, _ = load_model(saved[0])
    features = model.train().encode(noisy_frames(3, 2, 3, 32, 32)).features
    model.observe(features).outputs.square().sum().backward()
    assert model.predictor.lstm.weight_hh_l0.grad.abs().sum() > 0


def test_the_weights_are_half_precision_and_carry_the_recipe(saved):
    folder, recipe, _ = saved
    with safetensors.safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        assert parse_recipe(file.metadata()["recipe"], origin="header") == recipe
        weight = file.get_tensor("predictor.embed.weight")
        assert weight.dtype == torch.float16
    assert (folder / RECIPE_FILE).read_text(encoding="utf-8") == format_recipe(recipe)


def test_every_wrong_tensor_is_named(saved):
    folder, _, _ = saved
    name = "predictor.output.weight"
    whole = (folder / WEIGHTS_FILE).read_bytes()
    changes = {
        "lacks the tensor": lambda tensors: tensors.pop(name),
        r"is \(8, 9\)": lambda tensors: tensors.update({name: torch.zeros(8, 9)}),
        r"is torch\.int64": lambda tensors: tensors.update({name: tensors[name].long()}),
    }
    for words, change in changes.items():
        rewrite(folder, change)
        with pytest.raises(WeightsError, match=words) as caught:
            load_model(folder)
        assert name in str(caught.value)
        (folder / WEIGHTS_FILE).write_bytes(whole)
    rewrite(folder, lambda tensors: tensors.update(stranger=torch.zeros(1)))
    with pytest.raises(WeightsError, match="stranger"):
        load_model(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, 5000, -1])
def test_a_truncated_file_is_refused(saved, kept):
    path = saved[0] / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="damaged"):
        load_model(saved[0])


def test_what_is_missing_is_named(saved, tmp_path):
    with pytest.raises(WeightsError, match=RECIPE_FILE):
        load_model(tmp_path)
    (saved[0] / WEIGHTS_FILE).unlink()
    with pytest.raises(WeightsError, match=WEIGHTS_FILE):
        load_model(saved[0])
    (saved[0] / WEIGHTS_FILE).mkdir()
    with pytest.raises(WeightsError, match=WEIGHTS_FILE):
        load_model(saved[0])


def test_an_unreadable_recipe_is_refused(saved):
    (saved[0] / RECIPE_FILE).write_bytes(b"name = '\xff'")
    with pytest.raises(WeightsError, match="cannot read"):
        load_model(saved[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width = 4": "width = 1000000000"}, r"model\.width is 1000000000"),
        ({"hidden = 8": "hidden = 1000000000"}, "hidden is 1000000000"),
        ({"size = 32": "size = 1000000000"}, r"model\.size is 1000000000"),
        # Legal, and 2 · 10⁹ weights.
        (
            {"hidden = 8": "hidden = 8192"},
            "asks for a model of 2,[0-9]{3},.* weights",
        ),
    ],
)
def test_a_recipe_of_absurd_size_is_refused_before_memory_is_taken(saved, changes, said):
    folder, _, _ = saved
    text = (folder / RECIPE_FILE).read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / RECIPE_FILE).write_text(text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match=said):
        load_model(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_recipe_that_asks_for_more_than_the_file_holds_takes_no_memory(saved):
    folder, _, _ = saved
    text = (folder / RECIPE_FILE).read_text()
    large = text.replace("hidden = 8", "hidden = 2048")
    (folder / RECIPE_FILE).write_text(large)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="its recipe asks for"):
        load_model(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_the_same_model_is_the_same_bytes(saved, tmp_path):
    folder, recipe, model = saved
    first = (folder / WEIGHTS_FILE).read_bytes()
    for number in range(8):  # the order of a header's keys was once left to chance
        save_model(tmp_path / str(number), recipe, model.state_dict())
        assert (tmp_path / str(number) / WEIGHTS_FILE).read_bytes() == first


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(error):
        def write(part):
            part.write_text("half")
            raise error

        return write

    with pytest.raises(ResourceError, match="No space left"):
        write_atomically(path, fail(OSError(28, "No space left on device")))
    assert contents(tmp_path) == {"file": b"old"}
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail(KeyboardInterrupt()))
    assert contents(tmp_path) == {"file": b"old"}
    write_atomically(path, lambda part: part.write_text("new"))
    assert contents(tmp_path) == {"file": b"new"}


def test_a_full_disk_keeps_the_old_model_and_the_old_state(saved, tiny_model, full_disk):
    folder, recipe, _ = saved
    save_state(folder / "state.pt", {"step": 1})
    before, other = contents(folder), tiny_model(seed=1).state_dict()
    with full_disk(), pytest.raises(ResourceError, match=WEIGHTS_FILE):
        save_model(folder, recipe, other)
    with full_disk(), pytest.raises(ResourceError, match=r"state\.pt"):
        save_state(folder / "state.pt", other)
    assert contents(folder) == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path, tiny_model, saved):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="file"):
        save_model(tmp_path / "file", saved[1], tiny_model().state_dict())
    with pytest.raises(ResourceError, match="file"):
        save_state(tmp_path / "file" / "training" / "state.pt", {})


def test_training_state_keeps_every_bit(tmp_path):
    state = {"a": [torch.rand(3), {"b": 0.1}], "c": "d", "e": -float("inf"), 4: torch.tensor(2)}
    path = tmp_path / "new" / "state.pt"
    save_state(path, state)
    found = load_state(path)
    assert torch.equal(found["a"][0], state["a"][0]) and torch.equal(found[4], state[4])
    assert found["a"][1] == {"b": 0.1} and found["c"] == "d" and found["e"] == -float("inf")


class Hostile:
    """Pickled, this creates a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_training_state_is_not_run(tmp_path):
    trap = tmp_path / "sprung"
    torch.save({"step": Hostile(trap)}, tmp_path / "state.pt")
    with pytest.raises(WeightsError, match=r"state\.pt") as caught:
        load_state(tmp_path / "state.pt")
    assert not trap.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 3, 1000])
def test_a_damaged_training_state_is_refused(tmp_path, kept):
    path = tmp_path / "state.pt"
    save_state(path, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"state\.pt"):
        load_state(path)
    path.write_bytes(b"not a zip file at all")
    with pytest.raises(WeightsError, match=r"state\.pt"):
        load_state(path)
    with pytest.raises(WeightsError, match="no training state"):
        load_state(tmp_path / "none.pt")


def test_a_state_that_unpacks_to_more_than_it_is_takes_no_memory(tmp_path):
    path, packed = tmp_path / "state.pt", tmp_path / "packed.pt"
    save_state(path, {"weights": torch.zeros(10**7)})
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="its parts are larger than the file"):
        load_state(packed)


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "loop", "folder"])
def test_a_state_that_is_no_file_is_refused(tmp_path, kind):
    not_a_file(kind, tmp_path / "state.pt")
    with pytest.raises(WeightsError, match=r"state\.pt is damaged"):
        load_state(tmp_path / "state.pt")


def test_what_half_precision_cannot_hold_is_stored_whole(tmp_path, tiny_model, tiny_config):
    weights = tiny_model().state_dict()
    name = next(name for name in weights if name.endswith("running_var"))
    weights[name] = torch.full_like(weights[name], 1e5)
    save_model(tmp_path / "m", Recipe("m", model=tiny_config()), weights)
    assert load_model(tmp_path / "m")[0].state_dict()[name].equal(weights[name])
