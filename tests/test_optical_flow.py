"""Measured motion is what was done to a picture."""

import cv2
import numpy as np
import pytest
import torch
from drsvg_cli.model.warping import warp

from drsvg_cli.optical_flow import measure

SIZE = 64


@pytest.fixture
def picture():
    """A smooth random picture `(3, H, W)`, larger than a frame by 8 pixels on every side."""
    levels = np.random.default_rng(3).random((SIZE + 16, SIZE + 16, 3), np.float32)
    smooth = cv2.GaussianBlur(levels, (0, 0), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return torch.from_numpy(smooth).movedim(-1, 0)


def cut(picture, right, down):
    """Cut a frame from a picture that has moved by as many pixels."""
    return picture[:, 8 - down : 8 - down + SIZE, 8 - right : 8 - right + SIZE][None]


@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, 0), (0, -3), (-5, 4)])
def test_a_shifted_picture_has_moved_by_its_shift(picture, right, down):
    before, newest = cut(picture, 0, 0), cut(picture, right, down)
    motion = measure(newest, before)
    assert motion.shape == (1, 2, SIZE, SIZE)
    inside = motion[..., 8:-8, 8:-8].mean((0, 2, 3)) * SIZE / 2
    assert inside.tolist() == pytest.approx([-right, -down], abs=0.15)
    fetched = warp(before, motion)[..., 8:-8, 8:-8]
    torch.testing.assert_close(fetched, newest[..., 8:-8, 8:-8], atol=0.03, rtol=0)


def test_every_clip_has_its_own_motion(picture):
    before = cut(picture, 0, 0).repeat(2, 1, 1, 1)
    newest = torch.cat([cut(picture, 3, 0), cut(picture, 0, 3)])
    motion = measure(newest, before)
    for number in range(2):
        alone = measure(newest[number : number + 1], before[number : number + 1])
        assert torch.equal(motion[number], alone[0])


def test_a_frame_of_another_shape_is_measured_along_its_own_sides(picture):
    wide = picture[None, :, 8:40]
    motion = measure(wide.roll(4, -1), wide)[..., 8:-8, 12:-8]
    assert float(motion[:, 0].mean()) == pytest.approx(-4 * 2 / wide.shape[-1], abs=0.01)
    assert float(motion[:, 1].mean()) == pytest.approx(0, abs=0.01)
