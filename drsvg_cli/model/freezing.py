"""A model frozen for prediction: the same function, computed with less work.

Once training has ended, a batch normalisation is a scale and a shift a channel: they are folded
into the convolution before it. On a CPU, weights are laid out once as its kernels want them instead
of at every call, which costs as much as a deep convolution of few frames itself, and in bfloat16
where that is faster. What is a matrix product is computed as one, and an LSTM's step without what a
whole sequence needs.
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from drsvg_cli.device import fast_in_half
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.lstm import LSTMState, Recurrent

FEW = 8
"""Maps up to which a convolution that doubles the size is computed at the size before."""


@torch.no_grad()
def freeze(model: DRSVG, *, half: bool | None = None) -> DRSVG:
    """Freeze a model in evaluation mode, on the device where it will predict; return it.

    It is changed in place and predicts as before but for rounding. It can neither be trained, saved
    nor moved any more. Normalisations by groups stay, because their scale depends on what is
    normalised.

    Args:
        model: in evaluation mode.
        half: on a CPU, multiply in bfloat16; where that is faster if left out. What LSTMs
            remember, latents and frames are float32 in any case.
    """
    if model.training:
        raise ValueError("freeze needs model.eval(): in training a batch is normalised by itself")
    _fold(model)
    device = next(model.parameters()).device
    if device.type == "cpu":
        half = fast_in_half(device) if half is None else half
        precision = torch.bfloat16 if half else torch.float32
        for parent in [*model.modules()]:
            if isinstance(parent, _Stepwise):
                continue
            for name, child in parent.named_children():
                setattr(parent, name, _quickened(child, precision))
            if isinstance(parent, nn.Sequential):
                _join_activations(parent)
    return model


def _fold(model: DRSVG) -> None:
    """Fold every batch normalisation into the convolutions before it."""
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


def _quickened(layer: nn.Module, precision: torch.dtype) -> nn.Module:
    """Return what computes the same as a layer in less time, or the layer itself."""
    if isinstance(layer, Recurrent):
        return _Stepwise(layer, precision)
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        if layer.padding == (0, 0):  # between features and the deepest maps
            return _Product(layer, precision)
        if not _packs(precision):
            return layer
        if isinstance(layer, nn.ConvTranspose2d) and layer.out_channels <= FEW:
            return nn.Sequential(_Packed(_at_half_size(layer), precision), nn.PixelShuffle(2))
        return _Packed(layer, precision)
    return layer


def _at_half_size(layer: nn.ConvTranspose2d) -> nn.Conv2d:
    """Return what a convolution that doubles the size (4x4, stride 2) does as one without a stride.

    It gives four maps in place of each, to be interleaved: one a place within two by two pixels.
    """
    inputs, outputs = layer.in_channels, layer.out_channels
    with torch.device("meta"):  # random weights would cost time, and draw from a global generator
        inner = nn.Conv2d(inputs, 4 * outputs, 3, padding=1, bias=layer.bias is not None)
    place, step = torch.arange(2)[:, None], torch.arange(3)
    taken = 4 + place - 2 * step  # row or column of the padded kernel that meets each neighbour
    kernel = functional.pad(layer.weight, (1, 1, 1, 1))[:, :, taken][..., taken]
    inner.weight = nn.Parameter(kernel.permute(1, 2, 4, 0, 3, 5).flatten(0, 2))
    if layer.bias is not None:
        inner.bias = nn.Parameter(layer.bias.repeat_interleave(4))
    return inner


def _join_activations(chain: nn.Sequential) -> None:
    """Let every packed convolution do the activation that follows it."""
    packed = None
    for number, layer in enumerate(chain):
        if isinstance(packed, _Packed) and isinstance(layer, nn.LeakyReLU):
            packed.slope = layer.negative_slope
            chain[number] = nn.Identity()
        if not isinstance(layer, nn.Identity):
            packed = layer


@cache
def _packs(precision: torch.dtype) -> bool:
    """Tell whether this PyTorch has kernels that take packed weights, and they do what they should.

    They are those of its compiler, and not public.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    maps = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)
    maps = maps.contiguous(memory_format=torch.channels_last)
    tolerance = 1e-5 if precision == torch.float32 else 0.05
    with torch.random.fork_rng(devices=[]):
        layers = nn.Conv2d(3, 4, 4, 2, 1), nn.ConvTranspose2d(3, 4, 4, 2, 1)
    try:
        for layer in layers:
            packed = _Packed(layer, precision)
            packed.slope = 0.2
            expected = functional.leaky_relu(layer(maps), 0.2)
            if not torch.allclose(packed(maps).float(), expected, atol=tolerance):
                return False
        return True
    except (AttributeError, RuntimeError):
        return False


class _Packed(nn.Module):
    """A convolution, transposed or not, and its activation, with weights laid out at a first call.

    It takes maps of any precision and gives them in its own. Maps of another size are computed
    rightly, with weights that are laid out for the first ones.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d, precision: torch.dtype) -> None:
        super().__init__()
        self.weight = layer.weight.detach().to(precision)
        self.bias = None if layer.bias is None else layer.bias.detach().to(precision)
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        self.padding, self.stride = [*map(int, layer.padding)], [*layer.stride]
        self.slope = 1.0
        self.packed: Tensor | None = None

    def forward(self, maps: Tensor) -> Tensor:
        kernels = torch.ops.mkldnn
        extra = [[0, 0]] if self.transposed else []
        shape = [self.padding, *extra, self.stride, [1, 1], 1]
        if self.packed is None:
            pack = (
                kernels._reorder_convolution_transpose_weight
                if self.transposed
                else kernels._reorder_convolution_weight
            )
            self.packed = pack(self.weight, *shape, list(maps.shape))
        convolve = (
            kernels._convolution_transpose_pointwise
            if self.transposed
            else kernels._convolution_pointwise
        )
        activation = ("none", [], "") if self.slope == 1 else ("leaky_relu", [self.slope], "")
        maps = maps.to(self.weight.dtype)
        result: Tensor = convolve(maps, self.packed, self.bias, *shape, *activation)
        return result


class _Product(nn.Module):
    """A convolution over a whole map, or a transposed one of a single pixel: a matrix product."""

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d, precision: torch.dtype) -> None:
        super().__init__()
        self.kernel = layer.kernel_size
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        weight = layer.weight.permute(0, 2, 3, 1).flatten(1)
        self.matrix = (weight if self.transposed else weight.T).to(precision).contiguous()
        bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias
        pixels = math.prod(self.kernel) if self.transposed else 1
        self.bias = bias.detach().repeat(pixels).to(precision)

    def forward(self, maps: Tensor) -> Tensor:
        flat = maps.permute(0, 2, 3, 1).flatten(1).to(self.matrix.dtype)
        product = torch.addmm(self.bias, flat, self.matrix).float()
        kernel = self.kernel if self.transposed else (1, 1)
        return product.unflatten(1, (*kernel, -1)).permute(0, 3, 1, 2)


class _Stepwise(nn.Module):
    """A recurrent network that takes single steps without what a sequence needs.

    The embedding is linear, and so is what the first layer does with it: one matrix does both.
    """

    def __init__(self, whole: Recurrent, precision: torch.dtype) -> None:
        super().__init__()
        self.whole = whole
        lstm, embed = whole.lstm, whole.embed
        self.gates, self.biases = [], []
        for layer in range(lstm.num_layers):
            given, kept = (getattr(lstm, f"weight_{kind}_l{layer}") for kind in ("ih", "hh"))
            bias = sum(getattr(lstm, f"bias_{kind}_l{layer}") for kind in ("ih", "hh"))
            if layer == 0:
                given, bias = given @ embed.weight, bias + given @ embed.bias
            self.gates.append(torch.cat([given, kept], dim=1).T.to(precision).contiguous())
            self.biases.append(bias.to(precision))

    def forward(self, sequence: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Do what `Recurrent.forward` does."""
        if len(sequence) > 1 or state is None:
            result: tuple[Tensor, LSTMState] = self.whole(sequence, state)
            return result
        newest, hidden, cells = sequence[0], [], []
        for gates, bias, h, c in zip(self.gates, self.biases, *state, strict=True):
            both = torch.cat([newest, h], dim=1).to(gates.dtype)
            values = torch.addmm(bias, both, gates).float()
            enter, forget, content, leave = values.chunk(4, dim=1)
            cell = forget.sigmoid() * c + enter.sigmoid() * content.tanh()
            newest = leave.sigmoid() * cell.tanh()
            hidden.append(newest)
            cells.append(cell)
        after = LSTMState(torch.stack(hidden), torch.stack(cells))
        return self.whole.output(newest)[None], after
