"""What every source gives to training and to an evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drsvg_cli.config import DataConfig, Recipe
from drsvg_cli.data import dataset, moving_mnist
from drsvg_cli.data.dataset import BenchmarkOptions, DataPaths, Progress
from drsvg_cli.data.registry import benchmark, training_data
from drsvg_cli.errors import ConfigError, DataError
from drsvg_cli.weights.model_folder import read_recipe
from drsvg_cli.weights.registry import presets

SILENT = Progress(note=lambda _: None, update=lambda *_: None)


@pytest.fixture
def mnist(write_mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(moving_mnist, "HELD", 20)
    monkeypatch.setattr(dataset, "TEST_SEQUENCES", 12)
    return write_mnist(tmp_path / "mnist")


@pytest.fixture
def recipe(tiny_config):
    data = DataConfig(source="moving-mnist", context=2, horizon=3, min_context=2)
    return Recipe("digits", model=tiny_config(channels=1), data=data)


@pytest.fixture
def place(mnist, tmp_path):
    return DataPaths([mnist], tmp_path / "cache")


class TestMovingMNIST:
    def test_training_data(self, recipe, place):
        found = training_data(recipe, place, SILENT)
        assert found.sequences.batch(3, seed="0").shape == (5, 3, 1, 32, 32)
        assert found.validation.shape == (64, 5, 1, 32, 32)
        assert found.validation.min() >= 0 and 0.5 < found.validation.max() <= 1
        again = training_data(recipe, place, SILENT)
        assert (
            torch.equal(again.validation, found.validation)
            and again.fingerprint == found.fingerprint
        )
        assert (
            "60 digits" in found.train_description and "20 digits" in found.validation_description
        )

    def test_other_digits_are_other_data(self, recipe, place, write_mnist, tmp_path):
        other = replace(place, paths=[write_mnist(tmp_path / "other", counts=(90, 40))])
        one, two = (training_data(recipe, where, SILENT).fingerprint for where in (place, other))
        assert one != two

    def test_the_test_set_is_one_whatever_is_asked_for(self, recipe, place):
        def ask(**wanted):
            return benchmark(recipe, place, SILENT, BenchmarkOptions(5, **wanted))

        whole = ask()
        assert [clip.shape for clip in whole.clips] == [(30, 32, 32, 3)] * 12
        assert whole.channels == 1 and whole.clips[0].dtype == np.uint8
        assert len(set(whole.groups)) == 12
        assert whole.horizons == (10, 20, 25)
        part = ask(horizon=20, count=4)
        pairs = zip(part.clips, whole.clips[:4], strict=True)
        assert all((one == other[:25]).all() for one, other in pairs)
        assert part.horizons == (10, 20)
        assert torch.equal(part.labels["digits"], whole.labels["digits"][:4])
        assert ask().digest == whole.digest != part.digest
        assert ask(horizon=3).horizons == (3,)
        other = replace(recipe, data=replace(recipe.data, source="moving-mnist-deterministic"))
        drawn = benchmark(other, place, SILENT, BenchmarkOptions(5))
        assert drawn.digest != whole.digest and "deterministic walls" in drawn.words

    def test_refusals(self, recipe, place, tmp_path, monkeypatch):
        monkeypatch.setenv("DRSVG_CACHE", str(tmp_path / "nothing"))
        with pytest.raises(DataError, match=r"nothing/mnist.*drsvg data mnist.*--data"):
            training_data(recipe, replace(place, paths=[]), SILENT)
        with pytest.raises(ConfigError, match="--data once"):
            training_data(recipe, replace(place, paths=[tmp_path, tmp_path]), SILENT)
        with pytest.raises(ConfigError, match="--validation"):
            training_data(recipe, replace(place, validation=[tmp_path]), SILENT)


class TestClips:
    def test_a_benchmark_of_any_clips(self, recipe, tmp_path, make_clip):
        recipe = replace(recipe, data=replace(recipe.data, source="clips"))
        for number in range(2):
            make_clip(tmp_path / "clips" / f"{number}.mp4", seed=number)
        (tmp_path / "clips" / "bad.mp4").write_text("no clip")
        notes = []
        listener = Progress(notes.append, lambda *_: None)
        place = DataPaths([tmp_path / "clips"], tmp_path / "cache")
        found = benchmark(recipe, place, listener, BenchmarkOptions(3, horizon=6, count=9))
        assert [clip.shape for clip in found.clips] == [(9, 32, 32, 3)] * 6
        assert np.stack(found.clips).std() > 10 and found.channels == 1
        assert found.horizons == (6,) and not found.labels
        assert found.words == "6 windows of 2 clips" and len(set(found.groups)) == 2
        assert len(notes) == 1 and "bad.mp4" in notes[0]
        whole = benchmark(recipe, place, SILENT, BenchmarkOptions(3, horizon=6, side=36))
        assert [clip.shape for clip in whole.clips] == [(9, 36, 43, 3)] * 2, "one of each clip"
        one = benchmark(recipe, place, SILENT, BenchmarkOptions(3, horizon=6, count=1, side=36))
        assert len(one.clips) == 1, "another clip stands in for the one that is no good"

    def test_material_is_the_same_in_whichever_order_clips_are_named(
        self, recipe, tmp_path, make_clip
    ):
        names = ("one/a.mp4", "two/a.mp4", "b.mp4", "c.mp4", "d.mp4")
        paths = [make_clip(tmp_path / name, seed=seed) for seed, name in enumerate(names)]

        recipe = replace(recipe, data=replace(recipe.data, source="clips"))

        def gather(learned, held):
            return training_data(recipe, DataPaths(learned, tmp_path / "cache", held), SILENT)

        for count in (5, 3):
            found = gather(paths[:count], paths[count:])
            again = gather(paths[:count][::-1], paths[count:][::-1])
            assert again.fingerprint == found.fingerprint
            assert torch.equal(again.validation, found.validation)
            one, two = (each.sequences.batch(8, seed="0") for each in (found, again))
            assert torch.equal(one, two)


def test_the_baselines_differ_in_their_latents_alone():
    ours, lp, fp = (
        read_recipe(presets()[f"moving-mnist{suffix}"]) for suffix in ("", "-svg-lp", "-svg-fp")
    )
    assert (ours.model.content_dim, ours.model.pose_dim) == (64, 8)
    assert (lp.model.content_dim, fp.model.content_dim) == (0, 0)
    assert (lp.model.prior, fp.model.prior) == ("learned", "fixed")
    assert replace(fp.model, prior="learned") == lp.model
    assert replace(lp.model, content_dim=64, pose_dim=8) == ours.model
    assert ours.data == lp.data == fp.data and ours.data.source == "moving-mnist"
    adversarial = ours.training.adversarial
    assert replace(lp.training, adversarial=adversarial) == ours.training, "they have no adversary"
    assert fp.training == lp.training


@pytest.mark.parametrize("name", ["sprites", "kth"])
def test_a_twin_is_trained_as_its_model_is(name):
    ours, lp = (read_recipe(presets()[each]) for each in (name, f"{name}-svg-lp"))
    assert replace(lp.model, content_dim=ours.model.content_dim) == ours.model
    adversarial = ours.training.adversarial
    assert lp.data == ours.data
    assert replace(lp.training, adversarial=adversarial) == ours.training
    assert (lp.model.content_dim, lp.training.adversarial) == (0, 0)
