"""A warp of nothing is nothing, and an integer displacement is a shift, at any size."""

import math

import pytest
import torch

from drsvg_cli.frames import to_frames
from drsvg_cli.inference.rollout import predict
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.heads import (
    FORWARD_GAIN,
    HALF_REACH,
    SPEED_GAIN,
    ForwardWarpHead,
    PixelsHead,
    Reference,
    Travel,
    WarpHead,
    saturate,
)
from drsvg_cli.model.warping import warp

OPEN, SHUT = 0.0, -8.0  # within reach of training, and yet a pixel is kept exactly or not at all
NEXT = torch.ones(1)  # the frame after the reference
LATER = NEXT * 10


@pytest.fixture
def head(tiny_config):
    return WarpHead(tiny_config(head="warp"))


@pytest.fixture
def forward(tiny_config):
    return ForwardWarpHead(tiny_config(head="forward_warp"))


def warp_maps(clips, height, width, *, flow=(0.0, 0.0), change=0.0, mask=OPEN):
    """Maps of three colours, a uniform speed and its change, and a mask."""
    values = torch.tensor([0.7, -0.3, 0.1, *flow, change, mask])
    return values[None, :, None, None].expand(clips, 7, height, width).clone()


def render(head, maps, reference, ahead):
    """Compose frames from the maps of all times at once."""
    return head.compose(maps, reference, ahead, head.travel(maps, reference, ahead))


def still(frame):
    """Refer to a frame of which nothing is known to move."""
    return Reference(frame, torch.zeros_like(frame[:, :2]))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 128)])
def test_no_flow_and_an_open_mask_give_exactly_the_reference(head, noisy_frames, height, width):
    reference = noisy_frames(2, 3, height, width)
    assert torch.equal(render(head, warp_maps(2, height, width), still(reference), NEXT), reference)


def test_no_flow_is_exact_to_the_last_level_at_odd_sizes(head, noisy_frames):
    levels = (noisy_frames(1, 3, 45, 37) * 255).round() / 255
    composed = render(head, warp_maps(1, 45, 37), still(levels), NEXT)
    assert (to_frames(composed) == to_frames(levels)).all()


def test_a_saturated_mask_still_learns():
    """A clamp has no gradient outside its range: a pixel once kept would be kept for ever."""
    values = torch.tensor([-0.05, 0.3, 1.05], requires_grad=True)
    saturated = saturate(values)
    assert saturated.tolist() == [0, values[1].item(), 1]
    saturated.sum().backward()
    assert values.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize("backbone", ["dcgan", "vgg"])
def test_training_starts_from_a_copy_where_nothing_moved(tiny_config, noisy_frames, backbone):
    model = DRSVG(tiny_config(head="warp", backbone=backbone)).eval()
    context = noisy_frames(3, 3, 32, 32)[None, :1].expand(-1, 3, -1, -1, -1)
    predicted = predict(model, context, 2, seeds=[0]).frames
    assert torch.equal(predicted[0, 0], context[0, :2])


@pytest.mark.parametrize(("change", "factor"), [(0.0, 1), (1.0, 2), (-1.0, 0)])
def test_what_moves_moves_on_unless_the_maps_change_its_speed(head, noisy_frames, change, factor):
    """Four pixels to the right a frame, at the third frame."""
    reference = noisy_frames(1, 3, 64, 64)
    motion = torch.tensor([-4 * 2 / 64, 0.0])[None, :, None, None].expand(1, 2, 64, 64)
    maps = warp_maps(1, 64, 64, change=change * (3 + HALF_REACH) / 3)
    moved = render(head, maps, Reference(reference, motion), NEXT * 3)
    shift = 4 * 3 * factor
    expected = reference.roll(shift, -1)[..., shift:]
    torch.testing.assert_close(moved[..., shift:], expected, atol=1e-4, rtol=0)


def test_speeds_add_up_over_time(head, noisy_frames):
    """Two pixels at the first frame, four more at the second: six; frame by frame or at once."""
    reference = still(noisy_frames(1, 3, 32, 32))
    ahead = torch.tensor([1.0, 2.0])
    reach = ahead / (ahead + HALF_REACH)
    speeds = torch.tensor([2.0, 4.0]) * 2 / 32 / SPEED_GAIN / reach
    maps = torch.cat([warp_maps(1, 32, 32, flow=(float(speed), 0.0)) for speed in speeds])
    at_once = head.travel(maps, reference, ahead)
    for number, pixels in enumerate((2, 6)):
        torch.testing.assert_close(at_once.shift[number, 0], torch.full((32, 32), pixels * 2 / 32))
    assert at_once.times.flatten(1).unique(dim=1).flatten().tolist() == [1, 2]
    first = head.travel(maps[:1], reference, ahead[:1])
    second = head.travel(maps[1:], reference, ahead[1:], first)
    torch.testing.assert_close(second.shift, at_once.shift[1:])
    assert second.ahead.tolist() == [2]


def test_a_speed_holds_for_the_frames_that_are_left_out(head, noisy_frames):
    reference = still(noisy_frames(1, 3, 32, 32))
    maps = warp_maps(2, 32, 32, flow=(3.0, -1.0))
    ahead = torch.tensor([2.0, 5.0])
    shift = head.travel(maps, reference, ahead).shift
    reach = ahead / (ahead + HALF_REACH)
    expected = 2 * reach[0] * 3 + 3 * reach[1] * 3
    torch.testing.assert_close(shift[1, 0], torch.full((32, 32), float(expected) * SPEED_GAIN))


@pytest.mark.parametrize("size", [32, 96])
def test_a_ragged_warp_is_smoothed_the_more_the_further_ahead(head, noisy_frames, size):
    """Neighbours that are fetched from different places stay nearer to where they were."""
    reference = still(noisy_frames(1, 3, size, size))
    shift = 0.1 * (noisy_frames(1, 2, size, size, seed=1) - 0.5)
    travel = Travel(torch.ones(1, 1, size, size), shift, shift, shift, shift, NEXT)
    composed = [
        head.compose(warp_maps(1, size, size), reference, NEXT * step, travel)
        for step in (1, 2, 10)
    ]
    assert torch.equal(composed[0], warp(reference.frame, shift))
    torn, mended, smooth = ((each - reference.frame).abs().mean() for each in composed)
    assert torn > mended > 2 * smooth > 0


@pytest.mark.parametrize("factor", [1, 3])
def test_what_moves_keeps_together_and_what_stands_still_beside_it_stays(tiny_config, factor):
    """A block moves by six pixels, and its rows by up to three more or less."""
    head, size = WarpHead(tiny_config(head="warp", size=64)), 64 * factor
    ramp = ((torch.arange(size) + 0.5) / size).expand(1, 3, size, size).contiguous()
    shift = torch.zeros(1, 2, 64, 64)
    told = 6 + 3 * torch.sin(torch.arange(32) * 2 * math.pi / 16)
    shift[:, 0, 16:48, 20:52] = told[:, None] * 2 / 64
    travel = Travel(torch.ones(1, 1, 64, 64), shift, shift, shift, shift, NEXT)
    made = head.compose(warp_maps(1, 64, 64), still(ramp), LATER, travel)
    moved = (made - ramp)[0, 0] * 64
    rows = moved[:, size // 2][16 * factor : 48 * factor].unflatten(0, (32, factor)).mean(1)
    assert rows[4:-4].std() < told.std() / 4
    assert 6 <= rows.mean() < 8, "what moved more counts more"
    assert moved[: 8 * factor].abs().max() < 1e-2 > moved[:, : 8 * factor].abs().max()


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("factor", [1, 3])
def test_maps_can_be_composed_at_the_size_of_a_larger_reference(head, noisy_frames, factor, step):
    """The same maps move a larger reference by as much of the frame."""
    pixels = 4
    size = 32 * factor
    reference = noisy_frames(1, 3, size, size)
    speed = 2 * pixels / 32 / step * (step + HALF_REACH) / step
    maps = warp_maps(1, 32, 32, flow=(speed / SPEED_GAIN, 0.0))
    ahead = NEXT * step
    travel = head.travel(maps, still(reference[..., :32, :32]), ahead)
    moved = head.compose(maps, still(reference), ahead, travel)
    shift = pixels * factor
    torch.testing.assert_close(
        moved[..., :-shift], reference[..., shift:], atol=2e-4 * factor, rtol=0
    )


def square_that_moves(pixels, steps):
    """Show a square on a lighter ground, and maps that give a speed to its place alone."""
    frame = torch.full((1, 3, 64, 64), 0.75)
    frame[..., 12:20, 6:14] = torch.linspace(0.1, 0.5, 8)
    maps = warp_maps(steps, 64, 64)
    maps[:, 3, 10:22, 4:16] = -pixels * 2 / 64 / FORWARD_GAIN
    return frame, maps, torch.arange(1.0, steps + 1)


def test_a_forward_warp_takes_a_thing_s_speed_along_with_it(head, forward):
    """Three pixels a frame for five frames: it is whole, and the ground behind it is drawn."""
    frame, maps, ahead = square_that_moves(3, 5)
    expected = torch.linspace(0.1, 0.5, 8).expand(3, 6, 8)
    of_places = maps.clone()
    of_places[:, 3] *= FORWARD_GAIN / SPEED_GAIN * ((ahead + HALF_REACH) / ahead)[:, None, None]
    for each, told, whole in ((forward, maps, True), (head, of_places, False)):
        moved = render(each, told, still(frame), ahead)[4, :, 13:19, 21:29]
        assert ((moved - expected).abs().max() < 0.02) == whole
    travel = forward.travel(maps, still(frame), ahead)
    speed = travel.speed[4, 0]
    torch.testing.assert_close(
        speed[13:19, 21:29], torch.full((6, 8), -3 * 2 / 64), atol=1e-3, rtol=0
    )
    assert speed[:, :12].abs().max() < 1e-4 > speed[:, 40:].abs().max()
    last = render(forward, maps, still(frame), ahead)[4]
    drawn = torch.sigmoid(maps[4, :3, 0, 0])[:, None, None].expand(3, 6, 4)
    torch.testing.assert_close(last[:, 13:19, 8:12], drawn, atol=1e-3, rtol=0)
    assert torch.equal(last[..., 40:], frame[0, :, :, 40:])
    assert torch.equal(last[..., 30:, :], frame[0, :, 30:])


def test_a_forward_warp_lets_a_body_go_on_and_a_limb_for_a_little_while(forward, noisy_frames):
    """All of a picture goes on as measured; a small part keeps little more than a tenth of it."""
    ahead, four = torch.arange(1.0, 11), -4 * 2 / 64
    motion = torch.zeros(1, 2, 64, 64)
    motion[:, 0, 29:35, 29:35] = four
    frame, maps = noisy_frames(1, 3, 64, 64), warp_maps(10, 64, 64)
    whole = torch.full((1, 2, 64, 64), four)
    for seen, least, most in ((whole, 1.0, 1.0), (motion, 0.1, 0.2)):
        told = forward.travel(maps, Reference(frame, seen), ahead).told[:, 0, 32, 32] / four
        torch.testing.assert_close(told[0], torch.tensor(1.0))
        assert least - 1e-5 <= told[-1] <= most + 1e-5


def test_the_parts_of_a_body_that_moves_keep_together(forward):
    """Its middle moves by three pixels a frame, both ends by two; after ten frames it is whole."""
    frame, maps = torch.full((1, 3, 64, 64), 0.8), warp_maps(10, 64, 64)
    frame[:, :, 16:48, 50:56] = 0.2
    for rows, pixels in ((slice(16, 48), 2), (slice(24, 40), 3)):
        maps[:, 3, rows, 48:58] = pixels * 2 / 64 / FORWARD_GAIN
    frames = render(forward, maps, still(frame), torch.arange(1.0, 11))
    dark = (0.5 - frames[:, 0]).clamp(min=0)
    place = (dark * torch.arange(64)).sum(-1) / dark.sum(-1)
    lag = place[:, [18, 46]].mean(1) - place[:, 32]
    torch.testing.assert_close(lag[0], torch.tensor(1.0), atol=0.1, rtol=0)
    assert lag[-1] < 5
    assert place[-1, 32] < 52.5 - 2.5 * 10
    assert torch.equal(frames[-1, ..., :12], frame[0, ..., :12])


def test_a_forward_warp_aims_at_the_motion_of_what_it_moves(head, forward):
    motion = torch.zeros(2, 1, 2, 32, 32)
    motion[0, :, 0, :, 8:16], motion[1, :, 0, :, 12:20] = -4 * 2 / 32, -4 * 2 / 32
    assert head.aim(motion)[0] is motion
    aim, _ = forward.aim(motion)
    torch.testing.assert_close(aim[1, 0, 0, :, 8:12], motion[1, 0, 0, :, 16:20])
    assert (aim[1, 0, 0, :, :3] == 0).all()


@pytest.mark.parametrize("factor", [3, 9])
def test_a_forward_warp_moves_a_view_as_the_frame(forward, factor):
    """At so many times the size, a thing and its speed are as many times as large."""
    frame, maps, ahead = square_that_moves(3, 2)
    travel = forward.travel(maps, still(frame), ahead)
    large = frame.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    view = forward.compose(maps, still(large), ahead, travel)[1]
    own = forward.compose(maps, still(frame), ahead, travel)[1]
    inner = view[:, factor // 2 :: factor, factor // 2 :: factor][:, 13:19, 12:20]
    torch.testing.assert_close(inner, own[:, 13:19, 12:20], atol=0.03, rtol=0)


def test_broken_flows_show(forward, noisy_frames):
    """Weights that are no numbers give frames that are none, wherever they would have led."""
    maps = warp_maps(1, 64, 64, flow=(math.nan, 0.0))
    assert render(forward, maps, still(noisy_frames(1, 3, 64, 64)), NEXT).isnan().any()


def test_a_shut_mask_gives_the_colours_alone(head, noisy_frames):
    maps = warp_maps(1, 32, 32, flow=(3.0, 2.0), mask=SHUT)
    expected = torch.sigmoid(maps[:, :3])
    torch.testing.assert_close(
        render(head, maps, still(noisy_frames(1, 3, 32, 32)), LATER), expected
    )


def test_every_frame_is_composed_from_its_own_clip_s_reference(head, noisy_frames):
    reference = noisy_frames(2, 3, 32, 32)
    composed = render(head, warp_maps(6, 32, 32), still(reference), torch.tensor([1.0, 2, 3]))
    composed = composed.unflatten(0, (3, 2))
    for k in range(3):
        assert torch.equal(composed[k], reference)


def test_a_composed_frame_stays_in_range(head, noisy_frames):
    maps = torch.randn(4, 7, 32, 32, generator=torch.Generator().manual_seed(0)) * 20
    composed = render(head, maps, still(noisy_frames(2, 3, 32, 32)), torch.tensor([1.0, 2]))
    assert composed.min() >= 0 and composed.max() <= 1


def test_the_pixels_head_is_a_sigmoid(tiny_config, noisy_frames):
    head = PixelsHead(tiny_config(channels=1))
    maps = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert head.maps == 1
    expected = 1 / (1 + torch.exp(-maps))
    torch.testing.assert_close(
        render(head, maps, Reference(noisy_frames(2, 1, 32, 32), None), NEXT), expected
    )


def test_how_far_apart_things_keep_together_is_a_setting(tiny_config):
    shift = torch.zeros(1, 2, 64, 64)
    shift[:, 0, 16:48, 20:52] = 0.2
    shift[:, 0, 16:48:2, 20:52] = 0.1
    spreads = []
    for company in (0.3, 8.0):
        head = WarpHead(tiny_config(head="warp", size=64, company=company))
        spreads.append(head._together(shift, torch.tensor(10.0))[0, 0, 24:40, 28:44].std())
    assert spreads[1] < spreads[0] / 2
