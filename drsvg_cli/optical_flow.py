"""How things move between two frames, measured and not learned: dense inverse search (DIS).

Kroeger et al. 2016, as OpenCV has it. Knows nothing of models.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from threading import Lock
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Flow = NDArray[np.float32]
"""`(H, W, 2)`, in pixels (x, y)."""
Frame = NDArray[np.uint8]

EVIDENCE = 4
"""Frames before the last observed one, to each of which its motion is measured."""


class _OneThread:
    """Lets OpenCV use one thread while anybody is inside: what DIS finds depends on the number.

    The number is the whole process's. Several threads may be inside at once.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, 1

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    cv2.setNumThreads(self._before)


one_thread = _OneThread()


def follow(frames: Tensor) -> Tensor:
    """Tell where each place of sequences was a frame earlier; before the first nothing moved.

    Args:
        frames: `(T, B, C, H, W)` in [0, 1].

    Returns:
        `(T B, 2, H, W)`, as `measure` gives it.
    """
    clips, size = frames.shape[1], frames.shape[-2:]
    still = frames.new_zeros(clips, 2, *size)
    if len(frames) == 1:
        return still
    return torch.cat([still, measure(frames[1:].flatten(0, 1), frames[:-1].flatten(0, 1))])


def measure(newest: Tensor, before: Tensor) -> Tensor:
    """Tell where each place of `newest` was in the frame before.

    Args:
        newest: frames `(B, C, H, W)` in [0, 1].
        before: the frames before them, of the same shape.

    Returns:
        `(B, 2, H, W)` in half frames (x, y): 1 reaches from the centre to the border.
    """
    pairs = zip(_gray(newest), _gray(before), strict=True)
    with one_thread(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = list(pool.map(_search, pairs))
    pixels = torch.from_numpy(np.stack(found))
    height, width = newest.shape[-2:]
    return (pixels * torch.tensor([2 / width, 2 / height])).movedim(-1, 1).to(newest.device)


def _search(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)  # frames are small: every pixel counts
    search.setVariationalRefinementIterations(1)  # more take longer and foretell no better
    # OpenCV's annotations do not know None, which stands for no flow to begin from.
    return search.calc(*pair, None)  # type: ignore[call-overload]


def _gray(frames: Tensor) -> np.ndarray:
    levels = (frames.float().mean(1) * 255).round().clamp(0, 255).to(torch.uint8)
    return levels.cpu().numpy()


def measure_flow(observed: NDArray[np.uint8]) -> Flow:
    """Measure how things move at the end of a clip.

    Dense inverse search (preset MEDIUM) between the last frame and the one two before it, halved:
    over two frames noise counts half as much. With two frames it is the flow between them, and a
    single frame stands still.

    Args:
        observed: uint8 RGB `(T, H, W, 3)`.

    Returns:
        float32 `(H, W, 2)`, in pixels (x, y): where each place of the last frame was a frame
        earlier, relative to that place.
    """
    steps = min(2, len(observed) - 1)
    if steps == 0:
        return np.zeros((*observed.shape[1:3], 2), np.float32)
    last, earlier = (
        cv2.cvtColor(np.ascontiguousarray(observed[index]), cv2.COLOR_RGB2GRAY)
        for index in (-1, -1 - steps)
    )
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    with one_thread():
        # OpenCV's annotations do not know None, which stands for no flow to begin from.
        found = search.calc(last, earlier, None)  # type: ignore[call-overload]
    return np.asarray(found, np.float32) / np.float32(steps)


def extend_path(path: Flow, flow: Flow) -> Flow:
    """Follow a flow one step further: φₖ₊₁(p) = v(p) + φₖ(p + v(p)).

    Args:
        path: φₖ, from each place to where it came from k steps earlier, `(H, W, 2)` in pixels.
        flow: v, the same for one step.
    """
    return flow + _remap(path, flow)


def fetch(frame: Frame, path: Flow) -> Frame:
    """Fetch from each place p of the result the pixel of `frame` at p + path(p), `(H, W, 3)`.

    Beyond the border the nearest pixel is taken.
    """
    return _remap(frame, path)


def _remap(values: NDArray[Any], path: Flow) -> NDArray[Any]:
    height, width = path.shape[:2]
    x = path[..., 0] + np.arange(width, dtype=np.float32)
    y = path[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def measure_evidence(observed: NDArray[np.uint8]) -> Flow:
    """Measure how the last of some observed frames differs from each of the four before it.

    Where there are fewer, the earliest one stands in; a single frame stands still.

    Args:
        observed: uint8 RGB `(T, H, W, 3)`.

    Returns:
        `(4, H, W, 2)` in pixels a frame: where each place of the last frame was, relative to it.
    """
    gray = _gray_frames(observed[-1 - EVIDENCE :])
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows: list[Flow] = []
    with one_thread():
        for steps in range(1, min(EVIDENCE + 1, len(gray))):
            found = search.calc(gray[-1], gray[-1 - steps], None)  # type: ignore[call-overload]
            flows.append(found / np.float32(steps))
    if not flows:
        flows = [np.zeros((*observed.shape[1:3], 2), np.float32)]
    return np.stack([flows[min(steps, len(flows) - 1)] for steps in range(EVIDENCE)])


def measure_steps(frames: NDArray[np.uint8]) -> Flow:
    """Measure how each frame differs from the one before it, at half the size.

    Args:
        frames: uint8 RGB `(T, H, W, 3)`.

    Returns:
        `(T, H / 2, W / 2, 2)` in pixels of that size: where each place was a frame earlier,
        relative to it. It is zero for the first frame.
    """
    height, width = (length // 2 for length in frames.shape[1:3])
    small = [
        cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
        for gray in _gray_frames(frames)
    ]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flows = [np.zeros((height, width, 2), np.float32)]
    with one_thread():
        for earlier, later in pairwise(small):
            flows.append(search.calc(later, earlier, None))  # type: ignore[call-overload]
    return np.stack(flows)


def _gray_frames(frames: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    gray = (cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in frames)
    return [frame.astype(np.uint8, copy=False) for frame in gray]
