"""What a viewer sees of a decoded frame: its colours, upright, with square pixels."""

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from drsvg_cli.video.clip import ClipInfo
from drsvg_cli.video.hdr import is_hdr, to_sdr

_UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED


def _over_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay a picture `(H, W, 4)` over black."""
    pixels = np.empty((*rgba.shape[:2], 3), np.uint8)
    for top in range(0, len(rgba), 128):  # at a time: twice the bytes of a large frame are many
        part = rgba[top : top + 128].astype(np.uint16)
        pixels[top : top + 128] = (part[..., :3] * part[..., 3:] + 127) // 255
    return pixels


def _is_mirrored(frame: av.VideoFrame) -> bool:
    """Tell whether a frame is to be shown mirrored as well as turned, by its display matrix."""
    try:
        matrix = frame.side_data[Type.DISPLAYMATRIX]  # type: ignore[typeddict-item]
    except (KeyError, ValueError):  # PyAV 18 gives up at a kind that it does not know, as EXIF
        return False
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).astype(float)
    return bool(a * d < b * c)


def to_rgb(frame: av.VideoFrame, info: ClipInfo) -> NDArray[np.uint8]:
    """Turn a decoded frame into what a viewer sees, uint8 `(info.height, info.width, 3)`."""
    # High definition without a tag is BT.709 by custom; FFmpeg takes everything for BT.601.
    guess = frame.colorspace == _UNTAGGED and frame.height >= 720
    space = Colorspace.ITU709 if guess else None
    pixels: NDArray[np.uint8]
    if is_hdr(frame):
        pixels = to_sdr(frame)
    elif frame.format.has_palette or any(part.is_alpha for part in frame.format.components):
        rgba = np.asarray(frame.to_ndarray(format="rgba", src_colorspace=space), np.uint8)
        pixels = _over_black(rgba)
    else:
        pixels = np.asarray(frame.to_ndarray(format="rgb24", src_colorspace=space), np.uint8)
    turns = round(frame.rotation / 90)
    if _is_mirrored(frame):
        pixels, turns = pixels[:, ::-1], turns + 2  # the angle is that of a mirrored x axis
    pixels = np.ascontiguousarray(np.rot90(pixels, turns))
    if pixels.shape[:2] == (info.height, info.width):
        return pixels
    return np.asarray(cv2.resize(pixels, (info.width, info.height)), np.uint8)


def upright_size(frame: av.VideoFrame, width: int, height: int) -> tuple[int, int]:
    """Give the size of a frame after it is turned."""
    return (height, width) if round(frame.rotation / 90) % 2 else (width, height)
