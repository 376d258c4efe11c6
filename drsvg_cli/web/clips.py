"""Clips that are sent to the server: spooled with a limit, then read in a process of its own."""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from drsvg_cli.errors import ConfigError, ResourceError, VideoError
from drsvg_cli.video.isolation import read_isolated
from drsvg_cli.visualization.layout import enlarge

LARGEST = 2 * 2**30
"""Bytes of a clip."""
MOST_BYTES = 2 * LARGEST
"""Of all clips that are kept; of more, the oldest one leaves."""
LONGEST_NAME = 80
STILL = 960
"""Pixels; the longer side of a still."""


@dataclass(frozen=True)
class Sent:
    """A clip that has been sent, and can be read."""

    path: Path
    size: int
    last: float
    """The moment of the last frame, in seconds."""
    rate: float
    shape: tuple[int, int]
    """Height and width."""

    @property
    def id(self) -> str:
        """What the browser calls it."""
        return self.path.parent.name

    def record(self) -> dict[str, Any]:
        """Say what the browser should know."""
        height, width = self.shape
        facts = {"last": self.last, "rate": self.rate, "width": width, "height": height}
        return {"id": self.id, "name": self.path.name} | facts


class Clips:
    """The clips in a folder, each in a folder of its own."""

    def __init__(self, folder: Path, is_used: Callable[[Path], bool]) -> None:
        """Take an empty folder, and who knows whether a clip is still needed."""
        self._folder, self._is_used = folder, is_used
        self._sent: dict[str, Sent] = {}
        self._one = asyncio.Lock()

    def __getitem__(self, name: object) -> Sent:
        """Find a clip.

        Raises:
            ConfigError: there is none of that name.
        """
        found = self._sent.get(name) if isinstance(name, str) else None
        if found is None:
            raise ConfigError("this clip is no longer here; choose it again")
        return found

    async def take(self, chunks: AsyncIterator[bytes], name: str, length: int | None) -> Sent:
        """Write what is sent to a file, and see whether it is a clip.

        Args:
            chunks: the bytes.
            name: what the user calls it.
            length: bytes, as announced.

        Raises:
            ResourceError: it is too large, or the disk is full.
            VideoError: it cannot be read.
        """
        if length is None or length > LARGEST:
            raise ResourceError(f"a clip may have {LARGEST >> 30} GB, and this one announces more")
        self._make_room(length)
        path = self._folder / secrets.token_hex(8) / file_name(name)
        try:
            size = await _spool(chunks, path)
            async with self._one:
                sent = await asyncio.to_thread(_examine, path, size)
        except BaseException as error:  # a cancelled request, too, leaves nothing
            shutil.rmtree(path.parent, ignore_errors=True)
            if isinstance(error, VideoError):
                raise VideoError(str(error).replace(f"{path.parent}{os.sep}", "")) from None
            raise
        self._sent[sent.id] = sent
        return sent

    async def still(self, sent: Sent, at: float) -> bytes:
        """Read the frame at a moment as JPEG, for formats that the browser does not play.

        Raises:
            VideoError: it cannot be read.
        """
        async with self._one:
            return await asyncio.to_thread(_still, sent.path, at)

    def _make_room(self, length: int) -> None:
        """Let the oldest clips leave that nothing waits for."""
        for sent in list(self._sent.values()):
            if length + sum(each.size for each in self._sent.values()) <= MOST_BYTES:
                return
            if not self._is_used(sent.path):
                del self._sent[sent.id]
                shutil.rmtree(sent.path.parent, ignore_errors=True)


def file_name(name: str) -> str:
    """Make a harmless file name of what a user calls a clip."""
    last = re.split(r"[\\/]", name)[-1]
    plain = "".join(sign if sign.isalnum() or sign in " -_.()" else "_" for sign in last)
    stem, dot, suffix = plain.strip(" .").rpartition(".")
    stem = (stem or suffix).encode()[:LONGEST_NAME].decode(errors="ignore")
    return (stem + dot + suffix[:8] if dot else stem) or "clip"


async def _spool(chunks: AsyncIterator[bytes], path: Path) -> int:
    """Write chunks, as long as there are not too many of them; return how many bytes there were."""
    size = 0
    try:
        path.parent.mkdir()
        with path.open("xb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > LARGEST:
                    raise ResourceError(f"a clip may have {LARGEST >> 30} GB at most")
                file.write(chunk)
    except OSError as error:
        raise ResourceError(f"the clip cannot be kept: {error.strerror or error}") from None
    return size


def _examine(path: Path, size: int) -> Sent:
    """Read the end of a clip; what it does to FFmpeg, it does in another process."""
    end = read_isolated(path, 2)
    if len(end.frames) < 2:
        raise VideoError(f"{path.name} has a single frame; give a video")
    height, width = end.frames.shape[1:3]
    return Sent(path, size, end.times[-1], float(end.rate), (height, width))


def _still(path: Path, at: float) -> bytes:
    frame = read_isolated(path, 1, at=at).frames[0]
    small = enlarge(frame, min(STILL, max(frame.shape[:2])))
    _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return data.tobytes()
