"""Recipes: what is written is read back, and what is wrong is named."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drsvg_cli.config import (
    DataConfig,
    ModelConfig,
    Recipe,
    TrainingConfig,
    format_recipe,
    parse_recipe,
)
from drsvg_cli.errors import ConfigError

PRESETS = Path(__file__).parents[1] / "presets"

# A value other than the default for every field there is.
MODEL = {
    "backbone": "vgg",
    "size": 128,
    "channels": 1,
    "width": 6,
    "normalization": "group",
    "head": "warp",
    "company": 7.5,
    "feature_dim": 7,
    "content_dim": 0,
    "pose_dim": 9,
    "prior": "fixed",
    "content_rollout": "hold",
    "temperature": 2.5,
    "noise_correlation": 0.5,
    "predictor_hidden": 10,
    "predictor_layers": 1,
    "predictor_shortcut": True,
    "latent_shortcut": True,
    "latent_hidden": 11,
    "prior_hidden": 14,
    "discriminator_hidden": 12,
}
DATA = {
    "fit": "pad",
    "rate": 29.97,
    "context": 8,
    "horizon": 3,
    "shortest_context": 4,
    "fastest": 1.0,
    "reverse": 0.25,
    "camera": 0.5,
    "tint": 1.0,
    "cutouts": 0.5,
    "stills": 0.125,
    "bend": 0.375,
    "reshaped": 0.625,
    "second_view": False,
    "source": "moving-mnist",
    "walls": "deterministic",
    "gestures": "fixed",
}
TRAINING = {
    "steps": 17,
    "batch": 3,
    "learning_rate": 1e-5,
    "warmup": 0,
    "likelihood": "laplace",
    "beta": 1e-16,
    "content_kl": 0.5,
    "kl_warmup": 5,
    "adversarial": 0.0,
    "drawing": 0.5,
    "motion": 0.25,
    "blind": 0.75,
    "prior_dropout": 0.25,
    "decoded": 2,
    "autoencoded_steps": 10,
    "matching": 0.75,
    "keep": "last",
    "average": 0.0,
    "clip": 1e6,
    "seed": 4,
    "validate_every": 6,
    "checkpoint_every": 7,
    "patience": 8,
}


def whole():
    return Recipe(
        name="n",
        summary="s",
        license="cc0",
        parent="p",
        trained_on="t",
        model=ModelConfig(**MODEL),
        data=DataConfig(**DATA),
        training=TrainingConfig(**TRAINING),
    )


def parse(text):
    return parse_recipe(text, origin="here.toml")


def test_every_field_survives_the_round_trip():
    recipe, default = whole(), Recipe(name="")
    # A warp has no swapped steps, a closed loop leaves no frame out, what is drawn has one view.
    training = dataclasses.replace(recipe.training, swapped=0.25, decoded=0, closed_loop=True)
    data = dataclasses.replace(recipe.data, source="kth", second_view=True)
    other = dataclasses.replace(recipe, model=ModelConfig(), data=data, training=training)
    for part in ("model", "data", "training"):
        for field in dataclasses.fields(getattr(recipe, part)):
            values = {getattr(getattr(each, part), field.name) for each in (recipe, other, default)}
            assert len(values) > 1, f"{part}.{field.name}"
    for each in (recipe, other, default):
        assert parse(format_recipe(each)) == each


@given(name=st.text(), summary=st.text(), rate=st.floats(0.01, 1000), beta=st.floats(0, 1e6))
def test_any_text_and_number_survives_the_round_trip(name, summary, rate, beta):
    recipe = dataclasses.replace(
        whole(),
        name=name,
        summary=summary,
        data=DataConfig(rate=rate),
        training=TrainingConfig(beta=beta),
    )
    assert parse(format_recipe(recipe)) == recipe


def test_what_is_left_out_takes_its_default():
    assert parse('name = "x"') == Recipe(name="x")
    assert parse('name = "x"\n[data]\nrate = 25').data == DataConfig(rate=25.0)
    assert type(parse('name = "x"\n[data]\nrate = 25').data.rate) is float


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*/preset.toml")), ids=lambda p: p.parent.name)
def test_a_preset_is_a_recipe_of_its_folder_s_name(path):
    recipe = parse_recipe(path.read_text(encoding="utf-8"), origin=str(path))
    assert recipe.name == path.parent.name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("here.toml", "name is missing")),
        ("name = ", ("here.toml", "not valid TOML")),
        ("name = 3", ("name is 3", "of type str")),
        ('name = "x"\nmodle = 3', ("unknown key modle", "did you mean model?")),
        ('name = "x"\nmodel = 3', ("model is 3", "a table")),
        ('name = "x"\n[model]\nbackbon = "vgg"', ("model.backbon", "did you mean backbone?")),
        ('name = "x"\n[data]\nqqq = 1', ("data.qqq", "known keys: source")),
        ('name = "x"\n[model]\nwidth = true', ("model.width is True", "of type int")),
        ('name = "x"\n[model]\nwidth = "8"', ("model.width is '8'", "of type int")),
        ('name = "x"\n[model]\nwidth = 8.0', ("model.width is 8.0", "of type int")),
        ('name = "x"\n[data]\nrate = true', ("data.rate is True", "of type float")),
        ('name = "x"\n[data]\nrate = "12"', ("data.rate is '12'", "of type float")),
        ('name = "x"\n[data]\nrate = nan', ("data.rate is nan",)),
        ('name = "x"\n[data]\nrate = -1.0', ("data.rate is -1.0",)),
        ('name = "x"\n[data]\nrate = 0.0001', ("data.rate is 0.0001", "0.01 to 1000")),
        ('name = "x"\n[data]\nrate = ' + "9" * 400, ("data.rate", "of type float")),
        ('name = "x"\n[data]\nrate = ' + "9" * 5000, ("not valid TOML",)),
        ('name = "x"\n[model]\nchannels = true', ("model.channels is True", "1, 3")),
        ('name = "x"\n[model]\nchannels = 3.0', ("model.channels is 3.0", "1, 3")),
        ('name = "x"\n[model]\nchannels = 4', ("model.channels is 4", "1, 3")),
        ('name = "x"\n[model]\nhead = "pixel"', ("model.head is 'pixel'", "'pixels', 'warp'")),
        ('name = "x"\n[model]\nsize = 48', ("model.size is 48", "32, 64, 128 or 256")),
        ('name = "x"\n[model]\nsize = 1000000', ("model.size is 1000000",)),
        ('name = "x"\n[model]\npredictor_hidden = 10000000', ("model.predictor_hidden",)),
        ('name = "x"\n[model]\npose_dim = 0', ("model.pose_dim is 0",)),
        ('name = "x"\n[data]\nhorizon = 0', ("data.horizon is 0",)),
        ('name = "x"\n[data]\nhorizon = 1000000000', ("data.horizon is 1000000000",)),
        ('name = "x"\n[data]\nshortest_context = 6', ("data.shortest_context is 6", "1 to 5")),
        ('name = "x"\n[data]\nreverse = 1.5', ("data.reverse is 1.5",)),
        ('name = "x"\n[training]\nsteps = 0', ("training.steps is 0",)),
        ('name = "x"\n[training]\ndecoded = -1', ("training.decoded is -1",)),
        ('name = "x"\n[training]\nprior_dropout = 1.0', ("prior_dropout is 1",)),
        (
            'name = "x"\n[training]\nclosed_loop = true\ndecoded = 5',
            ("training.closed_loop", "training.decoded = 0"),
        ),
        ('name = "x"\n[training]\nbeta = inf', ("training.beta is inf",)),
        ('name = "x"\n[training]\nlearning_rate = nan', ("training.learning_rate is nan",)),
        ('name = "x"\n[training]\nlearning_rate = 0.0', ("learning_rate 0.0", "above")),
        ('name = "x"\n[training]\naverage = 1.0', ("average 1.0", "below 1")),
        ('name = "x"\n[hub]\nrepo = "a/b"', ("unknown key hub",)),
        ('name = "x"\na' + ".a" * 5000 + " = 1", ("here.toml",)),
    ],
    ids=lambda value: value[-30:] if isinstance(value, str) else "",
)
def test_a_wrong_recipe_is_refused_by_name(text, words):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    for word in words:
        assert word in str(caught.value)


def test_a_wrong_value_is_refused_without_a_file():
    with pytest.raises(ConfigError, match=r"model\.width is 100000"):
        ModelConfig(width=100_000)
