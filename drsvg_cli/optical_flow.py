"""How things move between two frames, measured and not learned: dense inverse search (DIS).

Kroeger et al. 2016, as OpenCV has it. Knows nothing of models.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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

_LARGEST_PAIR = 320
"""Pixels along the longer side, at which the motion between two predicted frames is measured."""
_ALONE = Lock()
"""Of who has set the number of OpenCV's threads, which is the whole process's."""


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
    with _one_thread(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
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


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let OpenCV use one thread: what DIS finds depends on how many there are."""
    with _ALONE:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            cv2.setNumThreads(threads)


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
    with _one_thread():
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


def interpolate(before: Frame, after: Frame, count: int) -> Iterator[Frame]:
    """Yield frames evenly in time between two `(H, W, 3)`: both, moved towards each other."""
    height, width = after.shape[:2]
    scale = min(1.0, _LARGEST_PAIR / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (before, after)]
    flow = cv2.resize(measure_flow(np.stack(small).astype(np.uint8)), (width, height))
    flow = np.asarray(flow * np.divide((width, height), size), np.float32)
    for number in range(1, count + 1):
        share = np.float32(number / (count + 1))
        back, on = fetch(before, flow * share), fetch(after, flow * (share - 1))
        mean = cv2.addWeighted(back, float(1 - share), on, float(share), 0)
        yield mean.astype(np.uint8, copy=False)


def _remap(values: NDArray[Any], path: Flow) -> NDArray[Any]:
    height, width = path.shape[:2]
    x = path[..., 0] + np.arange(width, dtype=np.float32)
    y = path[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
