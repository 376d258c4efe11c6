"""Our own files and folders: read with a limit, written whole whatever interrupts, locked."""

import errno
import hashlib
import logging
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from drsvg_cli.errors import ResourceError

LARGEST_TEXT = 10**6
"""Bytes of a recipe, a card or a record; they have some thousands."""

logger = logging.getLogger(__name__)


@contextmanager
def writable(place: Path) -> Iterator[None]:
    """Report what the system says where something cannot be written to a file or a folder.

    Raises:
        ResourceError: the disk is full, or the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise ResourceError(f"cannot write to {place}: {error.strerror or error}") from None


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of a kind that drsvg writes, if it is a regular one: no pipe and no device.

    Raises:
        OSError: it is missing, not to be read, or something else.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; remove it", str(path))
    # Not blocking: a pipe that nobody writes to could not be opened.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file; remove it", str(path))
        yield file


def read_own(path: Path, *, limit: int = LARGEST_TEXT) -> bytes:
    """Read a file of a kind that drsvg writes, of at most `limit` bytes.

    Raises:
        OSError: it is missing, not to be read, larger, or not a regular file.
    """
    with opened(path) as file:
        # By its size first: a sparse file has more bytes than the disk.
        large = os.fstat(file.fileno()).st_size > limit
        data = b"" if large else file.read(limit + 1) or b""
    if large or len(data) > limit:
        reason = f"it has more than {limit:,} bytes, the most that such a file has; remove it"
        raise OSError(errno.EFBIG, reason, str(path))
    return data


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step.

    Folders are made if need be.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder that exists; no other process, and no other lock in this one, gets it.

    The system holds the lock, and ends it with the process: `kill -9` and a power cut leave nothing
    that has to be removed. Where the file system knows no locks a warning is logged, and the folder
    is not locked.

    Args:
        folder: what to lock.
        wait: until it is free.

    Raises:
        BlockingIOError: the folder is locked already.
        OSError: the folder cannot be opened.
    """
    from filelock import lock_descriptor  # 0.02 s

    if os.name == "nt":  # Windows opens no folders: a file beside it stands for it
        path, flags = folder.with_name(f".{folder.name[:40]}.lock"), os.O_RDWR | os.O_CREAT
    else:
        path, flags = folder, os.O_RDONLY
    handle = os.open(path, flags)
    try:
        try:
            free = lock_descriptor(handle, blocking=wait)
        except OSError as error:
            logger.warning(
                "%s cannot be locked (%s): let no other command write to it", folder, error.strerror
            )
            free = True
        if not free:
            raise BlockingIOError(errno.EAGAIN, "locked already", str(folder))
        yield
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def collected() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list instead of raising, so that something can finish."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def postponed() -> Iterator[None]:
    """Let what is inside finish, and interrupt after it.

    Raises:
        KeyboardInterrupt: there was a Ctrl-C or a SIGTERM meanwhile.
    """
    with collected() as received:
        yield
    if received:
        raise KeyboardInterrupt
