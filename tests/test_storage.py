"""Our own files are read with a limit; a lock keeps others out, and ends with its process."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from own_files import not_a_file

from drsvg_cli.storage import locked, read_own

HOLD = """
import sys, time
from pathlib import Path
from drsvg_cli.storage import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_locked_once(tmp_path):
    with locked(tmp_path):
        with pytest.raises(BlockingIOError), locked(tmp_path):
            pass
        (tmp_path / "other").mkdir()
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path), locked(tmp_path / "other"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_kill_9_ends_a_lock(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "locked\n"
    with pytest.raises(BlockingIOError), locked(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "none"):
        pass


KINDS = ["pipe", "device", "sparse", "loop", "folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_of_ours_is_not_read(tmp_path, kind):
    not_a_file(kind, tmp_path / "preset.toml")
    with pytest.raises(OSError, match=r"preset\.toml"):
        read_own(tmp_path / "preset.toml")


def test_a_file_of_ours_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "card").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to("card")
    assert read_own(tmp_path / "link", limit=100) == b"x" * 100
    with pytest.raises(OSError, match="more than 99 bytes"):
        read_own(tmp_path / "card", limit=99)
    with pytest.raises(FileNotFoundError):
        read_own(tmp_path / "none")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_folder_with_something_else_in_it_ends_in_one_line(
    drsvg, model_folder, tmp_path, kind
):
    shutil.copytree(model_folder, tmp_path / "m")
    not_a_file(kind, tmp_path / "m" / "preset.toml")
    outcome = drsvg("models", "info", tmp_path / "m")
    assert (outcome.code, outcome.out) == (3, "") and outcome.err.count("\n") == 1, outcome
    assert str(tmp_path / "m" / "preset.toml") in outcome.err


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    ["a" + ".a" * 30_000 + " = 1", "x = 0x" + "f" * 500_000, "x = [" + "1," * 300_000 + "]"],
    ids=["dots", "digits", "list"],
)
def test_a_recipe_that_takes_gigabytes_to_parse_is_refused(drsvg, model_folder, tmp_path, text):
    shutil.copytree(model_folder, tmp_path / "m")
    (tmp_path / "m" / "preset.toml").write_text(text)
    outcome = drsvg("models", "info", tmp_path / "m")
    assert outcome.code == 2 and "preset.toml is no recipe" in outcome.err
