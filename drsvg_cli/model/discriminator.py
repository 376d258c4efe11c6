"""The pose discriminator of Section 3.2: do two pose latents come from the same clip?"""

from itertools import pairwise

import torch
from torch import Tensor, nn

HIDDEN_LAYERS = 5  # Section 4.1
HIDDEN = 128  # the paper does not say


class PoseDiscriminator(nn.Module):
    """A fully connected network with five hidden layers over a pair of pose latents."""

    def __init__(self, pose_dim: int) -> None:
        """Build the layers."""
        super().__init__()
        sizes = [2 * pose_dim] + [HIDDEN] * HIDDEN_LAYERS
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(HIDDEN, 1))

    def forward(self, first: Tensor, other: Tensor) -> Tensor:
        """Return the logit that `first` and `other`, each `(..., Z)`, share a clip: `(...)`."""
        logit: Tensor = self.layers(torch.cat([first, other], dim=-1))
        return logit.squeeze(-1)
