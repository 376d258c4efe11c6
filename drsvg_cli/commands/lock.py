"""A claim on a folder that ends with its process, however the process ends.

The system holds it, not a file: `kill -9` and a power cut leave nothing that has to be removed.
"""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

_TAKEN = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})

if sys.platform == "win32":
    import msvcrt

    def _open(folder: Path) -> int:
        """Open a file beside the folder: Windows opens no folders."""
        return os.open(folder.with_name(f".{folder.name[:40]}.lock"), os.O_RDWR | os.O_CREAT)

    def _lock(handle: int, *, wait: bool) -> None:
        msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _open(folder: Path) -> int:
        """Open the folder itself, so that no file is left behind."""
        return os.open(folder, os.O_RDONLY)

    def _lock(handle: int, *, wait: bool) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


@contextmanager
def claimed(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Claim a folder that exists; no other process, and no other claim in this one, gets it.

    Where the file system knows no locks a warning is logged, and the claim is not held.

    Args:
        folder: what to claim.
        wait: until it is free.

    Raises:
        BlockingIOError: the folder is claimed already.
        OSError: the folder cannot be opened.
    """
    handle = _open(folder)
    try:
        try:
            _lock(handle, wait=wait)
        except OSError as error:
            if error.errno in _TAKEN:
                raise BlockingIOError(error.errno, "claimed already", str(folder)) from None
            logger.warning(
                "%s cannot be locked (%s): let no other command write to it", folder, error.strerror
            )
        yield
    finally:
        os.close(handle)
