"""What a frame shows: a small classifier that judges predictions, and how it learns.

The paper claims that content stays; a classifier measures it. It never sees a predicted frame in
training, but some of its frames are blurred, as predictions are.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 16
AT_ONCE = 1024
"""Frames classified at once."""
LEARNING_RATE = 3e-3

Draw = Callable[[int, str], tuple[Tensor, Mapping[str, Tensor]]]
"""Draws `size` frames, uint8 or float `(B, C, S, S)`, and their class indices `(B,)`, by a seed."""


class Classifier(nn.Module):
    """Reads one or more attributes, each one of several classes, from a single frame.

    Features are pooled over the whole frame: where something is does not matter. Their maximum says
    whether it is there, their mean how often.
    """

    def __init__(self, attributes: Mapping[str, int], *, size: int, channels: int) -> None:
        """Build the network for the given numbers of classes, and frames of the given size."""
        super().__init__()
        self.attributes = dict(attributes)
        self.size = size
        self.channels = channels
        sizes = [channels, WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH, 4 * WIDTH]
        layers: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(pairwise(sizes)):
            kernel, stride = 5 if level == 0 else 3, 2 if level < 3 else 1
            layers += [
                nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(0.1),
            ]
        self.features = nn.Sequential(*layers)
        self.decide = nn.Sequential(
            nn.Linear(2 * sizes[-1], 8 * WIDTH),
            nn.ReLU(),
            nn.Linear(8 * WIDTH, sum(self.attributes.values())),
        )

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Return the logits `(B, classes)` of every attribute for frames `(B, C, S, S)`."""
        maps = self.features(frames)
        logits = self.decide(torch.cat([maps.amax((-2, -1)), maps.mean((-2, -1))], dim=1)).float()
        parts = logits.split(list(self.attributes.values()), dim=1)
        return dict(zip(self.attributes, parts, strict=True))


@torch.inference_mode()
def read(classifier: Classifier, frames: Tensor) -> dict[str, Tensor]:
    """Read every attribute of frames `(..., C, S, S)`, uint8 or in [0, 1]: class indices `(...)`.

    The classifier is in evaluation mode.
    """
    found = [classifier(_floats(some)) for some in frames.flatten(0, -4).split(AT_ONCE)]
    return {
        name: torch.cat([logits[name].argmax(1) for logits in found]).view(frames.shape[:-3])
        for name in classifier.attributes
    }


def recognised(classifier: Classifier, frames: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Tell for which frames all attributes are read as `labels` say.

    Args:
        classifier: in evaluation mode.
        frames: `(..., C, S, S)`, uint8 or in [0, 1].
        labels: class indices that broadcast against `(...)`, for some of the attributes or all.

    Returns:
        bool `(...)`.
    """
    right = torch.ones(frames.shape[:-3], dtype=torch.bool, device=frames.device)
    found = read(classifier, frames)
    for name, wanted in labels.items():
        right &= found[name] == wanted
    return right


class Lesson(NamedTuple):
    """What one step of learning did."""

    number: int
    loss: float
    """Cross-entropy, in nats an attribute."""


def learn(classifier: Classifier, draw: Draw, *, steps: int, batch: int) -> Iterator[Lesson]:
    """Train on frames that `draw` gives, and yield a record a step; evaluation mode at the end."""
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    device = next(classifier.parameters()).device
    classifier.train()
    for step in range(steps):
        frames, labels = draw(batch, str(step))
        for group in optimizer.param_groups:
            rise = min(1.0, (step + 1) / 100)
            group["lr"] = LEARNING_RATE * rise * (0.505 + 0.495 * math.cos(math.pi * step / steps))
        logits = classifier(_softened(frames.to(device), step))
        losses = [
            functional.cross_entropy(logits[name], wanted.to(device))
            for name, wanted in labels.items()
        ]
        loss = torch.stack(losses).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield Lesson(step + 1, float(loss.detach()))
    classifier.eval()


def _floats(frames: Tensor) -> Tensor:
    return frames if frames.is_floating_point() else frames.float() / 255


def _softened(frames: Tensor, step: int) -> Tensor:
    """Blur frames, each by its own amount, half of them not at all; floats in [0, 1] come out."""
    frames = _floats(frames)
    blurred = functional.avg_pool2d(frames, 5, 1, 2, count_include_pad=False)
    generator = torch.Generator().manual_seed(step)
    share = (2 * torch.rand(len(frames), 1, 1, 1, generator=generator) - 1).clamp(min=0)
    return frames.lerp(blurred, share.to(frames.device))


def accuracy(classifier: Classifier, draw: Draw, *, frames: int) -> dict[str, float]:
    """Return the share of frames, drawn by a seed of their own, that are read rightly.

    By attribute, and `all` of them at once.
    """
    drawn, labels = draw(frames, "accuracy")
    device = next(classifier.parameters()).device
    found = read(classifier, drawn.to(device))
    right = {name: (found[name] == each.to(device)).float() for name, each in labels.items()}
    every = torch.stack(list(right.values())).amin(0)
    return {name: float(each.mean()) for name, each in {"all": every, **right}.items()}
