"""Frame encoders and decoders: DCGAN and VGG (Section 4.1), at any power-of-two size.

An encoder turns a frame into features and a skip map per level. A decoder level adds what it
makes of the level above to what it makes of the skip map, which is the same sum as a convolution
over both, concatenated; so the skip half is computed once a clip (`Decoder.prepare`) and serves
every frame and every sample decoded from it.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from drsvg_cli.config import ModelConfig

CODE_SIZE = 4
"""Height and width of the deepest maps, in pixels."""


def level_channels(config: ModelConfig) -> list[int]:
    """Return the channels of every level, finest first; they double up to eight widths."""
    finest = config.size if config.backbone == "vgg" else config.size // 2
    count = (finest // CODE_SIZE).bit_length() - (1 if config.backbone == "vgg" else 0)
    return [config.width * min(2**level, 8) for level in range(count)]


def _normalized(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)]


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 3 x 3 convolution, normalised and activated (VGG)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), *_normalized(outputs)
    )


def _vgg_depth(level: int) -> int:
    """Return how many convolutions a VGG16 level has."""
    return 2 if level < 2 else 3


class Encoder(nn.Module):
    """Frames `(B, C, S, S)` to features and skip maps."""

    def __init__(self, config: ModelConfig) -> None:
        """Build one module a level and the code layer."""
        super().__init__()
        channels = level_channels(config)
        inputs = [config.channels, *channels[:-1]]
        build = self._vgg_level if config.backbone == "vgg" else self._dcgan_level
        self.levels = nn.ModuleList(
            build(level, inputs[level], channels[level]) for level in range(len(channels))
        )
        self.pool: nn.Module = nn.MaxPool2d(2) if config.backbone == "vgg" else nn.Identity()
        self.code = nn.Sequential(
            nn.Conv2d(channels[-1], config.feature_dim, CODE_SIZE, bias=False),
            nn.BatchNorm2d(config.feature_dim),
            nn.Tanh(),
        )

    @staticmethod
    def _dcgan_level(_level: int, inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False), *_normalized(outputs)
        )

    @staticmethod
    def _vgg_level(level: int, inputs: int, outputs: int) -> nn.Module:
        sizes = [inputs] + [outputs] * _vgg_depth(level)
        return nn.Sequential(*(_convolution(a, b) for a, b in pairwise(sizes)))

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode `(B, C, S, S)`: features `(B, D)`, skip maps from the finest level on."""
        maps, skips = frames, []
        for level in self.levels:
            maps = level(maps)
            skips.append(maps)
            maps = self.pool(maps)
        return self.code(maps).flatten(1), tuple(skips)


class DecoderLevel(nn.Module):
    """Maps twice as large, from the level above and from the skip map of the same size."""

    def __init__(
        self, inputs: int, outputs: int, *, backbone: str, convolutions: int, last: bool
    ) -> None:
        """Build the two halves of the first convolution and what follows it."""
        super().__init__()
        vgg = backbone == "vgg"
        middle = inputs if vgg else outputs
        self.upsample: nn.Module = nn.Upsample(scale_factor=2) if vgg else nn.Identity()
        # Only a last DCGAN level has no normalisation behind it to take the bias's place.
        bias = last and not vgg
        kernel = {"kernel_size": 3, "padding": 1} if vgg else {"kernel_size": 4, "padding": 1}
        convolution: type[nn.Module] = nn.Conv2d if vgg else nn.ConvTranspose2d
        stride = 1 if vgg else 2
        self.above = convolution(inputs, middle, stride=stride, bias=bias, **kernel)
        self.skip = convolution(inputs, middle, stride=stride, bias=False, **kernel)
        rest: list[nn.Module] = [] if last and not vgg else _normalized(middle)
        if vgg:
            rest += [_convolution(middle, middle) for _ in range(convolutions - 2)]
            rest.append(
                nn.Conv2d(middle, outputs, 3, padding=1) if last else _convolution(middle, outputs)
            )
        self.rest = nn.Sequential(*rest)

    def forward(self, above: Tensor, skip: Tensor) -> Tensor:
        """Decode `above` `(K B, C, s, s)` with a prepared `skip` `(B, C', 2s, 2s)`."""
        maps = self.above(self.upsample(above))
        maps.unflatten(0, (-1, len(skip))).add_(skip)
        result: Tensor = self.rest(maps)
        return result


class Decoder(nn.Module):
    """Predictor outputs and the skip maps of one frame a clip to frames."""

    def __init__(self, config: ModelConfig) -> None:
        """Build one module a level, coarsest first."""
        super().__init__()
        channels = level_channels(config)[::-1]
        outputs = [*channels[1:], config.channels]
        deepest = len(channels) - 1
        self.start = nn.Sequential(
            nn.ConvTranspose2d(config.feature_dim, channels[0], CODE_SIZE, bias=False),
            *_normalized(channels[0]),
        )
        self.levels = nn.ModuleList(
            DecoderLevel(
                channels[level],
                outputs[level],
                backbone=config.backbone,
                convolutions=_vgg_depth(deepest - level),
                last=level == deepest,
            )
            for level in range(len(channels))
        )

    def prepare(self, skips: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Compute the skip half of every level once, for the skip maps of one frame a clip."""
        pairs = zip(self.levels, reversed(skips), strict=True)
        return tuple(level.get_submodule("skip")(skip) for level, skip in pairs)

    def forward(self, outputs: Tensor, prepared: tuple[Tensor, ...]) -> Tensor:
        """Decode predictor outputs `(K, B, D)` to frames `(K, B, C, S, S)` in [0, 1]."""
        maps = self.start(outputs.flatten(0, 1)[:, :, None, None])
        maps = maps.contiguous(memory_format=torch.channels_last)
        for level, skip in zip(self.levels, prepared, strict=True):
            maps = level(maps, skip)
        return torch.sigmoid(maps.float()).unflatten(0, outputs.shape[:2])
