"""Encoders and decoders: the split convolution is the concatenated one, at every size."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from drsvg_cli.model.backbone import Decoder, Encoder, level_channels
from drsvg_cli.model.folding import fold_batchnorm

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
    return torch.sigmoid(maps)


@torch.no_grad()
@pytest.mark.parametrize("backbone", BACKBONES)
def test_prepared_skips_equal_one_convolution_over_the_concatenation(
    tiny_model, noisy_frames, backbone
):
    model = tiny_model(backbone=backbone)
    _, skips = model.encoder(noisy_frames(2, 3, 32, 32))
    outputs = torch.tanh(torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1)))
    maps = model.decoder(outputs, model.decoder.prepare(skips))
    for k in range(3):
        expected = concatenated(model.decoder, backbone, outputs[k], skips)
        torch.testing.assert_close(maps[k], expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(maps[0], maps[1], atol=1e-3)


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_shapes_and_gradients(tiny_config, noisy_frames, backbone, size):
    config = tiny_config(backbone=backbone, size=size, width=2)
    encoder, decoder = Encoder(config), Decoder(config)
    features, skips = encoder(noisy_frames(2, 3, size, size))
    assert features.shape == (2, 8)
    assert features.abs().max() <= 1
    finest = size if backbone == "vgg" else size // 2
    assert [skip.shape[1] for skip in skips] == level_channels(config)
    assert [skip.shape[2] for skip in skips] == [finest // 2**n for n in range(len(skips))]
    assert finest // 2 ** (len(skips) - 1) == (8 if backbone == "vgg" else 4)
    maps = decoder(features.expand(3, 2, 8), decoder.prepare(skips))
    assert maps.shape == (3, 2, 3, size, size)
    (maps * torch.linspace(-1, 1, maps.numel()).reshape(maps.shape)).sum().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_channels_double_up_to_eight_widths(tiny_config):
    assert level_channels(tiny_config(size=128, width=4)) == [4, 8, 16, 32, 32]
    assert level_channels(tiny_config(size=64, width=4, backbone="vgg")) == [4, 8, 16, 32]


def test_a_vgg_encoder_has_the_convolutions_of_vgg16(tiny_config):
    encoder = Encoder(tiny_config(size=64, backbone="vgg"))
    assert [len(level) for level in encoder.levels] == [2, 2, 3, 3]


@torch.no_grad()
@pytest.mark.parametrize("backbone", BACKBONES)
def test_folding_batch_normalisation_changes_no_frame(tiny_model, noisy_frames, backbone):
    model, frames = tiny_model(backbone=backbone), noisy_frames(2, 3, 3, 32, 32)
    encoded = model.encode(frames)
    predicted = model.decoder(encoded.features, model.decoder.prepare(encoded.skips_at(0)))
    assert fold_batchnorm(model) is model
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    again = model.encode(frames)
    torch.testing.assert_close(again.features, encoded.features, atol=1e-4, rtol=1e-4)
    found = model.decoder(again.features, model.decoder.prepare(again.skips_at(0)))
    torch.testing.assert_close(found, predicted, atol=1e-4, rtol=1e-4)
