"""Work on a Ray cluster of two cores of this machine: `pytest -m cluster`, half a minute."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from drsvg_cli.commands.cluster import TRIES, spread
from drsvg_cli.errors import ConfigError, DataError


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    """Start a cluster; give the environment in which it is `ray`."""
    if find_spec("ray") is None:  # it is imported below, where it reads the environment
        pytest.skip("the extra drsvg[cluster] is not installed")
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--num-cpus=2"]
    port = free_port()
    options = [f"--port={port}", "--include-dashboard=false", "--block"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        with subprocess.Popen([*ray, *options], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert any("runtime started" in line for line in process.stdout), "it says why, above"
            patch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
            yield
            process.send_signal(signal.SIGTERM)
            process.stdout.read()


def command(*arguments, folder):
    words = [sys.executable, "-m", "drsvg_cli", *map(str, arguments)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def clips(tmp_path, make_clip):
    for number in range(4):
        make_clip(tmp_path / "clips" / f"{number}.mp4", 12, seed=number)
    return tmp_path


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
class TestRay:
    """What a cluster does is what one process does, whoever dies."""

    def test_a_killed_worker_s_item_is_done_again_and_a_deadly_one_given_up(
        self, cluster, tmp_path
    ):
        def begin():
            def work(item):
                with (tmp_path / f"{item}").open("a") as tries:
                    tries.write("x")
                if item == 9 or (item == 5 and (tmp_path / "5").stat().st_size == 1):
                    os.kill(os.getpid(), signal.SIGKILL)
                return item * item

            return work

        found = dict(spread("ray", begin, range(12), gpus=False))
        assert found == {item: item * item if item != 9 else None for item in range(12)}
        assert {item: (tmp_path / f"{item}").stat().st_size for item in (4, 5, 9)} == {
            4: 1,
            5: 2,
            9: TRIES,
        }

        def fail():
            raise DataError("no such thing")

        with pytest.raises(DataError, match="no such thing"):
            list(spread("ray", fail, [1], gpus=False))

    def test_a_cluster_that_has_ended_is_not_waited_for(self, cluster, clips, monkeypatch):
        monkeypatch.delenv("RAY_ADDRESS")
        with tempfile.TemporaryDirectory() as folder:  # sockets want a short path
            monkeypatch.setenv("RAY_TMPDIR", folder)
            remembered = Path(folder, "ray", "ray_current_cluster")
            remembered.parent.mkdir()
            remembered.write_text(f"127.0.0.1:{free_port()}")
            done = command("predict", "clips", "-m", "copy", "-n", "2", "--on", "ray", folder=clips)
        assert done.returncode == 0, done.stderr

    def test_predict_leaves_what_it_leaves_without_a_cluster(self, cluster, clips):
        (clips / "clips" / "bad.mp4").write_text("not a video")
        common = ("predict", "clips", "-m", "motion", "-s", "1", "-n", "2", "--seed", "1", "--json")
        here = command(*common, "-o", "here", folder=clips)
        there = command(*common, "-o", "there", "--on", "ray", folder=clips)
        assert here.returncode == there.returncode == 1
        assert (
            "bad.mp4" in there.stderr
            and "bad.mp4" in json.loads(there.stdout)["failures"].popitem()[0]
        )
        for number in range(4):
            one, other = (
                clips / out / f"{number}_drsvg" / "sample_1.mp4" for out in ("here", "there")
            )
            assert one.read_bytes() == other.read_bytes()
        lines = (clips / "there" / "manifest.jsonl").read_text().splitlines()
        assert len({json.loads(line)["clip"] for line in lines}) == len(lines) == 5
        (clips / "clips" / "bad.mp4").unlink()
        assert json.loads(command(*common, "-o", "there", folder=clips).stdout)["results"] == []

    def test_evaluate_measures_the_same(self, cluster, clips):
        common = ("evaluate", "motion-speeds", "--data", "clips", "-n", "2", "-s", "2", "--context")
        common += ("4", "--size", "32", "--json", "-o")
        here = command(*common, "here", folder=clips)
        there = command(*common, "there", "--on", "ray", folder=clips)
        assert here.returncode == there.returncode == 0, here.stderr + there.stderr
        assert json.loads(here.stdout) == json.loads(there.stdout)


def test_without_ray_one_line_says_what_to_install(drsvg, clips, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = drsvg("predict", "clips", "-m", "copy", "-s", "1", "--on", "ray")
    assert outcome.code == ConfigError.exit_code
    assert "pip install 'drsvg[cluster]'" in outcome.err and outcome.err.count("\n") == 1
