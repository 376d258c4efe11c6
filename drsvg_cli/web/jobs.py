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
WORKER = (sys.executable, "-m", "drsvg_cli.web.worker")


@dataclass(eq=False)
class Job:
    """A prediction or a swap."""

    id: str
    title: str
    asked: dict[str, Any]
    """What `worker.work` takes."""
    state: str = "waiting"
    """`waiting`, `running`, `done`, `failed` or `stopped`."""
    text: str = ""
    share: float | None = None
    notes: list[str] = field(default_factory=list)
    process: Process | None = None

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return Path(self.asked["folder"])

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in ("waiting", "running")

    def record(self) -> dict[str, Any]:
        """Say what the browser should know."""
        return {
            name: getattr(self, name) for name in ("id", "title", "state", "text", "share", "notes")
        }

    def hear(self, said: dict[str, Any]) -> None:
        """Take what the process says; it knows clips by the folders that they lie in here."""
        for clip in filter(None, (self.asked["clip"], self.asked["second"])):
            folder = f"{Path(clip).parent}{os.sep}"
            said = {
                name: value.replace(folder, "") if isinstance(value, str) else value
                for name, value in said.items()
            }
        self.text, self.share = said.get("text", self.text), said.get("share", self.share)
        self.notes += [said["note"]] if "note" in said else []
        if "error" in said:
            self.state, self.text = "failed", said["error"]


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
        for job in over[: max(0, len(over) + 1 - MOST_KEPT)]:
            self._forget(job)
        name = secrets.token_hex(8)
        # A folder in a folder: what is begun beside the results is removed with them.
        job = Job(name, title, asked | {"folder": str(self._folder / name / "results")})
        job.folder.parent.mkdir()
        self._jobs[name] = job
        self._tell()
        return job

    def remove(self, job: Job) -> None:
        """Cancel a job that waits or runs, and forget one that is over."""
        if job.process is not None:
            job.state, job.text = "stopped", "cancelled"
            _kill(job.process)
        else:
            self._forget(job)
        self._tell()

    def is_used(self, clip: Path) -> bool:
        """Tell whether a clip is still needed."""
        needed = [job.asked for job in self._jobs.values() if not job.is_over]
        return any(str(clip) in (asked["clip"], asked["second"]) for asked in needed)

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
                # In a session of its own: Ctrl-C is for the server, which ends it.
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
            for process in [self._spare, *(job.process for job in self._jobs.values())]:
                if process is not None:
                    _kill(process)
                    await process.wait()

    async def _run(self, job: Job) -> None:
        await self.warm_up()
        job.process, self._spare = self._spare, None
        assert job.process is not None and job.process.stdin and job.process.stdout
        job.state, job.text = "running", "Starting"
        self._tell()
        with suppress(ConnectionError):
            job.process.stdin.write(json.dumps(job.asked).encode() + b"\n")
            await job.process.stdin.drain()
        async for line in job.process.stdout:
            if job.state == "running":
                job.hear(json.loads(line))
                self._tell()
        code = await job.process.wait()
        job.process = None
        if job.state == "running":
            job.state, job.text = (
                ("failed", "the process that predicted has ended") if code else ("done", "")
            )
        if job.state != "done":
            shutil.rmtree(job.folder.parent, ignore_errors=True)
        self._tell()
        await self.warm_up()

    def _forget(self, job: Job) -> None:
        del self._jobs[job.id]
        shutil.rmtree(job.folder.parent, ignore_errors=True)

    def _tell(self) -> None:
        """Wake up who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()


def _kill(process: Process) -> None:
    """End a process: all that it writes to is its job's folder."""
    if process.returncode is None:
        process.kill()
