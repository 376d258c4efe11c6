"""Frames keep their geometry and every level on the way to the model and back."""

import numpy as np
import pytest
import torch

from drsvg_cli.frames import (
    convert_channels,
    cut_out,
    fit,
    fit_all,
    put_back,
    resize,
    to_frames,
    to_tensor,
)


@pytest.fixture
def quarters():
    """A 20 x 60 frame of three upright bars: red, green, blue."""
    frame = np.zeros((20, 60, 3), np.uint8)
    for number in range(3):
        frame[:, 20 * number : 20 * number + 20, number] = 255
    return frame


def test_crop_keeps_the_centre_square(quarters):
    cropped = fit(quarters, 10, how="crop")
    assert cropped.shape == (10, 10, 3) and cropped.dtype == np.uint8
    assert (cropped == (0, 255, 0)).all()
    upright = fit(quarters.transpose(1, 0, 2), 10, how="crop")
    assert (upright == (0, 255, 0)).all()


def test_pad_keeps_the_whole_frame_between_black_borders(quarters):
    padded = fit(quarters, 30, how="pad")
    assert not padded[:10].any() and not padded[20:].any()
    for number in range(3):
        bar = padded[10:20, 10 * number : 10 * number + 10]
        assert (bar == np.eye(3, dtype=np.uint8)[number] * 255).all()
    upright = fit(quarters.transpose(1, 0, 2), 30, how="pad")
    assert (upright == padded.transpose(1, 0, 2)).all()


def test_stretch_fills_the_square_with_the_whole_frame(quarters):
    stretched = fit(quarters, 12, how="stretch")
    for number in range(3):
        bar = stretched[:, 4 * number : 4 * number + 4]
        assert (bar == np.eye(3, dtype=np.uint8)[number] * 255).all()


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_a_square_of_the_right_size_is_left_alone(how):
    frame = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert (fit(frame, 16, how=how) == frame).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(7, 5), (64, 64), (1, 1), (33, 8)])
def test_any_size_can_be_fitted(shape, channels):
    frames = np.random.default_rng(1).integers(0, 256, (2, *shape, channels), dtype=np.uint8)
    for how in ("crop", "pad", "stretch"):
        assert fit_all(frames, 32, how=how).shape == (2, 32, 32, channels)


def test_shrinking_averages():
    checks = np.indices((8, 8)).sum(0)[..., None].astype(np.uint8) % 2 * 200
    assert (resize(checks, width=4, height=4) == 100).all()


def test_every_level_survives_the_round_trip():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    frames = np.concatenate([levels, levels[:, ::-1], levels[:, :, ::-1]], axis=-1)
    tensor = to_tensor(frames, channels=3)
    assert tensor.shape == (1, 3, 16, 16) and tensor.dtype == torch.float32
    assert tensor.min() == 0 and tensor.max() == 1
    assert (to_frames(tensor) == frames).all()
    gray = to_tensor(levels.repeat(3, axis=-1), channels=1)
    assert gray.shape == (1, 1, 16, 16)
    assert (to_frames(gray) == levels).all()


def test_channels_and_axes_stay_where_they_belong():
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    frames[1, 3, 5, 2] = 255
    tensor = to_tensor(frames, channels=3)
    assert tensor[1, 2, 3, 5] == 1 and tensor.sum() == 1
    assert to_frames(tensor[None])[0, 1, 3, 5, 2] == 255


def test_a_view_turned_around_can_be_read():
    frames = np.random.default_rng(2).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    assert (to_frames(to_tensor(frames[::-1, :, ::-1], channels=3)) == frames[::-1, :, ::-1]).all()


def test_gray_is_bt_601_luma_in_floats_and_in_bytes():
    colors = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]])
    stack = colors.to(torch.uint8)[:, :, None, None]
    gray = convert_channels(stack, 1)
    assert gray.dtype == torch.uint8
    assert gray.flatten().tolist() == [76, 150, 29, 255]
    fine = convert_channels(stack.float() / 255, 1)
    torch.testing.assert_close(fine.flatten(), torch.tensor([0.299, 0.587, 0.114, 1.0]))
    assert convert_channels(gray, 3).shape == (4, 3, 1, 1)
    assert (convert_channels(gray, 3) == gray).all()
    assert convert_channels(stack, 3) is stack


def test_what_leaves_the_range_is_cut():
    levels = torch.tensor([-0.5, 0.0, 0.4999 / 255, 0.5001 / 255, 2.0])
    frames = to_frames(levels.reshape(5, 1, 1, 1))
    assert frames[:, 0, 0, 0].tolist() == [0, 0, 0, 1, 255]


@pytest.mark.parametrize("shape", [(20, 61, 3), (61, 20, 3), (30, 30, 3)])
@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_what_is_cut_out_can_be_put_back(how, shape):
    frame = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    part = cut_out(frame, how=how)
    assert how == "stretch" or part.shape[0] == part.shape[1]
    assert np.array_equal(put_back(part, frame, how=how), frame)
    changed = put_back(255 - part, frame, how=how)
    outside = changed == frame
    if how == "crop":  # all but the centre square is as it was
        assert outside.all(-1).sum() == abs(shape[0] - shape[1]) * 20 * (shape[0] != shape[1])
    else:
        assert np.array_equal(changed, 255 - frame)
