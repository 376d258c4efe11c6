"""Whatever fails: one line, one JSON object with --json, and nothing that a terminal obeys."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import unicodedata

import pytest

from drsvg_cli.video.opening import Source

EVIL = "\x1b]0;x\x07\x1b[31m\u202e\x9b2J"


def assert_harmless(text):
    """Assert that a text holds line breaks and printable signs alone."""
    bad = [sign for sign in text if unicodedata.category(sign)[0] == "C" and sign != "\n"]
    assert not bad, ascii(text)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("predict", "none.mp4"), 1),
        (("predict", "none.mp4", "-n", "many"), 2),
        (("predict", "none.mp4", "-n", "0"), 2),
        (("predict", "none.mp4", "--nope"), 2),
        (("predict", "none.mp4", "-o", ""), 2),
        (("predict",), 2),
        (("predict", "none.mp4", "-m", "nosuch"), 3),
        (("swap", "a.mp4"), 2),
        (("evaluate", "-m", "x"), 2),
        (("finetune", "none", "-o", "out"), 1),
        (("models", "info", "nosuch"), 3),
        (("models", "push", "none", "me/x"), 3),
        (("data", "mnist", "--mirror", "http://127.0.0.1:9"), 3),
    ],
)
def test_a_failure_is_one_line_and_one_object(drsvg, monkeypatch, tmp_path, arguments, code):
    monkeypatch.setenv("DRSVG_CACHE", str(tmp_path / "cache"))
    outcome = drsvg(*arguments, "--json")
    record = json.loads(outcome.out)
    assert (outcome.code, record["exit_code"]) == (code, code), outcome
    assert outcome.err == f"error: {record['error']}\n"
    outcome = drsvg(*arguments)
    assert (outcome.code, outcome.out) == (code, "") and outcome.err.startswith("error: ")


def test_a_batch_with_a_bad_clip_is_still_one_object(drsvg, make_clip, model_folder, tmp_path):
    make_clip(tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_text("no clip")
    options = ("-m", model_folder, "-n", "1", "-s", "1", "--size", "32", "--json")
    outcome = drsvg("predict", "good.mp4", "bad.mp4", *options)
    record = json.loads(outcome.out)
    assert outcome.code == 1 and len(record["results"]) == len(record["failures"]) == 1


def test_no_name_reaches_the_terminal_unescaped(drsvg, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / EVIL)
    for arguments in (
        ("models", "pull", EVIL),
        ("models", "info", EVIL),
        ("models", "info", f"no{EVIL}"),
        ("predict", EVIL),
        ("predict", f"--{EVIL}", "x"),
        ("predict", "x", "-n", EVIL),
        ("predict", "x", "--format", EVIL),
        ("data", "mnist", "--mirror", EVIL),
        (EVIL,),
    ):
        outcome = drsvg(*arguments)
        assert outcome.out + outcome.err
        assert_harmless(outcome.out + outcome.err)
    assert "\\x1b" in drsvg("models", "pull", EVIL).out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_ffmpeg_asks_for_bytes(drsvg, make_clip, tmp_path, monkeypatch, number):
    """PyAV drops what is raised there, and goes on as at the end of the clip."""
    make_clip(tmp_path / "clip.mp4")
    opens = []

    def is_spent(source):
        asks = sys._getframe(2).f_code.co_name == "_container"  # of PyAV, but for the first time
        opens.extend([source] * asks)
        if asks and len(opens) == 2:
            signal.raise_signal(number)
        return False

    monkeypatch.setattr(Source, "is_spent", is_spent)
    outcome = drsvg("predict", "clip.mp4", "-m", "motion", "-n", "100", "-s", "9")
    assert (outcome.code, outcome.out) == (130, "")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN])
def test_no_room_for_a_thread_is_memory_that_is_used_up(drsvg, monkeypatch, number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("drsvg_cli.commands.predict.run", fail)
    outcome = drsvg("predict", "clip.mp4", "-m", "copy")
    assert outcome.code == 4 and outcome.err.startswith("error: memory is used up"), outcome


@pytest.mark.parametrize("megabytes", [60, 150, 300])
def test_memory_that_is_used_up_by_an_import_is_said_so(megabytes, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20,) * 2)

    done = subprocess.run(
        [sys.executable, "-m", "drsvg_cli", "predict", "clip.mp4"],
        cwd=tmp_path,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4 and done.stdout == "", done
    assert done.stderr.startswith("error: memory is used up") and done.stderr.count("\n") == 1
