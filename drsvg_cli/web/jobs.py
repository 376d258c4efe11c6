"""Predictions that wait, run, and are done: one at a time, each in a process of its own."""

import asyncio
import json
import os
import secrets
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drsvg_cli.errors import ConfigError

MOST_WAITING = 8
MOST_KEPT = 24
"""Results that are kept; of more, the oldest one leaves."""
PATIENCE = 5.0
"""Seconds that a process which is to stop may take to tidy up."""
WORKER = (sys.executable, "-m", "drsvg_cli.web.worker")


@dataclass(eq=False)
class Job:
    """A prediction or a swap."""

    title: str
    asked: dict[str, Any]
    """What the worker is asked for; its `folder` is added."""
    folder: Path
    state: str = "waiting"
    """`waiting`, `running`, `done`, `failed` or `stopped`."""
    text: str = ""
    share: float | None = None
    notes: list[str] = field(default_factory=list)
    process: Process | None = None

    @property
    def id(self) -> str:
        """What the browser calls it."""
        return self.folder.name

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in ("waiting", "running")

    def plain(self, text: str) -> str:
        """Write a clip's name without the folder that it lies in here."""
        for clip in filter(None, (self.asked["clip"], self.asked["second"])):
            text = text.replace(f"{Path(clip).parent}{os.sep}", "")
        return text

    def record(self) -> dict[str, Any]:
        """Say what the browser should know."""
        record = {"id": self.id, "title": self.title, "state": self.state, "text": self.text}
        return record | {"share": self.share, "notes": self.notes}


class Jobs:
    """The queue, and what is left of it."""

    def __init__(self, folder: Path, is_ending: Callable[[], bool]) -> None:
        """Take an empty folder for the results, and who knows whether the server is to end."""
        self._folder, self._is_ending = folder, is_ending
        self._jobs: dict[str, Job] = {}
        self._changed = asyncio.Event()
        self._spare: Process | None = None
        self._starting = asyncio.Lock()

    def __getitem__(self, name: str) -> Job:
        """Find a job.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self._jobs:
            raise ConfigError("this result is no longer here")
        return self._jobs[name]

    def add(self, title: str, asked: dict[str, Any]) -> Job:
        """Append a job to the queue.

        Raises:
            ConfigError: too many wait.
        """
        waiting = [job for job in self._jobs.values() if job.state == "waiting"]
        if len(waiting) >= MOST_WAITING:
            raise ConfigError(f"{len(waiting)} predictions wait already; cancel one, or wait")
        over = [job for job in self._jobs.values() if job.is_over]
        for job in over[: len(over) + 1 - MOST_KEPT]:
            self._forget(job)
        folder = self._folder / secrets.token_hex(8)
        job = Job(title, asked | {"folder": str(folder)}, folder)
        self._jobs[job.id] = job
        self._tell()
        return job

    def remove(self, job: Job) -> None:
        """Cancel a job that waits or runs, and forget one that is over."""
        if job.state == "running" and job.process is not None:
            job.state, job.text = "stopped", "cancelled"
            _close(job.process)
            asyncio.get_running_loop().call_later(PATIENCE, _kill, job.process)
        else:
            self._forget(job)
        self._tell()

    def is_used(self, clip: Path) -> bool:
        """Tell whether a clip is still needed."""
        return any(
            str(clip) in (job.asked["clip"], job.asked["second"])
            for job in self._jobs.values()
            if not job.is_over
        )

    async def states(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield all jobs as records, now and after every change, until the server ends."""
        seen: asyncio.Event | None = None
        while not self._is_ending():
            if seen is not self._changed:
                seen = self._changed
                yield [job.record() for job in self._jobs.values()]
            with suppress(TimeoutError):
                await asyncio.wait_for(seen.wait(), 0.5)

    async def warm_up(self) -> None:
        """Start a process that waits, so that the next job begins at once."""
        async with self._starting:
            if self._spare is None or self._spare.returncode is not None:
                # In a session of its own: Ctrl-C is for the server, and this ends with its stdin.
                self._spare = await asyncio.create_subprocess_exec(
                    *WORKER, stdin=PIPE, stdout=PIPE, start_new_session=os.name == "posix"
                )

    async def work(self) -> None:
        """Run one job after the other, until cancelled; then stop what runs."""
        try:
            while True:
                job = next((job for job in self._jobs.values() if job.state == "waiting"), None)
                if job is None:
                    await self._changed.wait()
                else:
                    await self._run(job)
        finally:
            running = [job.process for job in self._jobs.values() if job.process is not None]
            for process in filter(None, [*running, self._spare]):
                _close(process)
                await _end(process)

    async def _run(self, job: Job) -> None:
        await self.warm_up()
        process, self._spare = self._spare, None
        assert process is not None and process.stdin is not None and process.stdout is not None
        job.state, job.text, job.process = "running", "Starting", process
        self._tell()
        with suppress(ConnectionError):
            process.stdin.write(json.dumps(job.asked).encode() + b"\n")
            await process.stdin.drain()
        error = ""
        async for line in process.stdout:
            said = json.loads(line)
            if job.state == "running":
                job.text, job.share = said.get("text", job.text), said.get("share", job.share)
                job.notes += [job.plain(said["note"])] if "note" in said else []
            error = job.plain(said.get("error", error))
            self._tell()
        await _end(process)
        job.process = None
        if job.state == "running":
            failed = bool(error) or process.returncode != 0
            job.state = "failed" if failed else "done"
            job.text = error or ("the process that predicted has ended" if failed else "")
        if job.state != "done":
            shutil.rmtree(job.folder, ignore_errors=True)
        self._tell()
        await self.warm_up()

    def _forget(self, job: Job) -> None:
        del self._jobs[job.id]
        shutil.rmtree(job.folder, ignore_errors=True)

    def _tell(self) -> None:
        """Wake up who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()


def _close(process: Process) -> None:
    """Ask a process to stop."""
    if process.stdin is not None:
        process.stdin.close()


async def _end(process: Process) -> None:
    """Wait for a process, and end one that does not by itself."""
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    except TimeoutError:
        _kill(process)
        await process.wait()


def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
