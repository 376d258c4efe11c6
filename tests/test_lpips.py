"""LPIPS: what an independent program of the published definition computes with the same weights."""

from importlib.resources import files

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from drsvg_cli.evaluation.lpips import LPIPS, SMALLEST

REFERENCE = 0.23104, 0.01630


@pytest.fixture(scope="module")
def lpips():
    return LPIPS()


def pictures(height, width):
    """Two smooth pictures and a noisy copy of the first, `(3, 3, height, width)`."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 8, 8, generator=generator)
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    noise = 0.1 * torch.rand(1, 3, height, width, generator=generator)
    return torch.cat([smooth, (smooth[:1] + noise).clamp(0, 1)])


def published(first, second):
    """LPIPS as its paper writes it: AlexNet as torchvision lays it out, and five linear layers."""
    data = files("drsvg_cli.evaluation").joinpath("lpips.safetensors").read_bytes()
    weights = safetensors.torch.load(data)
    network = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1),
        nn.ReLU(),
    ).double()
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    for number, layer in enumerate(convolutions):
        layer.weight.data = weights[f"conv{number}.weight"].double()
        layer.bias.data = weights[f"conv{number}.bias"].double()
    shift = torch.tensor([-0.030, -0.088, -0.188]).double().view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).double().view(1, 3, 1, 1)
    one, other = ((2 * each.double() - 1 - shift) / scale for each in (first, second))
    total, number = 0.0, 0
    for layer in network:
        one, other = layer(one), layer(other)
        if isinstance(layer, nn.ReLU):
            difference = functional.normalize(one, dim=1) - functional.normalize(other, dim=1)
            linear = weights[f"linear{number}.weight"].double()
            total += functional.conv2d(difference**2, linear).mean((1, 2, 3))
            number += 1
    return total


def distance(lpips, frames, others):
    return (lpips.features(frames) - lpips.features(others)).square().sum(1)


@pytest.mark.parametrize("size", [(64, 64), (128, 229), (SMALLEST, SMALLEST)])
@torch.no_grad()
def test_it_is_the_published_distance(lpips, size):
    first, second, noisy = pictures(*size).split(1)
    for other in (second, noisy):
        found = distance(lpips, first, other)
        torch.testing.assert_close(found.double(), published(first, other), rtol=1e-4, atol=1e-6)


def test_reference_values(lpips):
    """Computed once, by another program, from the same weights and pictures."""
    first, second, noisy = pictures(64, 64).split(1)
    with torch.no_grad():
        found = [float(distance(lpips, first, other)) for other in (second, noisy, first)]
    assert found == pytest.approx([*REFERENCE, 0.0], abs=2e-5)


def test_haze_is_worse_than_a_small_shift(lpips):
    """What it is for: PSNR says the opposite."""
    generator = torch.Generator().manual_seed(1)
    sharp = torch.rand(1, 3, 96, 96, generator=generator)
    sharp = functional.interpolate(sharp, scale_factor=2, mode="nearest")
    shifted, haze = sharp.roll(2, -1), functional.avg_pool2d(sharp, 5, 1, 2)
    with torch.no_grad():
        assert distance(lpips, sharp, shifted) < 0.5 * distance(lpips, sharp, haze)
    assert (sharp - shifted).square().mean() > (sharp - haze).square().mean()


def test_it_can_be_learned_from(lpips):
    frames = torch.rand(
        1, 3, 64, 64, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    distance(lpips, frames, torch.full_like(frames, 0.5)).sum().backward()
    assert bool(frames.grad.abs().sum() > 0)
