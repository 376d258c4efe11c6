"""How things move between two frames, measured and not learned: dense inverse search (DIS).

Kroeger et al. 2016, as OpenCV has it. Knows nothing of models.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import cv2
import numpy as np
import torch
from torch import Tensor

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
    with _ALONE:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # or else what is found depends on how many there are
        try:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                found = list(pool.map(_search, pairs))
        finally:
            cv2.setNumThreads(threads)
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
