"""Frame encoders and decoders: DCGAN and VGG (Section 4.1), at any power-of-two size.

An encoder turns a frame into features and a skip map per level. A decoder level adds what it
makes of the level above to what it makes of the skip map, which is the same sum as a convolution
over both, concatenated; so the skip half is computed once a clip (`Decoder.prepare`) and serves
every frame and every sample decoded from it.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from drsvg_cli.config import ModelConfig

CODE_SIZE = 4
"""Height and width of the deepest maps, in pixels."""


def level_channels(config: ModelConfig) -> list[int]:
    """Return the channels of every level, finest first; they double up to eight widths."""
    finest = config.size if config.backbone == "vgg" else config.size // 2
    count = (finest // CODE_SIZE).bit_length() - (1 if config.backbone == "vgg" else 0)
    return [config.width * min(2**level, 8) for level in range(count)]


def _normalization(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(_groups(channels), channels)


def _groups(channels: int) -> int:
    """Return up to eight equal groups of at least four channels."""
    most = max(1, min(8, channels // 4))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


def _convolution(inputs: int, outputs: int, config: ModelConfig) -> nn.Sequential:
    """Return a 3 x 3 convolution, normalised and activated (VGG)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        _normalization(config.normalization, outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _vgg_depth(level: int) -> int:
    """Return how many convolutions a VGG16 level has."""
    return 2 if level < 2 else 3


class Encoder(nn.Module):
    """Frames `(B, M, S, S)` to features and skip maps."""

    def __init__(self, config: ModelConfig, maps: int) -> None:
        """Build one module a level and the code layer for frames of `maps` channels."""
        super().__init__()
        channels = level_channels(config)
        inputs = [maps, *channels[:-1]]
        build = self._vgg_level if config.backbone == "vgg" else self._dcgan_level
        self.levels = nn.ModuleList(
            build(level, inputs[level], channels[level], config) for level in range(len(channels))
        )
        self.pool: nn.Module = nn.MaxPool2d(2) if config.backbone == "vgg" else nn.Identity()
        self.code = nn.Sequential(
            nn.Conv2d(channels[-1], config.feature_dim, CODE_SIZE, bias=False),
            _normalization(config.normalization, config.feature_dim),
            nn.Tanh(),
        )

    @staticmethod
    def _dcgan_level(level: int, inputs: int, outputs: int, config: ModelConfig) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
            _normalization(config.normalization, outputs),
            nn.LeakyReLU(0.2, inplace=True),
        )

    @staticmethod
    def _vgg_level(level: int, inputs: int, outputs: int, config: ModelConfig) -> nn.Module:
        sizes = [inputs] + [outputs] * _vgg_depth(level)
        return nn.Sequential(*(_convolution(a, b, config) for a, b in pairwise(sizes)))

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode `(B, M, S, S)`: features `(B, D)`, skip maps from the finest level on."""
        maps, skips = frames, []
        for level in self.levels:
            maps = level(maps)
            skips.append(maps)
            maps = self.pool(maps)
        return self.code(maps).flatten(1), tuple(skips)


class DecoderLevel(nn.Module):
    """Maps twice as large, from the level above and from the skip map of the same size."""

    def __init__(
        self, inputs: int, outputs: int, *, convolutions: int, last: bool, config: ModelConfig
    ) -> None:
        """Build the two halves of the first convolution and what follows it."""
        super().__init__()
        vgg = config.backbone == "vgg"
        middle = outputs if not vgg else inputs
        self.upsample: nn.Module = nn.Upsample(scale_factor=2) if vgg else nn.Identity()
        # Only a last DCGAN level has no normalisation behind it to take the bias's place.
        bias = last and not vgg
        kernel = {"kernel_size": 3, "padding": 1} if vgg else {"kernel_size": 4, "padding": 1}
        convolution: type[nn.Module] = nn.Conv2d if vgg else nn.ConvTranspose2d
        stride = 1 if vgg else 2
        self.above = convolution(inputs, middle, stride=stride, bias=bias, **kernel)
        self.skip = convolution(inputs, middle, stride=stride, bias=False, **kernel)
        rest: list[nn.Module] = []
        if vgg or not last:
            rest += [_normalization(config.normalization, middle), nn.LeakyReLU(0.2, inplace=True)]
        if vgg:
            rest += [_convolution(middle, middle, config) for _ in range(convolutions - 2)]
            rest.append(
                nn.Conv2d(middle, outputs, 3, padding=1)
                if last
                else _convolution(middle, outputs, config)
            )
        self.rest = nn.Sequential(*rest)

    def forward(self, above: Tensor, skip: Tensor) -> Tensor:
        """Decode `above` `(K B, C, s, s)` with a prepared `skip` `(B, C', 2s, 2s)`."""
        maps = self.above(self.upsample(above))
        maps.unflatten(0, (-1, len(skip))).add_(skip)
        result: Tensor = self.rest(maps)
        return result


class Decoder(nn.Module):
    """Predictor outputs and the skip maps of one frame a clip to maps at the frame's size."""

    def __init__(self, config: ModelConfig, maps: int, *, moving: bool = False) -> None:
        """Build one module a level, coarsest first; the last one gives `maps` channels.

        A decoder for a `moving` reference is told how the reference moves and how far ahead of
        it a frame lies.
        """
        super().__init__()
        channels = level_channels(config)[::-1]
        outputs = [*channels[1:], maps]
        deepest = len(channels) - 1
        # Motion joins the skip half of the last level but one, at half the size of a frame.
        joined = channels[-2] if config.backbone == "vgg" else outputs[-2]
        self.motion = nn.Conv2d(2, joined, 4, stride=2, padding=1, bias=False) if moving else None
        self.start = nn.Sequential(
            nn.ConvTranspose2d(config.feature_dim + moving, channels[0], CODE_SIZE, bias=False),
            _normalization(config.normalization, channels[0]),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.levels = nn.ModuleList(
            DecoderLevel(
                channels[level],
                outputs[level],
                convolutions=_vgg_depth(deepest - level),
                last=level == deepest,
                config=config,
            )
            for level in range(len(channels))
        )
        self.sweep = nn.Linear(config.feature_dim + 1, maps * CODE_SIZE**2) if moving else None

    def silence(self) -> None:
        """Set the layers that give the maps to zero; training starts from maps of zero."""
        last = self.levels[-1]
        assert isinstance(last, DecoderLevel)
        layers = [last.rest[-1]] if len(last.rest) else [last.above, last.skip]
        for layer in layers if self.sweep is None else [*layers, self.sweep]:
            for weights in layer.parameters():
                nn.init.zeros_(weights)

    def prepare(self, skips: tuple[Tensor, ...], motion: Tensor | None) -> tuple[Tensor, ...]:
        """Compute the skip half of every level once, for the skip maps of one frame a clip.

        `motion` `(B, 2, S, S)` says how that frame moves, to a decoder that asks for it.
        """
        pairs = zip(self.levels, reversed(skips), strict=True)
        prepared = [level.get_submodule("skip")(skip) for level, skip in pairs]
        if self.motion is not None:
            prepared[-2] = prepared[-2] + self.motion(motion)
        return tuple(prepared)

    def forward(self, outputs: Tensor, prepared: tuple[Tensor, ...], ahead: Tensor) -> Tensor:
        """Decode predictor outputs `(K, B, D)` to maps `(K B, M, S, S)`.

        `ahead` `(K,)` counts the frames from the one that gave the skip maps: 1 is the next one.
        """
        if self.motion is not None:
            clock = (ahead / 8).log1p().to(outputs)[:, None, None]
            outputs = torch.cat([outputs, clock.expand(*outputs.shape[:2], 1)], dim=-1)
        flat = outputs.flatten(0, 1)
        maps = self.start(flat[:, :, None, None])
        maps = maps.contiguous(memory_format=torch.channels_last)
        for level, skip in zip(self.levels, prepared, strict=True):
            maps = level(maps, skip)
        if self.sweep is None:
            return maps
        coarse = self.sweep(flat).unflatten(1, (-1, CODE_SIZE, CODE_SIZE))
        return maps + functional.interpolate(coarse, maps.shape[-2:], mode="bilinear")
