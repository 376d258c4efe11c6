"""High dynamic range as phones record it, brought to what an ordinary screen shows.

HLG and PQ (ITU-R BT.2100) become light, bright light is compressed, BT.2020 becomes BT.709.
"""

from functools import cache

import av
import cv2
import numpy as np
from numpy.typing import NDArray

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
