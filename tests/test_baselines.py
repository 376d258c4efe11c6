"""Predictions with no learned weight: copies, and measured motion that goes on."""

import cv2
import numpy as np
import pytest

from drsvg_cli.inference.baselines import BASELINES
from drsvg_cli.optical_flow import extend_path, fetch, interpolate, measure_flow


@pytest.fixture(scope="module")
def texture():
    noise = np.random.default_rng(0).integers(0, 256, (160, 200, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3) * np.uint8(2)


def clip(texture, speed, count):
    """A camera that pans to the right, frames `(count, 64, 96, 3)`."""
    return np.stack([texture[20:84, 20 + speed * k : 116 + speed * k] for k in range(count)])


def drawn(name, observed, horizon, seeds, **options):
    """Collect what a baseline predicts, `(S, T, H, W, 3)`."""
    found = np.zeros((len(seeds), horizon, *observed.shape[1:]), np.uint8)
    steps = options.get("between", 0) + 1
    for moment in BASELINES[name]().predict(observed, horizon // steps, seeds=seeds, **options):
        assert moment.frames.dtype == np.uint8
        found[list(moment.samples), moment.time] = moment.frames
    return found


def test_motion_is_measured_in_pixels_a_frame(texture):
    flow = measure_flow(clip(texture, 3, 3))
    assert flow.shape == (64, 96, 2) and flow.dtype == np.float32
    assert np.median(flow[..., 0]) == pytest.approx(3, abs=0.1)
    assert np.median(flow[..., 1]) == pytest.approx(0, abs=0.1)
    two = measure_flow(clip(texture, 3, 2))
    assert np.median(two[..., 0]) == pytest.approx(3, abs=0.1)
    assert not measure_flow(clip(texture, 3, 1)).any()


def test_a_path_is_followed_along_its_field():
    """Where things are faster further on, each step of a path is longer than the one before."""
    flow = np.zeros((4, 64, 2), np.float32)
    flow[..., 0] = 0.1 * np.arange(64)
    path = np.zeros_like(flow)
    for _ in range(3):
        path = extend_path(path, flow)
    # x goes to 1.1 x, three times: not 3 times 0.1 x. OpenCV knows 32 places within a pixel.
    expected = np.broadcast_to((1.1**3 - 1) * np.arange(48), (4, 48))
    np.testing.assert_allclose(path[:, :48, 0], expected, atol=0.02)


def test_beyond_the_border_the_nearest_pixel_is_taken():
    frame = np.arange(8, dtype=np.uint8)[None, :, None].repeat(3, 2).repeat(8, 0)
    path = np.full((8, 8, 2), 5, np.float32)
    assert fetch(frame, path)[0, :, 0].tolist() == [5, 6, 7, 7, 7, 7, 7, 7]


def test_the_measured_motion_goes_on(texture):
    whole = clip(texture, 3, 9)
    copy, motion = (drawn(name, whole[:5], 4, [1])[0] for name in ("copy", "motion"))
    assert (copy == whole[4]).all()
    inside = (slice(None), slice(8, -8), slice(8, -24))
    errors = [np.abs(x[inside].astype(int) - whole[5:][inside]).mean() for x in (copy, motion)]
    assert errors[1] < 0.1 * errors[0]


def test_samples_differ_in_their_speed_alone(texture):
    observed = clip(texture, 3, 5)
    samples = drawn("motion-speeds", observed, 3, [1, 2, 3])
    assert (samples == drawn("motion-speeds", observed, 3, [1, 2, 3])).all()
    assert (samples[1] == drawn("motion-speeds", observed, 3, [2])[0]).all()
    assert (samples[0] != samples[1]).any()
    still = drawn("motion-speeds", observed, 3, [1, 2], temperature=0)
    assert (still == drawn("motion", observed, 3, [1, 2])).all()


@pytest.mark.parametrize("name", BASELINES)
def test_two_gray_frames_are_enough(name):
    observed = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 1), np.uint8).repeat(3, -1)
    assert drawn(name, observed, 2, [5]).shape == (1, 2, 32, 48, 3)


@pytest.mark.parametrize("name", BASELINES)
def test_frames_between_leave_the_others_as_they_are(texture, name):
    observed = clip(texture, 3, 4)
    plain = drawn(name, observed, 2, [1, 2])
    finer = drawn(name, observed, 6, [1, 2], between=2)
    assert np.array_equal(finer[:, 2::3], plain)


def test_frames_between_two_move_from_one_to_the_other(texture):
    steps = clip(texture, 2, 5)  # 2 pixels a step, seen every fourth
    made = list(interpolate(steps[0], steps[4], 3))
    for index, frame in enumerate(made, start=1):
        inside = np.s_[8:-8, 12:-12]
        errors = [np.abs(frame[inside].astype(int) - step[inside]).mean() for step in steps]
        assert np.argmin(errors) == index and errors[index] < 4
