"""How good predictions are, frame by frame, beside copying the last observed frame.

A score is kept for every sequence, sample and frame, which is little beside the frames themselves;
means, the best samples and intervals of any horizon follow from it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from drsvg_cli.classifier import Classifier, recognised
from drsvg_cli.metrics import CEILING, Definition, best_of, interval, psnr, ssim
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.rollout import predict

CLIPS_AT_ONCE = 8
LARGEST_TURN = 2**25
"""Numbers in the frames that are predicted before they are measured: 128 MB."""


class Curves(NamedTuple):
    """One metric over sequences, samples and predicted frames."""

    samples: Tensor
    """`(N, S, T)`."""
    copied: Tensor
    """Of the last observed frame, repeated: `(N, T)`."""

    @property
    def mean(self) -> Tensor:
        """Mean over the samples, `(N, T)`."""
        return self.samples.mean(1)

    def best(self, horizon: int | None = None) -> Tensor:
        """Return the sample that is best on average over the first `horizon` frames: `(N, T)`."""
        scores = self.samples[..., :horizon]
        return scores[torch.arange(len(scores)), best_of(scores)]


class Scores(NamedTuple):
    """What is measured of predictions."""

    psnr: Curves
    """dB, each frame's cut at `metrics.CEILING`."""
    ssim: Curves
    """Up to 1."""
    content: Curves | None = None
    """1 where a classifier reads from a frame what the sequence shows, 0 where it does not."""


class Content(NamedTuple):
    """What sequences show, and who reads it from a frame."""

    classifier: Classifier
    labels: Mapping[str, Tensor]
    """Class indices `(N,)`, an attribute each."""

    def read(self, frames: Tensor) -> Tensor:
        """Return 1 for every frame of `(N, ..., C, S, S)` that shows its sequence's content."""
        wanted = {
            name: labels.to(frames.device).view(-1, *[1] * (frames.ndim - 4))
            for name, labels in self.labels.items()
        }
        return recognised(self.classifier, frames, wanted).float()

    def of(self, chosen: slice) -> "Content":
        """Return the same for some of the sequences."""
        return Content(self.classifier, {name: x[chosen] for name, x in self.labels.items()})


class Estimate(NamedTuple):
    """A mean over sequences and the half-width of its 95 % interval."""

    value: float
    interval: float


def evaluate(
    model: DRSVG,
    clips: Tensor,
    *,
    context: int,
    seeds: Sequence[int],
    definition: Definition = "srvp",
    content: Content | None = None,
    tick: Callable[[int], object] | None = None,
) -> Scores:
    """Predict clips from their first `context` frames, one sample a seed, and measure them.

    Frames are predicted and measured in turns, so memory does not grow with clips or seeds.

    Args:
        model: in evaluation mode.
        clips: `(N, T, C, S, S)`, float in [0, 1] or uint8.
        context: observed frames.
        seeds: one a sample.
        definition: whose SSIM to compute.
        content: what the clips show, if that is known.
        tick: called with the number of samples that have been measured since.
    """
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(clips), CLIPS_AT_ONCE):
        chosen = slice(start, start + CLIPS_AT_ONCE)
        frames = clips[chosen].to(device)
        frames = frames if frames.is_floating_point() else frames.float() / 255
        observed, truth = frames[:, :context], frames[:, context:]
        metrics = _metrics(truth, definition, content and content.of(chosen))
        turn = max(1, LARGEST_TURN // truth.numel())
        turns = []
        for first in range(0, len(seeds), turn):
            some = seeds[first : first + turn]
            samples = predict(model, observed, truth.shape[1], seeds=some).frames
            turns.append([metric(samples).cpu() for metric in metrics])
            if tick is not None:
                tick(len(some) * len(frames))
        copies = observed[:, None, -1:].expand(-1, 1, truth.shape[1], -1, -1, -1)
        copied = [metric(copies)[:, 0].cpu() for metric in metrics]
        scored = [torch.cat(each, dim=1) for each in zip(*turns, strict=True)]
        parts.append(Scores(*map(Curves, scored, copied)))
    return join(parts)


def _metrics(
    truth: Tensor, definition: Definition, content: Content | None
) -> list[Callable[[Tensor], Tensor]]:
    """Return what scores samples `(N, S, T, C, H, W)` as `(N, S, T)`, in the order of `Scores`."""
    metrics: list[Callable[[Tensor], Tensor]] = [
        lambda samples: psnr(samples, truth[:, None]).clamp(max=CEILING),
        lambda samples: ssim(samples, truth[:, None], definition=definition),
    ]
    return metrics if content is None else [*metrics, content.read]


def join(parts: Sequence[Scores]) -> Scores:
    """Join the scores of different sequences, in order."""
    joined = []
    for metric in zip(*parts, strict=True):
        curves = [curves for curves in metric if curves is not None]
        joined.append(Curves(*map(torch.cat, zip(*curves, strict=True))) if curves else None)
    return Scores(*joined)  # type: ignore[arg-type]  # the first two are never None


def average(scores: Tensor, horizon: int | None = None) -> Estimate:
    """Average `(N, T)` over the first `horizon` frames and then over sequences."""
    each = scores[:, :horizon].double().mean(1)
    return Estimate(float(each.mean()), float(interval(each, 0)))


def by_frame(scores: Tensor) -> list[Estimate]:
    """Average `(N, T)` over sequences, an estimate a frame."""
    scores = scores.double()
    pairs = zip(scores.mean(0).tolist(), interval(scores, 0).tolist(), strict=True)
    return [Estimate(*pair) for pair in pairs]
