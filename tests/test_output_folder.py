"""Folders of results are whole or absent, whatever happens while they are filled."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from own_files import not_a_file

from drsvg_cli.commands import output_folder, prediction, swap
from drsvg_cli.commands.output_folder import (
    check_free,
    choose_folders,
    filled,
    result_name,
)
from drsvg_cli.errors import ConfigError, ResourceError
from drsvg_cli.storage import locked


def fill(folder, text, *names, overwrite=False):
    """Fill a folder with files that hold `text`, and a record of them."""
    with filled(folder, overwrite=overwrite) as part:
        for name in names:
            (part / name).write_text(text)
        record = {"drsvg": text, "sample_seeds": [], "files": [*names, "prediction.json"]}
        (part / "prediction.json").write_text(json.dumps(record))


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_new_folder_appears_whole_with_the_user_s_permissions(tmp_path):
    with filled(tmp_path / "a" / "b", overwrite=False) as part:
        (part / "file").write_text("text")
        assert not (tmp_path / "a").exists()
    assert contents(tmp_path) == {"a": None, "a/b": None, "a/b/file": "text"}
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("earlier", [False, True])
def test_an_error_leaves_everything_as_it_was(tmp_path, error, earlier):
    if earlier:
        fill(tmp_path / "out", "first", "grid.gif", "sheet.png")
    before = contents(tmp_path)
    kind = ResourceError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(kind), filled(tmp_path / "out", overwrite=True) as part:
        (part / "grid.gif").write_text("second")
        raise error
    assert contents(tmp_path) == before


def test_a_new_result_replaces_the_earlier_one_and_leaves_other_files(tmp_path):
    fill(tmp_path / "out", "first", "grid.gif", "sheet.png")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    fill(tmp_path / "out", "second", "sheet.png", "index.html", overwrite=True)
    found = contents(tmp_path / "out")
    assert json.loads(found.pop("prediction.json"))["drsvg"] == "second"
    assert found == {"sheet.png": "second", "index.html": "second", "notes.txt": "mine"}


def test_what_cannot_be_replaced_is_found_before_anything_is_lost(tmp_path):
    fill(tmp_path / "out", "first", "grid.gif", "sheet.png")
    (tmp_path / "out" / "index.html").mkdir()
    before = contents(tmp_path)
    with pytest.raises(ResourceError, match="in the way"):
        fill(tmp_path / "out", "second", "grid.gif", "sheet.png", "index.html", overwrite=True)
    assert contents(tmp_path) == before


def test_what_is_no_earlier_result_is_not_replaced(tmp_path):
    """A clip of the user's may be called as one of ours."""
    fill(tmp_path / "out", "first", "grid.gif")
    (tmp_path / "out" / "grid.mp4").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match=r"grid\.mp4 is not of an earlier result"):
        fill(tmp_path / "out", "second", "grid.gif", "grid.mp4", overwrite=True)
    assert contents(tmp_path) == before


def test_a_record_without_a_list_of_files_is_survived(tmp_path):
    for files in (None, 1, [None, 1], {}):
        fill(tmp_path / "out", "first", "grid.gif", overwrite=True)
        record = {"drsvg": "0", "sample_seeds": [], "files": files}
        (tmp_path / "out" / "other.json").write_text(json.dumps(record))
        fill(tmp_path / "out", "second", "grid.gif", overwrite=True)
        assert contents(tmp_path / "out")["grid.gif"] == "second"


def test_a_crafted_record_removes_nothing_of_the_user_s(tmp_path):
    fill(tmp_path / "out", "first", "grid.gif")
    mine = ["notes.txt", "model.safetensors", "holiday.mp4", "package.json", "preset.toml"]
    for name in mine:
        (tmp_path / "out" / name).write_text("mine")
    record = {"drsvg": "0", "sample_seeds": [], "files": [*mine, "../x", "/x"]}
    (tmp_path / "out" / "other.json").write_text(json.dumps(record))
    fill(tmp_path / "out", "second", "grid.gif", overwrite=True)
    found = contents(tmp_path / "out")
    assert [found[name] for name in mine] == ["mine"] * len(mine) and found["grid.gif"] == "second"


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "deep", "loop"])
def test_a_record_that_is_no_text_of_some_size_is_survived(tmp_path, kind):
    fill(tmp_path / "out", "first", "grid.gif")
    not_a_file(kind, tmp_path / "out" / "other.json")
    fill(tmp_path / "out", "second", "grid.gif", overwrite=True)
    assert (tmp_path / "out" / "grid.gif").read_text() == "second"


def test_ctrl_c_ends_the_wait_for_another_run(tmp_path):
    """A training run holds its folder for hours."""
    fill(tmp_path / "out", "first", "grid.gif")
    before = contents(tmp_path)
    with locked(tmp_path / "out"):
        press = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        press.start()
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path / "out", "second", "grid.gif", overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("earlier", [False, True])
def test_two_runs_into_one_folder_do_not_mix(tmp_path, overwrite, earlier):
    folder = tmp_path / "out"
    if earlier:
        folder.mkdir()

    def overtaken():
        with filled(folder, overwrite=overwrite) as part:
            (part / "grid.gif").write_text("slow")
            (part / "prediction.json").write_text("{}")
            fill(folder, "quick", "grid.gif", "sheet.png", overwrite=overwrite)

    if overwrite:
        overtaken()
        assert contents(folder) == {"grid.gif": "slow", "prediction.json": "{}"}
    else:
        with pytest.raises(ConfigError, match="another run has filled it"):
            overtaken()
        found = contents(folder)
        assert json.loads(found.pop("prediction.json"))["drsvg"] == "quick"
        assert found == {"grid.gif": "quick", "sheet.png": "quick"}
    assert not list(tmp_path.rglob("*.part"))


def test_ctrl_c_while_files_move_waits_for_the_last_one(tmp_path, monkeypatch):
    fill(tmp_path / "out", "first", "grid.gif", "sheet.png")
    exchange = output_folder._exchange

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        exchange(*arguments)

    monkeypatch.setattr(output_folder, "_exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "out", "second", "grid.gif", "sheet.png", overwrite=True)
    found = contents(tmp_path / "out")
    assert json.loads(found.pop("prediction.json"))["drsvg"] == "second"
    assert found == {"grid.gif": "second", "sheet.png": "second"}


@pytest.mark.parametrize("earlier", [False, True])
def test_what_a_killed_run_left_is_removed_and_what_a_running_one_needs_is_not(tmp_path, earlier):
    if earlier:
        fill(tmp_path / "out", "text", "grid.gif")
    parts = [tmp_path / f".out.{name}.part" for name in ("killed", "running", "young")]
    for part in parts:
        part.mkdir()
        (part / "sample_1.mp4").write_text("half")
    for part in parts[:2]:
        os.utime(part, (time.time() - 3600,) * 2)
    with locked(parts[1]):
        fill(tmp_path / "out", "text", "grid.gif", overwrite=True)
    assert [part.exists() for part in parts] == [False, True, True]


def test_an_empty_folder_with_what_a_killed_run_left_is_free(tmp_path):
    (tmp_path / ".out.1234.part").mkdir()
    check_free(tmp_path, overwrite=False)
    (tmp_path / ".hidden").touch()
    with pytest.raises(ConfigError, match="exists already"):
        check_free(tmp_path, overwrite=False)


def test_clips_of_one_name_in_other_letters_get_a_folder_each(tmp_path):
    clips = [Path(name) for name in ("a.mp4", "more/A.mp4", "more/b.mp4")]
    names = [folder.name for folder in choose_folders(clips, tmp_path, overwrite=False)]
    assert names == ["a_drsvg", "A_drsvg_2", "b_drsvg"]


@pytest.mark.parametrize("stem", ["n" * 251, "é" * 125, "☃" * 83, os.fsdecode(b"\xe9" * 250)])
def test_a_name_as_long_as_names_may_be(tmp_path, stem):
    one, two = choose_folders(
        [tmp_path / f"{stem}.mp4", tmp_path / f"{stem}.mkv"], tmp_path, overwrite=False
    )
    assert one.name != two.name
    for folder in (one, two):
        assert folder.name.startswith(stem[:60]) and "_drsvg" in folder.name
        fill(folder, "text", "grid.gif")
    assert result_name("short") == "short_drsvg"


class TestPredict:
    """The same, with the command."""

    @pytest.fixture
    def draw(self, drsvg, model_folder, make_clip, tmp_path):
        make_clip(tmp_path / "clip.mp4")
        common = ("predict", "clip.mp4", "--model", model_folder, "--size", "64", "-n", "4")
        return lambda *arguments: drsvg(*common, "-s", "2", *arguments)

    @pytest.mark.parametrize("spare", [2000, 20_000])
    def test_a_full_disk(self, draw, tmp_path, full_disk, spare):
        assert draw("--seed", "1").code == 0
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with full_disk(spare):
            outcome = draw("--seed", "2", "-y")
        assert (outcome.code, outcome.out) == (4, "")
        assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
        now = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert now == before

    @pytest.mark.parametrize("verb", ["predict", "swap"])
    def test_a_file_of_the_user_s_is_found_before_any_work(
        self, drsvg, model_folder, make_clip, tmp_path, monkeypatch, verb
    ):
        """Whichever of the files that a run writes it is called as."""
        make_clip(tmp_path / "clip.mp4")
        command = (verb, "clip.mp4") if verb == "predict" else (verb, "clip.mp4", "clip.mp4")
        options = ("--model", model_folder, "--size", "64", "-n", "4", "-s", "2")
        assert drsvg(*command, *options, "-o", "whole").code == 0
        monkeypatch.delattr(prediction, "read_excerpt")
        monkeypatch.delattr(swap, "read_excerpt")
        for name in [path.name for path in (tmp_path / "whole").iterdir()]:
            (tmp_path / "taken").mkdir()
            (tmp_path / "taken" / name).write_text("mine")
            outcome = drsvg(*command, *options, "-o", "taken", "-y")
            assert (outcome.code, outcome.out) == (2, "")
            assert f"{name} is not of an earlier result" in outcome.err
            assert contents(tmp_path / "taken") == {name: "mine"}
            (tmp_path / "taken").rename(tmp_path / f"taken_{name}")

    def test_one_in_a_batch_stops_it_before_the_first_clip(self, draw, make_clip, tmp_path):
        make_clip(tmp_path / "more.mp4")
        (tmp_path / "out" / "more_drsvg").mkdir(parents=True)
        (tmp_path / "out" / "more_drsvg" / "sheet.png").write_text("mine")
        assert draw("more.mp4", "-o", "out", "-y").code == 2
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["more_drsvg"]

    def test_sigterm(self, draw, tmp_path, monkeypatch):
        real = prediction.Report.note

        def terminated(report, sample, moment, frame):
            real(report, sample, moment, frame)
            if moment == 2:
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(prediction.Report, "note", terminated)
        assert draw() == (130, "", "")
        assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]

    def test_a_run_that_was_overtaken(self, draw, tmp_path, monkeypatch):
        real = prediction.Report.write

        def slowly(report):
            monkeypatch.setattr(prediction.Report, "write", real)
            assert draw("--seed", "1").code == 0
            return real(report)

        monkeypatch.setattr(prediction.Report, "write", slowly)
        outcome = draw("--seed", "2")
        assert outcome.code == 2
        assert "clip_drsvg exists already; another run has filled it" in outcome.err
        record = json.loads((tmp_path / "clip_drsvg" / "prediction.json").read_text())
        assert record["seed"] == 1
