"""What a viewer sees of a decoded frame: its colours, upright, with square pixels.

High dynamic range as phones record it is brought to what an ordinary screen shows: HLG and PQ
(ITU-R BT.2100) become light, bright light is compressed, BT.2020 becomes BT.709.
"""

from functools import cache

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from drsvg_cli.video.clip import ClipInfo

_UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED
_PQ, _HLG = 16, 18  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_BT709 = 1  # AVCOL_PRI_BT709
_WHITE = 203  # cd/m² of paper in a picture (BT.2408)
_PEAK = 1000 / _WHITE  # as grading screens have, which is shown as white
_KNEE = 0.3  # up to here light stays as it is
_LEVELS = 4096
_ROWS = 128  # at a time: a large frame in floating point is heavy
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_LUMINANCE = np.array([[0.2627, 0.6780, 0.0593]], np.float32)  # of BT.2020


def is_hdr(frame: av.VideoFrame) -> bool:
    """Tell whether a frame is tagged as HLG or PQ."""
    return frame.color_trc in (_PQ, _HLG)


def to_sdr(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Turn an HDR frame into uint8 `(H, W, 3)`, BT.709 for a screen of gamma 2.4 (BT.1886)."""
    codes = np.asarray(frame.to_ndarray(format="rgb48le"), np.uint16) >> 4
    curve = _pq() if frame.color_trc == _PQ else _hlg()
    matrix = np.eye(3, dtype=np.float32) if frame.color_primaries == _BT709 else _BT2020_TO_BT709
    screen = _screen()
    shown = np.empty(codes.shape, np.uint8)
    for top in range(0, len(codes), _ROWS):
        light = curve[codes[top : top + _ROWS]]
        if frame.color_trc == _HLG:  # the screen's part of the curve: BT.2100, 1000 cd/m²
            luminance = np.maximum(cv2.transform(light, _LUMINANCE), 1e-6)
            light = light * (_PEAK * luminance.reshape(*light.shape[:2], 1) ** 0.2)
        brightest = np.maximum(light.max(axis=2, keepdims=True), 1e-6)
        light = light * (_compressed(brightest) / brightest)
        light = cv2.sqrt(np.clip(cv2.transform(light, matrix), 0, 1))  # dense where it is dark
        shown[top : top + _ROWS] = screen[(light * (_LEVELS - 1)).astype(np.uint16)]
    return shown


def _compressed(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring light up to `_PEAK` below 1 along a Möbius curve that leaves the knee smoothly."""
    scale = _KNEE**2 - 2 * _KNEE + _PEAK
    a = -(_KNEE**2) * (_PEAK - 1) / scale
    b = (_KNEE**2 - 2 * _KNEE * _PEAK + _PEAK) / (_PEAK - 1)
    bent = (b * b + 2 * b * _KNEE + _KNEE**2) / (b - a) * (light + a) / (light + b)
    return np.where(light <= _KNEE, light, bent).astype(np.float32)


@cache
def _pq() -> NDArray[np.float32]:
    """Tabulate SMPTE ST 2084: light in units of paper white."""
    code = np.linspace(0, 1, _LEVELS) ** (1 / 78.84375)
    light = np.maximum(code - 0.8359375, 0) / (18.8515625 - 18.6875 * code)
    return np.asarray(10_000 / _WHITE * light ** (1 / 0.1593017578125), np.float32)


@cache
def _hlg() -> NDArray[np.float32]:
    """Tabulate ARIB STD-B67: light of the scene, of which 1 is the most."""
    code = np.linspace(0, 1, _LEVELS)
    bright = (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(code <= 0.5, code**2 / 3, bright).astype(np.float32)


@cache
def _screen() -> NDArray[np.uint8]:
    """Tabulate what a screen of gamma 2.4 wants, by the root of light."""
    return np.asarray(255 * np.linspace(0, 1, _LEVELS) ** (2 / 2.4) + 0.5, np.uint8)


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
