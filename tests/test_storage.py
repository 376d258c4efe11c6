"""A claim keeps others out, and ends with its process."""

import os
import signal
import subprocess
import sys

import pytest

from drsvg_cli.storage import locked

HOLD = """
import sys, time
from pathlib import Path
from drsvg_cli.storage import locked
with locked(Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_claimed_once(tmp_path):
    with locked(tmp_path):
        with pytest.raises(BlockingIOError), locked(tmp_path):
            pass
        (tmp_path / "other").mkdir()
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path), locked(tmp_path / "other"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_kill_9_ends_a_claim(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "claimed\n"
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
