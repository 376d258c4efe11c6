"""Predicted frames on disk, not in memory, until they are written as clips."""

import math
import shutil
import tempfile
import threading
from pathlib import Path
from types import TracebackType

import numpy as np

from drsvg_cli.errors import ResourceError
from drsvg_cli.frames import Frames

LESS = "choose a smaller --size, --samples or --horizon"


class Spool:
    """Raw frames of several samples, uint8 `(S, T, H, W, 3)`, in a temporary file without a name.

    The system removes the file when the process ends, however it ends.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, folder: Path, shape: tuple[int, int, int, int]) -> None:
        """Open the file on the disk of `folder` for `(S, T, H, W)`.

        Raises:
            ResourceError: the disk has no room for them.
        """
        self.shape = (*shape, 3)
        needed, free = math.prod(self.shape), shutil.disk_usage(folder).free
        if needed > free:
            raise ResourceError(
                f"the samples take {needed / 1e9:.1f} GB on disk while they are made, and "
                f"{folder} has {free / 1e9:.1f} GB left; {LESS}"
            )
        self._lock = threading.Lock()
        self._abandoned = False
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".", suffix=".part")  # noqa: SIM115

    def __enter__(self) -> "Spool":
        """Return the spool."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the disk space back."""
        self._file.close()

    def __len__(self) -> int:
        """Count the samples."""
        return self.shape[0]

    def __getitem__(self, sample: int, /) -> "Spooled":
        """Return one sample."""
        return Spooled(self, sample)

    def write(self, sample: int, time: int, frame: Frames) -> None:
        """Keep a frame `(H, W, 3)`; one that is there already is replaced.

        Raises:
            OSError: the disk is full.
        """
        with self._lock:
            self._seek(sample, time)
            self._file.write(np.ascontiguousarray(frame).data)

    def read(self, sample: int, time: int) -> Frames:
        """Read a frame `(H, W, 3)`.

        Raises:
            InterruptedError: the frames have been abandoned.
        """
        frame = np.empty(self.shape[2:], np.uint8)
        with self._lock:
            if self._abandoned:
                raise InterruptedError
            self._seek(sample, time)
            self._file.readinto(frame.data)
        return frame

    def abandon(self) -> None:
        """Let every further reading fail: nobody wants the clips any more."""
        self._abandoned = True

    def _seek(self, sample: int, time: int) -> None:
        self._file.seek((sample * self.shape[1] + time) * math.prod(self.shape[2:]))


class Spooled:
    """One sample of a spool, `(T, H, W, 3)`; a frame is read when it is asked for."""

    dtype = Spool.dtype

    def __init__(self, spool: Spool, sample: int) -> None:
        """Name the sample."""
        self._spool, self._sample = spool, sample
        self.shape = spool.shape[1:]

    def __len__(self) -> int:
        """Count the frames."""
        return self.shape[0]

    def __getitem__(self, time: int, /) -> Frames:
        """Read one frame."""
        if not 0 <= time < len(self):
            raise IndexError(time)
        return self._spool.read(self._sample, time)
