"""Any byte of a file may be wrong: what comes of it is a result or one line.

A few cases run by default. `DRSVG_FUZZ=10000` runs as many of each kind.
"""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hostile_clips import moving, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drsvg_cli.errors import ConfigError, DrsvgError, VideoError, WeightsError
from drsvg_cli.recipe_file import parse_recipe
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import read_clip, read_frames
from drsvg_cli.weights.files import load_model, load_state, save_state
from drsvg_cli.weights.model_folder import RECIPE_FILE, WEIGHTS_FILE

CASES = int(os.environ.get("DRSVG_FUZZ", "10"))
fuzzed = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Where a byte is, as a share of the file, and what it becomes; then perhaps an end too early.
FLIPS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12
)
CUT = st.just(1.0) | st.floats(0, 1)
KINDS = {
    "mp4": {},
    "mkv": {},
    "gif": {"codec": "gif", "pixels": "rgb8"},
}


def damaged(content, flips, cut):
    """Return the bytes with some of them changed, and the end cut off."""
    changed = bytearray(content)
    for place, value in flips:
        changed[math.floor(place * len(changed))] = value
    return bytes(changed[: math.ceil(cut * len(changed))])


def assert_one_line(error):
    assert str(error) and "\n" not in str(error), repr(str(error))


@pytest.fixture(scope="module", params=KINDS)
def clip(request, tmp_path_factory):
    """A small clip: where it is, and its bytes."""
    folder = tmp_path_factory.mktemp("clips")
    path = write(folder / f"a.{request.param}", moving(6, 24, 32), **KINDS[request.param])
    return path, path.read_bytes()


@pytest.mark.timeout(max(300, CASES))
@fuzzed
@given(flips=FLIPS, cut=CUT, at=st.none() | st.floats(0, 2))
def test_a_clip(clip, flips, cut, at):
    path, content = clip
    path.write_bytes(damaged(content, flips, cut))
    for read in (
        lambda: len(read_clip(path, 3, at=at).frames),
        lambda: sum(1 for _, _ in zip(read_frames(path), range(100), strict=False)),
    ):
        try:
            assert read() <= 100
            # No frame is larger than what is there, whatever the header says.
            assert probe(path).width * probe(path).height <= 8192 * 4320
        except DrsvgError as error:
            assert isinstance(error, VideoError), error
            assert_one_line(error)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@fuzzed
@given(flips=FLIPS, cut=CUT)
def test_a_recipe(model_folder, flips, cut):
    text = damaged((model_folder / RECIPE_FILE).read_bytes(), flips, cut)
    try:
        recipe = parse_recipe(text.decode("utf-8", "replace"), origin="preset.toml")
    except ConfigError as error:
        assert "preset.toml" in str(error)
    else:
        assert replace(recipe) == recipe


@fuzzed
@given(flips=FLIPS, cut=CUT, header=st.booleans(), alone=st.booleans())
def test_a_weights_file(model_folder, tmp_path, flips, cut, header, alone):
    """The header is where the shapes are, and what a reader believes first."""
    content = (model_folder / WEIGHTS_FILE).read_bytes()
    length = 8 + int.from_bytes(content[:8], "little") if header else len(content)
    (tmp_path / RECIPE_FILE).write_bytes((model_folder / RECIPE_FILE).read_bytes())
    changed = damaged(content[:length], flips, cut)
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(changed + content[length:] if cut == 1 else changed)
    try:
        model, _ = load_model(path if alone else tmp_path)
    except (WeightsError, ConfigError) as error:
        assert str(Path(WEIGHTS_FILE)) in str(error)
    else:
        assert not model.training


@fuzzed
@given(flips=FLIPS, cut=CUT)
def test_a_training_state(tmp_path, flips, cut):
    path = tmp_path / "state.pt"
    save_state(path, {"model": {"a": torch.ones(3)}, "optimizer": {"state": [1, "x"]}, "step": 1})
    path.write_bytes(damaged(path.read_bytes(), flips, cut))
    try:
        assert isinstance(load_state(path), dict)
    except WeightsError as error:
        assert_one_line(error)
