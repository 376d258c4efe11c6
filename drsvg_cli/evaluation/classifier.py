"""What a frame shows: a small classifier that judges predictions.

The paper claims that content stays; a classifier measures it. `benchmarks/train_classifier.py` made
those that the package embeds.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

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


def _floats(frames: Tensor) -> Tensor:
    return frames if frames.is_floating_point() else frames.float() / 255


def load_classifier(source: str) -> Classifier | None:
    """Load the classifier that the package embeds for a data set, in evaluation mode, if any."""
    path = Path(str(files("drsvg_cli.evaluation.classifiers"))) / f"{source}.safetensors"
    return read_classifier(path) if path.is_file() else None


def read_classifier(path: Path) -> Classifier:
    """Read what `benchmarks/train_classifier.py` wrote, in evaluation mode."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with torch.device("meta"):
        classifier = Classifier(
            json.loads(header["attributes"]),
            size=int(header["size"]),
            channels=int(header["channels"]),
        )
    floats = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    classifier.load_state_dict(floats, assign=True)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return classifier.eval()
