"""How things move between two frames, measured and not learned: dense inverse search (DIS).

Kroeger et al. 2016, as OpenCV has it. Knows nothing of models.
"""

import cv2
import numpy as np
import torch
from torch import Tensor


def measure(newest: Tensor, before: Tensor) -> Tensor:
    """Tell where each place of `newest` was in the frame before.

    Args:
        newest: frames `(B, C, H, W)` in [0, 1].
        before: the frames before them, of the same shape.

    Returns:
        `(B, 2, H, W)` in half frames (x, y): 1 reaches from the centre to the border.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)  # frames are small: every pixel counts
    pairs = zip(_gray(newest), _gray(before), strict=True)
    # OpenCV's annotations do not know None, which stands for no flow to begin from.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # or else what is found depends on how many there are, and on their race
    try:
        found = [search.calc(now, then, None) for now, then in pairs]  # type: ignore[call-overload]
    finally:
        cv2.setNumThreads(threads)
    pixels = torch.from_numpy(np.stack(found))
    height, width = newest.shape[-2:]
    return (pixels * torch.tensor([2 / width, 2 / height])).movedim(-1, 1).to(newest.device)


def _gray(frames: Tensor) -> np.ndarray:
    levels = (frames.float().mean(1) * 255).round().clamp(0, 255).to(torch.uint8)
    return levels.cpu().numpy()
