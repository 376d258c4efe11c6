"""A clip read in a process of its own, whose memory and time are limited.

For clips from strangers: whatever one of them does to FFmpeg, it costs that clip and nothing else.
A process takes about 0.4 s of a core to start, which is why this is not done for every clip.
"""

import json
import logging
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from drsvg_cli.errors import DrsvgError, VideoError
from drsvg_cli.video.clip import Clip, shown
from drsvg_cli.video.reading import read_clip

logger = logging.getLogger(__name__)

MEMORY = 3 * 2**30
"""Bytes of address space, the libraries' own included."""
SECONDS = 120.0


def read_isolated(
    path: Path,
    count: int,
    *,
    at: float | None = None,
    memory: int = MEMORY,
    seconds: float = SECONDS,
) -> Clip:
    """Read `count` frames up to the moment `at` as `read_clip` does, in another process.

    `memory` in bytes is a limit where the system has one (not on Windows, not on macOS).

    Raises:
        VideoError: The clip cannot be read, or takes more than the limits.
    """
    question = {"path": str(path), "count": count, "at": at, "memory": memory}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "drsvg_cli.video.isolation"],
            input=json.dumps(question).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise VideoError(f"{shown(path)} cannot be read in {seconds:g} seconds") from None
    head, _, pixels = child.stdout.partition(b"\n")
    if child.returncode or not head:
        raise VideoError(f"{shown(path)} is not a video that can be decoded (it ends FFmpeg)")
    answer = json.loads(head)
    for warning in answer["warnings"]:
        logger.warning("%s", warning)
    if "error" in answer:
        raise VideoError(answer["error"])
    frames = np.frombuffer(pixels, np.uint8).reshape(answer["shape"])
    return Clip(frames, Fraction(answer["rate"]), answer["start"])


class _Warnings(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.kept.append(record.getMessage())


def answer(question: BinaryIO, to: BinaryIO) -> None:
    """Read a clip as a question in JSON asks: a line of JSON, then the bytes of the frames."""
    asked = json.load(question)
    _limit(asked["memory"])
    handler = _Warnings()
    logging.getLogger("drsvg_cli").addHandler(handler)
    head: dict[str, Any] = {"warnings": handler.kept}
    pixels = b""
    try:
        clip = read_clip(Path(asked["path"]), asked["count"], at=asked["at"])
        head |= {"shape": clip.frames.shape, "rate": str(clip.rate), "start": clip.start}
        pixels = clip.frames.tobytes()
    except DrsvgError as error:
        head["error"] = str(error)
    except MemoryError:
        head["error"] = f"{shown(Path(asked['path']))} cannot be read: it asks for too much memory"
    to.write(json.dumps(head).encode() + b"\n" + pixels)


def _limit(memory: int) -> None:
    """Limit this process's address space where the system can."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    answer(sys.stdin.buffer, sys.stdout.buffer)
