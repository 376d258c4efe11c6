"""How many multiplications a model does, counted while it runs."""

from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def counted(model):
    """Yield a list of one number: the multiplications of all layers called meanwhile."""
    total = [0]

    def convolution(layer, given, result):
        maps = given[0] if isinstance(layer, nn.ConvTranspose2d) else result
        total[0] += maps[:, 0].numel() * layer.weight.numel()

    def linear(layer, given, result):
        total[0] += result[..., 0].numel() * layer.weight.numel()

    def lstm(layer, given, _):
        weights = sum(each.numel() for name, each in layer.named_parameters() if "weight" in name)
        total[0] += given[0][..., 0].numel() * weights

    kinds = {nn.Conv2d: convolution, nn.ConvTranspose2d: convolution, nn.Linear: linear}
    kinds |= {nn.LSTM: lstm, nn.LSTMCell: lstm}
    hooks = [
        module.register_forward_hook(kinds[type(module)])
        for module in model.modules()
        if type(module) in kinds
    ]
    try:
        yield total
    finally:
        for hook in hooks:
            hook.remove()


def peaks(dtype):
    """Return two programs that do little but multiply, with their number of multiplications."""
    one, two = (torch.randn(2048, 2048, dtype=dtype) for _ in range(2))
    maps = torch.randn(64, 128, 32, 32, dtype=dtype).to(memory_format=torch.channels_last)
    layer = nn.Conv2d(128, 128, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def convolve():
        layer(maps)

    return (lambda: one @ two, 2048**3), (convolve, 64 * 32 * 32 * 128 * 128 * 9)
