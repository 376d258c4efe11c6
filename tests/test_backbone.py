"""Encoders and decoders: the split convolution is the concatenated one, at every size."""

import pytest
import torch
from torch.nn import functional

from drsvg_cli.model.backbone import Decoder, Encoder, level_channels

BACKBONES = ("dcgan", "vgg")


def concatenated(decoder, backbone, outputs, skips):
    """Decode outputs `(B, D)` with one convolution over both halves, concatenated."""
    maps = decoder.start(outputs[:, :, None, None])
    for level, skip in zip(decoder.levels, reversed(skips), strict=True):
        if backbone == "vgg":
            enlarged = maps.repeat_interleave(2, -1).repeat_interleave(2, -2)
            both = torch.cat([enlarged, skip], 1)
            weight = torch.cat([level.above.weight, level.skip.weight], 1)
            maps = functional.conv2d(both, weight, level.above.bias, padding=1)
        else:
            both = torch.cat([maps, skip], 1)
            weight = torch.cat([level.above.weight, level.skip.weight], 0)
            maps = functional.conv_transpose2d(both, weight, level.above.bias, stride=2, padding=1)
        maps = level.rest(maps)
    return maps


@torch.no_grad()
@pytest.mark.parametrize("normalization", ["batch", "group"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_prepared_skips_equal_one_convolution_over_the_concatenation(
    tiny_model, noisy_frames, backbone, normalization
):
    model = tiny_model(backbone=backbone, normalization=normalization)
    _, skips = model.encoder(noisy_frames(2, 3, 32, 32))
    outputs = torch.tanh(torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1)))
    maps = model.decoder(outputs, model.decoder.prepare(skips, None), torch.ones(3))
    maps = maps.unflatten(0, (3, 2))
    for k in range(3):
        expected = concatenated(model.decoder, backbone, outputs[k], skips)
        torch.testing.assert_close(maps[k], expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(maps[0], maps[1], atol=1e-3)


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("normalization", ["batch", "group"])
def test_shapes_and_gradients(tiny_config, noisy_frames, backbone, size, normalization):
    config = tiny_config(backbone=backbone, size=size, normalization=normalization, width=2)
    encoder, decoder = Encoder(config, 3), Decoder(config, maps=3, moving=True)
    features, skips = encoder(noisy_frames(2, 3, size, size))
    assert features.shape == (2, 8)
    assert features.abs().max() <= 1
    finest = size if backbone == "vgg" else size // 2
    assert [skip.shape[1] for skip in skips] == level_channels(config)
    assert [skip.shape[2] for skip in skips] == [finest // 2**n for n in range(len(skips))]
    assert finest // 2 ** (len(skips) - 1) == (8 if backbone == "vgg" else 4)
    ahead = torch.arange(3.0) + 1
    motion = noisy_frames(2, 2, size, size)
    maps = decoder(features.expand(3, 2, 8), decoder.prepare(skips, motion), ahead)
    assert maps.shape == (6, 3, size, size)
    (maps * torch.linspace(-1, 1, maps.numel()).reshape(maps.shape)).sum().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("width", [2, 9, 12, 36])
def test_any_width_can_be_group_normalised(tiny_config, noisy_frames, width):
    config = tiny_config(normalization="group", width=width, feature_dim=30)
    features, _ = Encoder(config, 3)(noisy_frames(2, 3, 32, 32))
    assert torch.isfinite(features).all()
    assert features.std() > 0.1  # a group of one value would be all zeros


def test_the_channels_double_up_to_eight_widths(tiny_config):
    assert level_channels(tiny_config(size=128, width=4)) == [4, 8, 16, 32, 32]
    assert level_channels(tiny_config(size=64, width=4, backbone="vgg")) == [4, 8, 16, 32]


def test_a_vgg_encoder_has_the_convolutions_of_vgg16(tiny_config):
    encoder = Encoder(tiny_config(size=64, backbone="vgg"), 3)
    assert [len(level) for level in encoder.levels] == [2, 2, 3, 3]


@torch.no_grad()
def test_a_predictor_s_output_can_move_a_quarter_of_the_picture(tiny_model, noisy_frames):
    """The linear layer adds a coarse grid to every map, of this output alone."""
    model = tiny_model(head="warp")
    _, skips = model.encoder(noisy_frames(2, 8, 32, 32))
    prepared = model.decoder.prepare(skips, torch.zeros(2, 2, 32, 32))
    outputs = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1))
    ahead = torch.arange(3.0) + 1
    model.decoder.sweep.weight.zero_()
    model.decoder.sweep.bias.zero_()
    plain = model.decoder(outputs, prepared, ahead)
    grid = model.decoder.sweep.weight.unflatten(0, (7, 4, 4))
    grid[4, :2, 2:] = torch.linspace(-1, 1, 9)  # map 4, at the upper right
    added = model.decoder(outputs, prepared, ahead) - plain
    assert added[:, [0, 1, 2, 3, 5, 6]].abs().max() < 1e-6
    told = torch.cat([outputs, (ahead / 8).log1p()[:, None, None].expand(3, 2, 1)], -1)
    expected = (told @ torch.linspace(-1, 1, 9)).flatten()[:, None, None]
    torch.testing.assert_close(added[:, 4, :12, 20:], expected.expand(6, 12, 12))
    assert added[:, 4, 20:].abs().max() < 1e-6 and added[:, 4, :, :12].abs().max() < 1e-6
