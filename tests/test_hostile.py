"""Hostile clips end in a right result or in one line, and cost neither time nor memory."""

import logging
import os
import re
from pathlib import Path

import pytest
from hostile_clips import HOSTILE

LIMIT = 10
"""Seconds that any clip may take; each takes a fraction of one."""
MOST_MEMORY = 700
"""MiB that a clip may add to what the tests hold already; with PyTorch that is below 1 GB."""


@pytest.fixture
def memory():
    """Return a function that gives the memory added at most since the test began, in MiB."""

    def status(name):
        text = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024

    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the highest mark
        before = status("VmRSS")
    except OSError:
        return lambda: 0
    return lambda: status("VmHWM") - before


def assert_survived(outcome, code, said):
    """Assert what a clip may come to: nothing else on stderr than warnings and one error."""
    assert outcome.code == code, outcome
    lines = outcome.err.splitlines()
    assert not any(line.startswith("Traceback") for line in lines), outcome.err
    if code:
        assert len(lines) == 1 and lines[0].startswith("error: "), outcome.err
        assert outcome.out == ""
        assert said in lines[0], outcome.err


@pytest.fixture
def survive(drsvg, model_folder, tmp_path, memory, caplog):
    """Return a function: predict from a clip, and see that nothing stays behind."""
    options = ("--model", model_folder, "--size", "32", "-n", "1", "-s", "1", "--seed", "1")

    def run(path, code, said=""):
        before = set(tmp_path.rglob("*"))
        with caplog.at_level(logging.WARNING):
            outcome = drsvg("predict", *options, "--", path)
        assert_survived(outcome, code, said)
        if not code:
            assert said in caplog.text, caplog.text
        made = {entry.relative_to(tmp_path) for entry in set(tmp_path.rglob("*")) - before}
        results = {entry for entry in made if entry.parts[0].endswith("_drsvg")}
        assert made == results, made - results
        assert len(results) == (0 if code else 5)
        assert memory() < MOST_MEMORY
        return outcome

    return run


@pytest.fixture
def hostile(request, tmp_path):
    """Build a clip; with it come the exit code and what is said."""
    source = tmp_path / "in"
    source.mkdir()
    try:
        path = HOSTILE[request.param].build(source)
    except OSError as error:
        pytest.skip(f"this system allows no such file: {error}")
    if request.param == "unreadable" and os.access(path, os.R_OK):
        pytest.skip("this user may read anything")
    return path, HOSTILE[request.param].code, HOSTILE[request.param].said


@pytest.mark.timeout(LIMIT, func_only=True)
@pytest.mark.parametrize("hostile", HOSTILE, indirect=True)
def test_a_hostile_clip_is_survived(hostile, survive):
    survive(*hostile)


AWKWARD = sorted(Path(os.environ.get("DRSVG_DATA", "/nonexistent")).glob("awkward/*"))


@pytest.mark.timeout(LIMIT, func_only=True)
@pytest.mark.skipif(not AWKWARD, reason="DRSVG_DATA names no folder with awkward clips")
@pytest.mark.parametrize("path", AWKWARD, ids=lambda path: path.name)
def test_an_awkward_clip_is_survived(drsvg, model_folder, tmp_path, memory, path):
    outcome = drsvg("predict", "--model", model_folder, "--size", "32", "-n", "2", "--", path)
    assert outcome.code in (0, 1)
    assert_survived(outcome, outcome.code, path.name)
    made = [entry.name for entry in tmp_path.iterdir()]
    assert made == ([] if outcome.code else [f"{path.stem}_drsvg"])
    assert memory() < MOST_MEMORY
