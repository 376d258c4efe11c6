"""How many multiplications a model does, counted while it runs, and how long its parts take."""

import time
from collections import Counter
from contextlib import contextmanager

import torch
from torch import nn

from drsvg_cli.device import fast_in_half


@contextmanager
def counted(model):
    """Yield a counter: the multiplications of every layer that is called meanwhile, by its name."""
    total = Counter()

    def convolution(layer, given, result):
        maps = given[0] if isinstance(layer, nn.ConvTranspose2d) else result
        return maps[:, 0].numel() * layer.weight.numel()

    def linear(layer, given, result):
        return result[..., 0].numel() * layer.weight.numel()

    def lstm(layer, given, _):
        weights = sum(each.numel() for name, each in layer.named_parameters() if "weight" in name)
        return given[0][..., 0].numel() * weights

    kinds = {nn.Conv2d: convolution, nn.ConvTranspose2d: convolution, nn.Linear: linear}
    kinds |= {nn.LSTM: lstm, nn.LSTMCell: lstm}
    hooks = []
    for name, module in model.named_modules():
        if type(module) in kinds:

            def add(layer, given, result, name=name):
                total[name] += kinds[type(layer)](layer, given, result)

            hooks.append(module.register_forward_hook(add))
    try:
        yield total
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def timed(model, parts):
    """Yield a counter: the seconds that the named parts of a model take meanwhile, on the CPU."""
    total, begun = Counter(), {}
    hooks = []
    for name in parts:
        part = model.get_submodule(name)

        def begin(*_, name=name):
            begun[name] = time.perf_counter()

        def end(*_, name=name):
            total[name] += time.perf_counter() - begun[name]

        hooks += [part.register_forward_pre_hook(begin), part.register_forward_hook(end)]
    try:
        yield total
    finally:
        for hook in hooks:
            hook.remove()


def peaks(device="cpu", *, times=1):
    """Return two programs that do little but multiply, with their number of multiplications.

    In the precision that drsvg multiplies in on this device, of `times` the size.
    """
    dtype = torch.bfloat16 if fast_in_half(torch.device(device)) else torch.float32
    like, side = {"dtype": dtype, "device": device}, 2048 * times
    one, two = (torch.randn(side, side, **like) for _ in range(2))
    maps = torch.randn(64 * times, 128, 32, 32, **like).to(memory_format=torch.channels_last)
    layer = nn.Conv2d(128, 128, 3, padding=1).to(**like).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def convolve():
        layer(maps)

    return (lambda: one @ two, side**3), (convolve, len(maps) * 32 * 32 * 128 * 128 * 9)
