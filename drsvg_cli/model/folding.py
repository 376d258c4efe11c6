"""Batch normalisation folded into the convolutions before it: the same function, computed faster.

In evaluation mode the normalisation is a scale and a shift a channel, fixed once training ended.
"""

from collections.abc import Sequence

import torch
from torch import nn

from drsvg_cli.model.drsvg import DRSVG


@torch.no_grad()
def fold(model: DRSVG) -> DRSVG:
    """Fold every batch normalisation of a model in evaluation mode, in place, and return it.

    It predicts as before but for rounding; it can neither be trained nor saved any more. Other
    normalisations stay, because their scale depends on what is normalised.
    """
    if model.training:
        raise ValueError("fold needs model.eval(): in training a batch is normalised by itself")
    decoder = model.decoder
    for number, level in enumerate(decoder.levels):
        summands = [level.get_submodule("above"), level.get_submodule("skip")]
        if decoder.motion is not None and number == len(decoder.levels) - 2:
            summands.append(decoder.motion)
        _fold_into(summands, level.get_submodule("rest"), 0)
    for chain in model.modules():
        if isinstance(chain, nn.Sequential):
            for number in range(1, len(chain)):
                _fold_into([chain[number - 1]], chain, number)
    return model


def _fold_into(convolutions: Sequence[nn.Module], chain: nn.Module, number: int) -> None:
    """Fold the normalisation at that place, if there is one, into the convolutions before it.

    It normalises their sum, so all are scaled, and the first of them takes the shift.
    """
    assert isinstance(chain, nn.Sequential)
    norm = chain[number] if number < len(chain) else None
    if not isinstance(norm, nn.BatchNorm2d):
        return
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    shift = norm.bias - mean * scale
    for part in convolutions:
        assert isinstance(part, nn.Conv2d | nn.ConvTranspose2d) and part.bias is None
        outputs = (1, -1, 1, 1) if isinstance(part, nn.ConvTranspose2d) else (-1, 1, 1, 1)
        part.weight.mul_(scale.view(outputs))
    convolutions[0].register_parameter("bias", nn.Parameter(shift))
    chain[number] = nn.Identity()
