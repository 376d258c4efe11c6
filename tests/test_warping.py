"""Flows lead to the right places: fetched, carried and followed pixel by pixel."""

from itertools import product

import pytest
import torch

from drsvg_cli.model.warping import CRACK, STILL, carry, trace, warp


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, 5), (-2, 4), (-7, -1)])
def test_an_integer_flow_moves_content_and_the_border_repeats(noisy_frames, right, down):
    frames = noisy_frames(1, 3, 32, 64)
    flow = torch.zeros(1, 2, 32, 64)
    flow[:, 0], flow[:, 1] = -right * 2 / 64, -down * 2 / 32
    moved = warp(frames, flow)
    for y in range(32):
        for x in range(64):
            source = frames[:, :, min(max(y - down, 0), 31), min(max(x - right, 0), 63)]
            torch.testing.assert_close(moved[:, :, y, x], source, atol=1e-5, rtol=0)


@pytest.mark.parametrize("down", [False, True])
def test_what_a_frame_shows_is_followed_until_it_is_covered(down):
    """A square goes 3 pixels to the right a frame; the ground before it is lost from sight.

    The same downwards, where x and y have changed places.
    """
    motion = torch.zeros(4, 1, 2, 32, 32)
    for step, left in enumerate((6, 9, 12, 15)):
        motion[step, :, 0, 10:18, left : left + 8] = -3 * 2 / 32
    if down:
        speeds, seen = trace(motion.mT.flip(2))
        speeds, seen = speeds.mT.flip(2), seen.mT
    else:
        speeds, seen = trace(motion)
    expected = torch.tensor([-3 * 2 / 32, 0.0])[:, None, None].expand(4, 2, 6, 4)
    torch.testing.assert_close(speeds[:, 0, :, 11:17, 6:10], expected)
    assert seen[:, 0, 0, 11:17, 6:10].all()
    assert not seen[3, 0, 0, 11:17, 16:20].any(), "the square has come there"
    assert seen[:, 0, 0, :8].all() and speeds[..., :8, :].abs().max() == 0


def test_carried_values_arrive_where_things_have_moved_to():
    """As a loop over pixels does it; what moved more is in front of what moved less."""
    height, width, size = 6, 8, 8
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 3, height, width, generator=generator)
    flow = torch.randn(2, 2, height, width, generator=generator)
    flow[:, :, ::2] = 0
    totals = torch.zeros(2, 5, height, width)  # values and their weights, and how many they are
    for n, y, x in product(range(2), range(height), range(width)):
        right, down = (-flow[n, :, y, x] * torch.tensor([width / 2, height / 2])).tolist()
        weight = STILL + float((flow[n, :, y, x] * size / 2).square().sum()) ** 2
        for row, column in product(range(height), range(width)):
            share = max(0, 1 - abs(row - y - down)) * max(0, 1 - abs(column - x - right))
            told = torch.tensor([*(values[n, :, y, x] * weight), weight, 1])
            totals[n, :, row, column] += share * told
    for axis, length in ((2, height), (3, width)):
        places = torch.arange(length)
        near = torch.exp(-(((places - places[:, None]) / (CRACK * length / size)) ** 2) / 2)
        totals = torch.tensordot(totals, near / near.sum(1, keepdim=True), ([axis], [1]))
        totals = totals.movedim(-1, axis)
    carried, covered = carry(values, flow, size)
    torch.testing.assert_close(covered, (2 * totals[:, 4:]).clamp(max=1))
    torch.testing.assert_close(carried, totals[:, :3] / (totals[:, 3:4] + 1e-3 * STILL))
    assert covered.min() < 0.5 < covered.max()
