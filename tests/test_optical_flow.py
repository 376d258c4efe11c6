"""Measured motion is what was done to a picture."""

import cv2
import numpy as np
import pytest

from drsvg_cli.optical_flow import (
    extend_path,
    fetch,
    fetcher,
    interpolate,
    measure_evidence,
    measure_flow,
    measure_steps,
    resize_flow,
)

SIZE = 64


@pytest.fixture(scope="module")
def picture():
    """A smooth random picture `(H, W, 3)`, larger than a frame by 24 pixels on every side."""
    levels = np.random.default_rng(3).random((SIZE + 48, SIZE + 48, 3), np.float32)
    smooth = cv2.GaussianBlur(levels, (0, 0), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (255 * smooth).astype(np.uint8)


def clip(picture, right, down, count=3, height=SIZE):
    """Cut frames from a picture that moves by as many pixels a frame."""
    tops, lefts = ([24 - step * n for n in range(count)] for step in (down, right))
    cut = (picture[t : t + height, x : x + SIZE] for t, x in zip(tops, lefts, strict=True))
    return np.stack(list(cut))


def inside(flow):
    """Average a flow away from the border."""
    return flow[8:-8, 8:-8].mean((0, 1)).tolist()


@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, 0), (0, -3), (-3, 2)])
def test_a_shifted_picture_has_moved_by_its_shift(picture, right, down):
    frames = clip(picture, right, down)
    flow = measure_flow(frames)
    assert flow.shape == (SIZE, SIZE, 2)
    assert inside(flow) == pytest.approx([-right, -down], abs=0.15)
    fetched = fetch(frames[-2], flow)[8:-8, 8:-8].astype(int)
    assert np.abs(fetched - frames[-1, 8:-8, 8:-8]).mean() < 2


def test_a_single_frame_stands_still_and_two_are_enough(picture):
    frames = clip(picture, 3, 0)
    assert not measure_flow(frames[:1]).any()
    assert inside(measure_flow(frames[:2])) == pytest.approx([-3, 0], abs=0.15)
    assert inside(measure_evidence(frames[:1])[0]) == [0, 0]


def test_a_frame_of_another_shape_is_measured_along_its_own_sides(picture):
    frames = clip(picture, 4, 1, height=40)
    assert inside(measure_flow(frames)) == pytest.approx([-4, -1], abs=0.15)


def test_evidence_is_per_frame_however_far_back_it_looks(picture):
    flows = measure_evidence(clip(picture, 2, -1, count=6))
    assert flows.shape == (4, SIZE, SIZE, 2)
    for flow in flows:
        assert inside(flow) == pytest.approx([-2, 1], abs=0.15)


def test_steps_are_those_between_frames_at_half_the_size(picture):
    steps = measure_steps(clip(picture, 4, 2, count=4))
    assert steps.shape == (4, SIZE // 2, SIZE // 2, 2)
    assert not steps[0].any()
    for flow in steps[1:]:
        assert inside(flow) == pytest.approx([-2, -1], abs=0.2)


def test_a_path_is_followed_a_frame_at_a_time():
    flow = np.broadcast_to(np.float32([-2, 1]), (SIZE, SIZE, 2)).copy()
    path = extend_path(extend_path(flow, flow), flow)
    np.testing.assert_allclose(path, 3 * flow, atol=1e-4)


@pytest.mark.parametrize(("factor", "beside"), [(1, 0), (9, 1.5)])
def test_a_small_frame_is_fetched_exactly_and_a_large_one_nearly(picture, factor, beside):
    frame = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    path = 3 * np.random.default_rng(1).random((*picture.shape[:2], 2), np.float32)
    wrong = fetcher(frame)(path).astype(int) - fetch(frame, path)
    assert np.sqrt(np.square(wrong).mean()) <= beside


def test_a_flow_of_another_size_counts_pixels_of_that_size():
    flow = np.broadcast_to(np.float32([-2, 1]), (32, 64, 2)).copy()
    larger = resize_flow(flow, (64, 192))
    assert larger.shape == (64, 192, 2)
    assert larger.mean((0, 1)).tolist() == pytest.approx([-6, 2], abs=1e-4)


def test_frames_in_between_lie_in_between(picture):
    before, middle, after = clip(picture, 4, 0)
    (between,) = interpolate(before, after, 1)
    wrong = np.abs(between.astype(int) - middle)[8:-8, 8:-8].mean()
    assert wrong < 0.25 * np.abs(before.astype(int) - middle)[8:-8, 8:-8].mean()
