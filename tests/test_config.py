"""Recipes: what is written is read back, and what is wrong is named."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drsvg_cli.config import DataConfig, ModelConfig, MotionConfig, Recipe, TrainingConfig, digest
from drsvg_cli.errors import ConfigError
from drsvg_cli.recipe_file import format_recipe, parse_recipe

PRESETS = Path(__file__).parents[1] / "presets"

# A value other than the default for every field there is.
MODEL = {
    "backbone": "vgg",
    "size": 128,
    "channels": 1,
    "width": 6,
    "feature_dim": 7,
    "content_dim": 0,
    "pose_dim": 9,
    "prior": "fixed",
    "hidden": 10,
    "predictor_shortcut": True,
}
DATA = {
    "source": "kth",
    "fit": "pad",
    "frame_rate": 29.97,
    "context": 8,
    "horizon": 3,
    "min_context": 4,
}
TRAINING = {
    "steps": 17,
    "batch": 3,
    "learning_rate": 1e-5,
    "beta": 1e-16,
    "adversarial": 0.0,
    "shuffled_features": 0.25,
    "seed": 4,
    "validate_every": 6,
    "checkpoint_every": 7,
}


def whole():
    return Recipe(
        name="n",
        summary="s",
        license="cc0",
        base_model="p",
        training_data="t",
        model=ModelConfig(**MODEL),
        data=DataConfig(**DATA),
        training=TrainingConfig(**TRAINING),
    )


def parse(text):
    return parse_recipe(text, origin="here.toml")


def test_every_field_survives_the_round_trip():
    recipe, default = whole(), Recipe(name="")
    for part in ("model", "data", "training"):
        for field in dataclasses.fields(getattr(recipe, part)):
            values = {getattr(getattr(each, part), field.name) for each in (recipe, default)}
            assert len(values) == 2 or field.name == "kind", f"{part}.{field.name}"
    motion = Recipe(name="m", model=MotionConfig(content_dim=2, pose_dim=3, whole_dim=5, width=7))
    for each in (recipe, default, motion):
        assert parse(format_recipe(each)) == each


@settings(deadline=None)
@given(name=st.text(), summary=st.text(), rate=st.floats(0.01, 1000), beta=st.floats(0, 1e6))
def test_any_text_and_number_survives_the_round_trip(name, summary, rate, beta):
    recipe = dataclasses.replace(
        whole(),
        name=name,
        summary=summary,
        data=DataConfig(frame_rate=rate),
        training=TrainingConfig(beta=beta),
    )
    assert parse(format_recipe(recipe)) == recipe


def test_what_is_left_out_takes_its_default():
    assert parse('name = "x"') == Recipe(name="x")
    assert parse('name = "x"\n[data]\nframe_rate = 25').data == DataConfig(frame_rate=25.0)
    assert type(parse('name = "x"\n[data]\nframe_rate = 25').data.frame_rate) is float


@pytest.mark.parametrize(
    "path", sorted(PRESETS.glob("*/preset.toml")), ids=lambda path: path.parent.name
)
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
        ('name = "x"\n[data]\nframe_rate = true', ("data.frame_rate is True", "of type float")),
        ('name = "x"\n[data]\nframe_rate = "12"', ("data.frame_rate is '12'", "of type float")),
        ('name = "x"\n[data]\nframe_rate = nan', ("data.frame_rate is nan",)),
        ('name = "x"\n[data]\nframe_rate = -1.0', ("data.frame_rate is -1.0",)),
        ('name = "x"\n[data]\nframe_rate = 0.0001', ("data.frame_rate is 0.0001", "0.01 to 1000")),
        ('name = "x"\n[data]\nframe_rate = ' + "9" * 400, ("data.frame_rate", "of type float")),
        ('name = "x"\n[data]\nframe_rate = ' + "9" * 5000, ("not valid TOML",)),
        ('name = "x"\n[model]\nchannels = true', ("model.channels is True", "1, 3")),
        ('name = "x"\n[model]\nchannels = 3.0', ("model.channels is 3.0", "1, 3")),
        ('name = "x"\n[model]\nchannels = 4', ("model.channels is 4", "1, 3")),
        ('name = "x"\n[model]\nsize = 48', ("model.size is 48", "32, 64, 128 or 256")),
        ('name = "x"\n[model]\nsize = 1000000', ("model.size is 1000000",)),
        ('name = "x"\n[model]\npose_dim = 0', ("model.pose_dim is 0",)),
        ('name = "x"\n[data]\nhorizon = 0', ("data.horizon is 0",)),
        ('name = "x"\n[data]\nhorizon = 1000000000', ("data.horizon is 1000000000",)),
        ('name = "x"\n[data]\nmin_context = 6', ("data.min_context is 6", "1 to 5")),
        ('name = "x"\n[training]\nsteps = 0', ("training.steps is 0",)),
        ('name = "x"\n[training]\nbeta = inf', ("training.beta is inf",)),
        ('name = "x"\n[training]\nlearning_rate = nan', ("training.learning_rate is nan",)),
        ('name = "x"\n[training]\nlearning_rate = 0.0', ("learning_rate is 0.0", "choose")),
        ('name = "x"\n[training]\nshuffled_features = 1.5', ("shuffled_features is 1.5", "0 to 1")),
        ('name = "x"\n[model]\nhidden = 10000000', ("model.hidden is 10000000",)),
        ('name = "x"\n[model]\nkind = "flow"', ("model.kind is 'flow'", "'drsvg', 'motion'")),
        ('name = "x"\n[model]\nhead = "warp"', ("unknown key model.head",)),
        (
            'name = "x"\n[model]\nkind = "motion"\n[data]\nfit = "pad"',
            ("data.fit is read only where", 'model.kind is "drsvg"'),
        ),
        ('name = "x"\n[model]\nkind = "motion"\nbackbone = "vgg"', ("unknown key model.backbone",)),
        ('name = "x"\na' + ".a" * 5000 + " = 1", ("here.toml",)),
    ],
    ids=lambda value: value[-30:] if isinstance(value, str) else "",
)
def test_a_wrong_recipe_is_refused_by_name(text, words):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    for word in words:
        assert word in str(caught.value)


OLD = """
name = "x"
trained_on = "clips"
[model]
head = "pixels"
normalization = "batch"
predictor_hidden = 10
predictor_layers = 2
latent_hidden = 10
temperature = 1.0
[data]
source = "moving-mnist"
rate = 25.0
shortest_context = 5
camera = 0.0
[training]
swapped = 0.5
matching = 0.02
keep = "last"
"""


def test_the_recipe_of_older_weights_is_brought_to_the_keys_of_today():
    recipe = parse_recipe(OLD, origin="here", migrated=True)
    assert recipe == Recipe(
        "x",
        training_data="clips",
        model=ModelConfig(hidden=10),
        data=DataConfig(source="moving-mnist", frame_rate=25.0, min_context=5),
        training=TrainingConfig(shuffled_features=0.5),
    )
    with pytest.raises(ConfigError, match="unknown key trained_on"):
        parse(OLD)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('head = "pixels"', 'head = "warp"', "its head is 'warp'.*no such network"),
        ("predictor_hidden = 10", "predictor_hidden = 11", "its predictor_hidden is 11"),
        ("matching = 0.02", "matchin = 0.02", "unknown key training.matchin"),
    ],
)
def test_older_weights_of_another_network_are_refused(before, after, words):
    with pytest.raises(ConfigError, match=f"^here: {words}"):
        parse_recipe(OLD.replace(before, after), origin="here", migrated=True)


def test_a_digest_is_of_what_decides_what_is_learned():
    first = digest(whole())
    others = [dataclasses.replace(whole(), name="other", summary="other", base_model="")]
    free = dataclasses.replace(whole().training, validate_every=1, checkpoint_every=1)
    others.append(dataclasses.replace(whole(), training=free))
    assert {digest(each) for each in others} == {first}
    longer = dataclasses.replace(whole().training, steps=18)
    assert digest(dataclasses.replace(whole(), training=longer)) != first


def test_there_are_at_most_forty_keys():
    parts = [dataclasses.fields(part) for part in (ModelConfig, DataConfig, TrainingConfig)]
    assert sum(map(len, parts)) + len(dataclasses.fields(Recipe)) - 3 <= 40


def test_a_wrong_value_is_refused_without_a_file():
    with pytest.raises(ConfigError, match=r"model\.width is 100000"):
        ModelConfig(width=100_000)
