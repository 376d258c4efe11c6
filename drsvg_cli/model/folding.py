"""Batch normalisation folded into the convolutions before it, for a model that only predicts."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from drsvg_cli.model.backbone import DecoderLevel
from drsvg_cli.model.drsvg import DRSVG


@torch.no_grad()
def fold_batchnorm(model: DRSVG) -> DRSVG:
    """Fold every batch normalisation of a model in evaluation mode, in place; return the model.

    It predicts the same up to rounding, and cannot be trained or saved afterwards.
    """
    for module in [*model.modules()]:
        if isinstance(module, DecoderLevel) and len(module.rest):
            _fold_both_halves(module)
        elif isinstance(module, nn.Sequential):
            for place, (layer, after) in enumerate(pairwise(module)):
                if isinstance(after, nn.BatchNorm2d):
                    module[place] = _folded(layer, after)
                    module[place + 1] = nn.Identity()
    return model


def _folded(layer: nn.Module, normalization: nn.BatchNorm2d) -> nn.Module:
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    return fuse_conv_bn_eval(layer, normalization, transpose=transposed)


def _fold_both_halves(level: DecoderLevel) -> None:
    """Fold what normalises the sum of two convolutions: one of them takes the shift."""
    normalization = level.rest[0]
    if isinstance(normalization, nn.BatchNorm2d):
        level.above = _folded(level.above, normalization)
        normalization.running_mean = torch.zeros_like(normalization.bias)
        normalization.bias.zero_()
        level.skip = _folded(level.skip, normalization)
        level.rest[0] = nn.Identity()
