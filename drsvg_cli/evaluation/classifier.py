"""What a frame shows: a small classifier that judges predictions.

The paper claims that content stays; a classifier measures it. `benchmarks/train_classifier.py` made
those that the package embeds.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import safetensors
import torch
from torch import Tensor, nn

WIDTH = 16
AT_ONCE = 1024
"""Frames classified at once."""


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
    scale = 1 if frames.is_floating_point() else 255
    found = [classifier(some / scale) for some in frames.flatten(0, -4).split(AT_ONCE)]
    return {
        name: torch.cat([logits[name].argmax(1) for logits in found]).view(frames.shape[:-3])
        for name in classifier.attributes
    }


WHOLE = ("content", "pose", "both")
Reading = Mapping[str, Tensor]
"""Whether frames show what they should, 1 or 0, `(N, S, T)`: all of `WHOLE`, then every attribute
alone. Empty where nobody knows what sequences show."""


class Known(NamedTuple):
    """What sequences show, and who reads it."""

    classifier: Classifier
    content: Mapping[str, Tensor]
    """Class indices `(N,)`, an attribute each."""
    poses: Mapping[str, Tensor] = MappingProxyType({})
    """Class indices `(N, T)`, an attribute each; only those that the classifier reads."""

    def shows(self, frames: Tensor, number: int) -> Tensor:
        """Return 1 for every frame of `(..., C, S, S)` with the content of sequence `number`."""
        found = read(self.classifier, frames)
        kept = [found[name] == labels[number] for name, labels in self.content.items()]
        return torch.stack(kept).all(0).float()

    def judge(self, frames: Tensor, *, content: Tensor, poses: Tensor) -> Reading:
        """Read swaps `(N, S, T - 1, C, H, W)`.

        Args:
            frames: floats in [0, 1].
            content: the sequences that gave the content, `(N,)` indices.
            poses: those that gave the pose.
        """
        found = {name: each.cpu() for name, each in read(self.classifier, frames).items()}
        kept = {name: found[name] == n[content, None, None] for name, n in self.content.items()}
        taken = {name: found[name] == n[poses, None, 1:] for name, n in self.poses.items()}
        whole = [torch.stack([*each.values()]).all(0) for each in (kept, taken, kept | taken)]
        named = dict(zip(WHOLE, whole, strict=True)) | kept | taken
        return {name: right.float() for name, right in named.items()}


def load_classifier(source: str) -> Classifier | None:
    """Load the classifier that the package embeds for a data set, in evaluation mode, if any."""
    path = Path(str(files("drsvg_cli.evaluation.classifiers"))) / f"{source}.safetensors"
    return read_classifier(path) if path.is_file() else None


def read_classifier(path: Path) -> Classifier:
    """Read what `benchmarks/train_classifier.py` wrote, in evaluation mode."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    sizes = {name: int(header[name]) for name in ("size", "channels")}
    with torch.device("meta"):
        classifier = Classifier(json.loads(header["attributes"]), **sizes)
    classifier.to_empty(device="cpu").load_state_dict(tensors)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return classifier.eval()
