"""Between a clip's bytes and the model's numbers: fit, resize, quantise.

Frames of a clip are uint8 `(T, H, W, C)`, frames of the model float `(T, C, H, W)` in [0, 1].
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from drsvg_cli.config import Fit

Frames = NDArray[np.uint8]


def resize(frame: Frames, *, width: int, height: int) -> Frames:
    """Resize one frame `(H, W, C)`, averaging where it shrinks."""
    if frame.shape[:2] == (height, width):
        return frame
    shrinks = height * width < frame.shape[0] * frame.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized = cv2.resize(frame, (width, height), interpolation=method)
    return resized.reshape(height, width, frame.shape[2]).astype(np.uint8, copy=False)


def resize_whole(frame: Frames, side: int, *, multiple: int = 1) -> Frames:
    """Bring a whole frame `(H, W, C)` to `side` pixels along its shorter side.

    Args:
        frame: any size.
        side: pixels.
        multiple: both sides are rounded to multiples of it.
    """
    scale = side / min(frame.shape[:2]) / multiple
    height, width = (max(1, round(length * scale)) * multiple for length in frame.shape[:2])
    return resize(frame, width=width, height=height)


def fit(frame: Frames, size: int, *, how: Fit) -> Frames:
    """Bring one frame `(H, W, C)` to `(size, size, C)`.

    Args:
        frame: any size.
        size: pixels.
        how: `crop` keeps the centre square, `pad` adds black borders, `stretch` distorts.
    """
    return resize(cut_out(frame, how=how), width=size, height=size)


def cut_out(frame: Frames, *, how: Fit) -> Frames:
    """Return what the model sees of a frame `(H, W, C)`, at the frame's own resolution."""
    height, width, channels = frame.shape
    if how == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return frame[top : top + side, left : left + side]
    if how == "pad":
        side = max(height, width)
        square = np.zeros((side, side, channels), np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = frame
        return square
    return frame


def put_back(part: Frames, frame: Frames, *, how: Fit) -> Frames:
    """Undo `cut_out` with another `part`: what lies outside of it is as in `frame` `(H, W, C)`."""
    height, width, _ = frame.shape
    if how == "stretch":
        return part
    side = len(part)
    if how == "crop":
        whole = frame.copy()
        top, left = (height - side) // 2, (width - side) // 2
        whole[top : top + side, left : left + side] = part
        return whole
    top, left = (side - height) // 2, (side - width) // 2
    return part[top : top + height, left : left + width]


def fit_all(frames: Frames, size: int, *, how: Fit) -> Frames:
    """Bring frames `(T, H, W, C)` to `(T, size, size, C)`."""
    return np.stack([fit(frame, size, how=how) for frame in frames])


def to_tensor(frames: Frames, *, channels: int) -> Tensor:
    """Turn uint8 `(T, H, W, C)` into float `(T, channels, H, W)` in [0, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, -3).float() / 255
    return convert_channels(tensor, channels)


def convert_channels(frames: Tensor, channels: int) -> Tensor:
    """Turn colour `(..., 3, H, W)` into gray `(..., 1, H, W)` (BT.601 luma) or the reverse."""
    have = frames.shape[-3]
    if have == channels:
        return frames
    if channels == 1:
        weights = torch.tensor([0.299, 0.587, 0.114], device=frames.device)
        gray = torch.einsum("...chw,c->...hw", frames.float(), weights).unsqueeze(-3)
        return gray if frames.is_floating_point() else gray.round().to(frames.dtype)
    return frames.expand(*frames.shape[:-3], channels, *frames.shape[-2:])


def fit_batch(frames: Tensor, size: int, *, channels: int) -> Tensor:
    """Bring square uint8 frames `(T, B, C, S, S)` to `(T, B, channels, size, size)`."""
    if frames.shape[-1] != size:
        mode = "area" if frames.shape[-1] > size else "bilinear"
        resized = functional.interpolate(frames.flatten(0, 1).float(), (size, size), mode=mode)
        frames = resized.round().to(torch.uint8).unflatten(0, frames.shape[:2])
    return convert_channels(frames, channels)


def to_frames(tensor: Tensor) -> Frames:
    """Turn float in [0, 1] or uint8, `(..., C, H, W)`, into uint8 `(..., H, W, 3)`."""
    if tensor.is_floating_point():
        tensor = (tensor.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(convert_channels(tensor.cpu(), 3).movedim(-3, -1).numpy())
