"""The command line in processes of its own that wait for no import.

They are forked from one that has imported everything but the Hub's library, which reads its
settings when it is imported, and done nothing: a process begun anew takes two seconds for that.
"""

import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from drsvg_cli.__main__ import process

PRELOADED = [
    "drsvg_cli.commands.predict",
    "drsvg_cli.commands.surprise",
    "drsvg_cli.web.server",
    "pytest",
    "torch._dynamo",  # as the first optimizer does
]


@cache
def context():
    """Return the context of `multiprocessing` whose processes are forked so."""
    made = get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    return made


class Command:
    """A `drsvg` that runs: much of what `subprocess.Popen` gives.

    Args:
        arguments: of the command line.
        cwd: the folder that it runs in.
        env: all of its environment.
        stdout: a file descriptor, if not a file that `communicate` reads.
    """

    def __init__(self, *arguments, cwd, env=None, stdout=None):
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115, closed at the end
        out, err = (Connection(os.dup(file.fileno())) for file in self._files)
        if stdout is not None:
            out = Connection(os.dup(stdout))
        words = [str(argument) for argument in arguments]
        environment = dict(os.environ if env is None else env) | {"OMP_NUM_THREADS": "1"}
        given = (words, str(cwd), environment, out, err)
        self._process = context().Process(target=_run, args=given)
        self._process.start()
        out.close()
        err.close()

    @property
    def returncode(self):
        """The exit code, or less than nothing the signal that ended it; None before."""
        return self._process.exitcode

    def poll(self):
        """Return the exit code, None if it runs."""
        return self._process.exitcode

    def send_signal(self, number):
        """Send a signal."""
        os.kill(self._process.pid, number)

    def wait(self, timeout=60):
        """Wait for the end; return the exit code."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise TimeoutError(f"the command did not end in {timeout} seconds")
        return self.returncode

    def communicate(self, timeout=60):
        """Wait for the end; return what was written to stdout and stderr, bytes."""
        self.wait(timeout)
        said = []
        for file in self._files:
            with file:
                file.seek(0)
                said.append(file.read())
        return tuple(said)


def run(*arguments, **options):
    """Run a `drsvg` to its end; return what `subprocess.run` does, its output as text."""
    command = Command(*arguments, **options)
    out, err = (said.decode() for said in command.communicate())
    return subprocess.CompletedProcess(arguments, command.returncode, out, err)


def _run(words, cwd, environment, out, err):
    for number, given in ((1, out), (2, err)):
        os.dup2(given.fileno(), number)
        given.close()
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # asked of the environment anew
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    sys.argv = [str(Path(sys.executable).with_name("drsvg")), *words]
    process()
