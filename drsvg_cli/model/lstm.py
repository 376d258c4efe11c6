"""The LSTM that all four recurrent parts of Fig. 2 are made of, its state passed as a value."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from drsvg_cli.model.gaussian import Gaussian

LOGVAR_RANGE = (-12.0, 4.0)
FIRST_LOGVAR = -3.0
"""Where training starts: with unit noise the predictor first learns to ignore its latents."""


class LSTMState(NamedTuple):
    """Hidden and cell state of every layer, each `(layers, B, hidden)`."""

    hidden: Tensor
    cell: Tensor

    def tile(self, times: int) -> "LSTMState":
        """Repeat the whole batch `times` times: entry `k B + b` continues entry `b`."""
        return LSTMState(*(part.repeat(1, times, 1) for part in self))


class Recurrent(nn.Module):
    """An LSTM between a linear embedding and a linear output."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int, layers: int) -> None:
        """Build the three parts."""
        super().__init__()
        self.embed = nn.Linear(inputs, hidden)
        self.lstm = nn.LSTM(hidden, hidden, layers)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, sequence: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Run over `(T, B, inputs)` from `state`; return `(T, B, outputs)` and the new state."""
        embedded = self.embed(sequence)
        if embedded.is_cuda:
            # Under autocast cuDNN's LSTM computes in float16, whatever it is told. Gradients of
            # latents are near 1e-9: nine in ten of them would be zero.
            with torch.autocast("cuda", enabled=False):
                hidden, (h, c) = self.lstm(embedded.float(), state)
        else:
            hidden, (h, c) = self.lstm(embedded, state)
        return self.output(hidden), LSTMState(h, c)


class GaussianRecurrent(nn.Module):
    """A recurrent network whose output is a Gaussian (q and p_psi of Eq. 7 and Eq. 8)."""

    def __init__(self, inputs: int, outputs: int, *, hidden: int) -> None:
        """Build a single-layer LSTM (Section 4.1) with a mean and a log-variance."""
        super().__init__()
        self.recurrent = Recurrent(inputs, 2 * outputs, hidden=hidden, layers=1)
        nn.init.constant_(self.recurrent.output.bias[outputs:], FIRST_LOGVAR)

    def forward(
        self, sequence: Tensor, state: LSTMState | None = None
    ) -> tuple[Gaussian, LSTMState]:
        """Run over `(T, B, inputs)`; return Gaussians `(T, B, outputs)` and the new state."""
        outputs, state = self.recurrent(sequence, state)
        mean, logvar = outputs.float().chunk(2, dim=-1)
        return Gaussian(mean, torch.clamp(logvar, *LOGVAR_RANGE)), state
