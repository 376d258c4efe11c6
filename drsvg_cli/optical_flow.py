"""How things move between two frames, measured and not learned: dense inverse search (DIS).

Kroeger et al. 2016, as OpenCV has it. Knows nothing of models.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import pairwise
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Flow = NDArray[np.float32]
"""`(H, W, 2)`, in pixels (x, y)."""
Frame = NDArray[np.uint8]

_LARGEST_PAIR = 320
"""Pixels along the longer side of frames between which others are interpolated."""
_SMALL_FRAME = 640 * 360
"""Pixels up to which the dearest way to fetch costs little."""
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
    last, earlier = _gray_frames(observed[[-1, -1 - steps]])
    return _search(last, earlier, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) / np.float32(steps)


def extend_path(path: Flow, flow: Flow) -> Flow:
    """Follow a flow one step further: φₖ₊₁(p) = v(p) + φₖ(p + v(p)).

    Args:
        path: φₖ, from each place to where it came from k steps earlier, `(H, W, 2)` in pixels.
        flow: v, the same for one step.
    """
    return flow + _remap(path, flow)


def fetch(frame: Frame, path: Flow) -> Frame:
    """Fetch from each place p of the result the pixel of `frame` at p + path(p), `(H, W, 3)`.

    Between pixels the interpolation is cubic: linear blurs, which costs more LPIPS than it gains in
    PSNR. Beyond the border the nearest pixel is taken. A path that was followed at another size is
    brought to that of the frame.
    """
    return _remap(frame, resize_flow(path, frame.shape[:2]), cv2.INTER_CUBIC)


def fetcher(frame: Frame) -> Callable[[Flow], Frame]:
    """Prepare to fetch from a frame `(H, W, 3)` along many paths, each as `fetch` does.

    A large frame is enlarged once, by cubic interpolation at half a pixel, and is fetched from by
    linear interpolation: half the time of a cubic one, and a level of 255 beside it. In a small
    frame, as measures compare them, that level would count.
    """
    height, width = frame.shape[:2]
    if height * width <= _SMALL_FRAME:
        return partial(fetch, frame)
    fine = cv2.warpAffine(
        cv2.cvtColor(frame, cv2.COLOR_RGB2RGBA),  # OpenCV is fastest with four channels
        np.array([[0.5, 0, 0], [0, 0.5, 0]], np.float32),
        (2 * width - 1, 2 * height - 1),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    places = 2 * _places(height, width)

    def along(path: Flow) -> Frame:
        doubled = resize_flow(2 * path, (height, width)) + places
        moved = cv2.remap(fine, doubled, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        return np.asarray(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB), np.uint8)

    return along


def interpolate(before: Frame, after: Frame, count: int) -> Iterator[Frame]:
    """Yield frames evenly in time between two `(H, W, 3)`: both, moved towards each other."""
    height, width = after.shape[:2]
    scale = min(1.0, _LARGEST_PAIR / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (before, after)]
    flow = resize_flow(measure_flow(np.stack(small).astype(np.uint8)), (height, width))
    for number in range(1, count + 1):
        share = np.float32(number / (count + 1))
        back, on = fetch(before, flow * share), fetch(after, flow * (share - 1))
        mean = cv2.addWeighted(back, float(1 - share), on, float(share), 0)
        yield mean.astype(np.uint8, copy=False)


def resize_flow(flow: Flow, size: Sequence[int]) -> Flow:
    """Bring a flow or path `(h, w, 2)` to another height and width, in pixels of that size."""
    height, width = flow.shape[:2]
    if (height, width) == tuple(size):
        return flow
    scaled = flow * np.array([size[1] / width, size[0] / height], np.float32)
    method = cv2.INTER_AREA if size[0] < height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(scaled, (size[1], size[0]), interpolation=method), np.float32)


def _remap(values: NDArray[Any], path: Flow, method: int = cv2.INTER_LINEAR) -> NDArray[Any]:
    places = path + _places(*path.shape[:2])
    return cv2.remap(values, places, None, method, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


@lru_cache(maxsize=4)
def _places(height: int, width: int) -> Flow:
    """Return the place of every pixel, `(H, W, 2)`."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)


def measure_evidence(observed: NDArray[np.uint8]) -> Flow:
    """Measure how the last of some observed frames differs from each of the four before it.

    Where there are fewer, the earliest one stands in; a single frame stands still.

    Args:
        observed: uint8 RGB `(T, H, W, 3)`.

    Returns:
        `(4, H, W, 2)` in pixels a frame: where each place of the last frame was, relative to it.
    """
    gray = _gray_frames(observed[-1 - EVIDENCE :])
    flows = [
        _search(gray[-1], gray[-1 - steps], cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) / np.float32(steps)
        for steps in range(1, min(EVIDENCE + 1, len(gray)))
    ]
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
        np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        for gray in _gray_frames(frames)
    ]
    preset = cv2.DISOPTICAL_FLOW_PRESET_FAST
    still = np.zeros((height, width, 2), np.float32)
    return np.stack([still, *(_search(b, a, preset) for a, b in pairwise(small))])


def _gray_frames(frames: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    gray = (cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in frames)
    return [frame.astype(np.uint8, copy=False) for frame in gray]


def _search(newest: Frame, earlier: Frame, preset: int) -> Flow:
    """Run DIS between two gray frames."""
    search = cv2.DISOpticalFlow.create(preset)
    with one_thread():
        # OpenCV's annotations do not know None, which stands for no flow to begin from.
        found = search.calc(newest, earlier, None)  # type: ignore[call-overload]
    return np.asarray(found, np.float32)
