"""Several videos written at once, on threads, frame by frame as they are predicted."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from drsvg_cli.device import usable_cores
from drsvg_cli.frames import Frames
from drsvg_cli.video.clip import explained
from drsvg_cli.video.sound import Sound
from drsvg_cli.video.writing import ClipWriter, Opening, encode_opening
from drsvg_cli.visualization.layout import PREDICTED

MOST_THREADS = 8
WAITING = 2**28
"""Bytes of frames that wait for an encoder, at most."""
HELD = 15
"""Frames that an encoder holds."""


class VideoFiles:
    """Files that begin with the same frames and go on with frames of their own."""

    def __init__(
        self,
        paths: Sequence[Path],
        rate: Fraction,
        *,
        suffix: str,
        length: int,
        past: Frames,
        sound: Callable[[], Sound | None] = lambda: None,
        mark: bool = False,
        gray: bool = False,
    ) -> None:
        """Begin to encode what all have in common.

        Args:
            paths: the files.
            rate: frames a second.
            suffix: their format, as `.mp4`.
            length: frames that follow, a file.
            past: frames that each file begins with, `(T, H, W, 3)`.
            sound: gives what is heard from the beginning on.
            mark: put a dot into the frames that follow.
            gray: no frame has any colour.
        """
        self._paths, self._rate, self._length = paths, rate, length
        self._mark, self._gray, self._suffix = mark, gray, suffix
        count = max(1, min(usable_cores(), MOST_THREADS, len(paths)))
        self._threads = [ThreadPoolExecutor(1) for _ in range(count)]
        self._writers: dict[int, ClipWriter] = {}
        self._written = [0] * len(paths)
        self._waiting: deque[Future[None]] = deque()
        self._abandoned = False
        self._sound = self._threads[-1].submit(sound)
        self._opening: Future[Opening] = self._threads[-1].submit(
            encode_opening, past, rate, suffix=self._suffix
        )

    def __enter__(self) -> "VideoFiles":
        """Return the files."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until all is written, or give up after an error."""
        try:
            self._abandoned = kind is not None
            while not self._abandoned and self._waiting:
                self._waiting.popleft().result()
        finally:
            self._abandoned = True
            for thread in self._threads:
                thread.shutdown(cancel_futures=True)
            for writer in self._writers.values():
                writer.close(whole=False)

    def write(self, number: int, time: int, frame: Frames) -> None:
        """Write frame `time` of a file, which must not change any more; one that has been is not.

        Raises:
            VideoError: a file cannot be written.
            ResourceError: the disk is full.
        """
        if time < self._written[number]:
            return
        self._written[number] += 1
        while len(self._waiting) > max(len(self._threads), WAITING // frame.nbytes):
            self._waiting.popleft().result()
        thread = self._threads[number % len(self._threads)]
        self._waiting.append(thread.submit(self._encode, number, frame, time + 1 == self._length))

    def _encode(self, number: int, frame: Frames, is_last: bool) -> None:
        if self._abandoned:
            return
        path = self._paths[number]
        with explained(path, "written"):
            if number not in self._writers:
                self._writers[number] = ClipWriter(
                    path,
                    self._rate,
                    suffix=self._suffix,
                    gray=self._gray,
                    opening=self._opening.result(),
                    sound=self._sound.result(),
                )
            self._writers[number].write(marked(frame) if self._mark else frame)
            if is_last:
                self._writers.pop(number).close(whole=True)


def together(frame: Frames) -> int:
    """Tell how many files of such frames may be written at once."""
    return max(1, WAITING // (HELD * frame.nbytes))


def marked(frame: Frames) -> Frames:
    """Put a dot into the upper right corner of a copy of a frame `(H, W, 3)`."""
    picture = np.ascontiguousarray(frame).copy()
    height, width = picture.shape[:2]
    radius = max(2.0, min(height, width) / 90)
    centre = width - 2.4 * radius, 2.4 * radius
    shift = 4  # fractional bits
    place = tuple(round(value * 2**shift) for value in centre)
    for colour, size in (((20, 22, 26), 1.35), (PREDICTED, 1.0)):
        cv2.circle(picture, place, round(size * radius * 2**shift), colour, -1, cv2.LINE_AA, shift)
    return picture
