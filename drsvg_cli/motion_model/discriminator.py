"""Tells whether two pose latents are of the same clip (Eq. 5)."""

import torch
from torch import Tensor, nn


class PoseDiscriminator(nn.Module):
    """Two poses `(B, P, h, w)` to a logit: above zero if they seem to be of one clip."""

    def __init__(self, channels: int, hidden: int = 32) -> None:
        """Take poses of `channels` maps."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.LeakyReLU(0.2),
        )
        self.logit = nn.Linear(hidden, 1)

    def forward(self, pose: Tensor, other: Tensor) -> Tensor:
        """Return logits `(B,)`."""
        logit: Tensor = self.logit(self.layers(torch.cat([pose, other], 1)).mean((2, 3)))
        return logit[:, 0]
