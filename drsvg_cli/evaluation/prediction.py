"""How good predictions are, frame by frame, beside copying the last observed frame.

A score is kept for every sequence, sample and frame, which is little beside the frames themselves;
means, the best samples and intervals of any horizon follow from it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.evaluation.classifier import Classifier, recognised
from drsvg_cli.evaluation.metrics import (
    CEILING,
    LEAST_SHARPNESS,
    Definition,
    best_of,
    interval,
    psnr,
    sharpness,
    ssim,
)
from drsvg_cli.inference.batching import BATCH
from drsvg_cli.inference.rollout import Rollout, predict
from drsvg_cli.model.drsvg import DRSVG

CLIPS_AT_ONCE = 8
LARGEST_TURN = 2**25
"""Numbers in the frames that are predicted before they are measured: 128 MB."""
STILL = 8.5 / 255
"""A pixel stands still in a sequence if it never is further from what was last observed: more than
8 levels, however a difference of just 8 is rounded."""


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
    sharpness: Curves
    """In shares of that of the true frame."""
    apart_moving: Tensor
    """How far a sample is from the first one where something moves, in levels of 255, `(N, T)`; NaN
    where there is one sample, or nothing moves."""
    apart_still: Tensor
    """The same where nothing moves."""
    flicker: Tensor
    """How much a frame changes from the one before where nothing moves, in the same units."""
    noise: Tensor
    """How much the true frames do."""
    content: Curves | None = None
    """1 where a classifier reads from a frame what the sequence shows, 0 where it does not."""


class Measurement(NamedTuple):
    """What is measured of one model."""

    shown: Scores
    """Of the futures as `drsvg predict` shows them at the size of the clips."""
    enlarged: Scores | None
    """Of the model's own frames, enlarged; none where they have the size of the clips."""


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
    temperature: float = 1.0,
    definition: Definition = "srvp",
    content: Content | None = None,
    tick: Callable[[int], object] | None = None,
) -> Measurement:
    """Predict clips from their first `context` frames, one sample a seed, and measure them.

    Frames are predicted and measured in turns, so memory does not grow with clips or seeds.

    Args:
        model: in evaluation mode.
        clips: `(N, T, C, S, S)`, float in [0, 1] or uint8, of the model's size or a multiple of it;
            larger ones are measured at their own size.
        context: observed frames.
        seeds: one a sample.
        temperature: as for `rollout.predict`.
        definition: whose SSIM to compute.
        content: what the clips show, if that is known; of the model's size.
        tick: called with the number of samples that have been measured since.
    """
    device = next(model.parameters()).device
    shown, enlarged = [], []
    for start in range(0, len(clips), CLIPS_AT_ONCE):
        chosen = slice(start, start + CLIPS_AT_ONCE)
        frames = clips[chosen].to(device)
        frames = frames if frames.is_floating_point() else frames.float() / 255
        known = content and content.of(chosen)
        larger = frames.shape[-1] != model.config.size
        meters = [_Meter(frames, context, definition, known) for _ in range(1 + larger)]
        least = 1 if device.type == "cpu" else BATCH // CLIPS_AT_ONCE
        turn = max(least, LARGEST_TURN // frames[:, context:].numel())
        for first in range(0, len(seeds), turn):
            some = seeds[first : first + turn]
            rollout = draw(model, frames, context=context, seeds=some, temperature=temperature)
            for meter in meters:
                meter.note(rollout.frames)
            if tick is not None:
                tick(len(some) * len(frames))
        shown.append(meters[0].scores())
        if larger:
            enlarged.append(meters[1].scores())
    return Measurement(join(shown), join(enlarged) if enlarged else None)


def draw(
    model: DRSVG,
    clips: Tensor,
    *,
    context: int,
    seeds: Sequence[int],
    temperature: float = 1.0,
) -> Rollout:
    """Predict clips `(N, T, C, S, S)` in [0, 1] to their end, enlarged where they are larger.

    Args:
        model: in evaluation mode.
        clips: of the model's size or a multiple of it.
        context: observed frames.
        seeds: one a sample.
        temperature: as for `rollout.predict`.
    """
    observed, horizon, size = clips[:, :context], clips.shape[1] - context, model.config.size
    if clips.shape[-1] == size:
        return predict(model, observed, horizon, seeds=seeds, temperature=temperature)
    small = functional.interpolate(observed.flatten(0, 1), (size, size), mode="area")
    small = small.unflatten(0, observed.shape[:2])
    frames = predict(model, small, horizon, seeds=seeds, temperature=temperature).frames
    large = functional.interpolate(frames.flatten(0, 2), clips.shape[-2:], mode="bicubic")
    return Rollout(large.clamp(0, 1).unflatten(0, frames.shape[:3]))


class _Meter:
    """Measures samples of the same sequences, some at a time."""

    def __init__(
        self, frames: Tensor, context: int, definition: Definition, content: Content | None
    ) -> None:
        self.last, self.truth = frames[:, context - 1], frames[:, context:]
        self.definition: Definition = definition
        self.content = content
        self.sharpness = sharpness(self.truth).clamp(min=LEAST_SHARPNESS)
        changed = (self.truth - self.last[:, None]).abs().amax((1, 2)) > STILL
        self.regions = {"moving": changed, "still": ~changed}
        self.first: Tensor | None = None
        self.parts: list[list[Tensor]] = []

    def note(self, samples: Tensor) -> None:
        """Measure `(N, S, T, C, H, W)`."""
        self.first = samples[:, :1].clone() if self.first is None else self.first
        distance = (samples - self.first).abs().mean(-3)
        apart = [self._within(distance, name) for name in ("moving", "still")]
        flicker = self._within(self._change(samples), "still")
        measured = [*self._curves(samples), *apart, flicker]
        self.parts.append([each.cpu() for each in measured])

    def scores(self) -> Scores:
        """Return what has been measured of all samples."""
        measured = [torch.cat(each, dim=1) for each in zip(*self.parts, strict=True)]
        *curves, moving, still, flicker = measured
        copies = self.last[:, None, None].expand(-1, 1, self.truth.shape[1], -1, -1, -1)
        copied = [each[:, 0].cpu() for each in self._curves(copies)]
        error, similarity, sharp, *content = map(Curves, curves, copied)
        noise = self._within(self._change(self.truth[:, None]), "still")[:, 0].cpu()
        return Scores(
            psnr=error,
            ssim=similarity,
            sharpness=sharp,
            apart_moving=moving[:, 1:].mean(1),  # the first sample is no distance from itself
            apart_still=still[:, 1:].mean(1),
            flicker=flicker.mean(1),
            noise=noise,
            content=content[0] if content else None,
        )

    def _curves(self, samples: Tensor) -> list[Tensor]:
        truth = self.truth[:, None]
        curves = [
            psnr(samples, truth).clamp(max=CEILING),
            ssim(samples, truth, definition=self.definition),
            sharpness(samples) / self.sharpness[:, None],
        ]
        return curves if self.content is None else [*curves, self.content.read(samples)]

    def _change(self, samples: Tensor) -> Tensor:
        """Return how each frame differs from the one before, `(N, S, T, H, W)`."""
        last = self.last[:, None, None].expand(-1, samples.shape[1], 1, -1, -1, -1)
        return torch.cat([last, samples], dim=2).diff(dim=2).abs().mean(-3)

    def _within(self, values: Tensor, region: str) -> Tensor:
        """Average `(N, S, T, H, W)` over a region, in levels of 255; NaN where it is empty."""
        chosen = self.regions[region][:, None, None].to(values)
        return 255 * (values * chosen).sum((-2, -1)) / chosen.sum((-2, -1))


def join(parts: Sequence[Scores]) -> Scores:
    """Join the scores of different sequences, in order."""
    joined: list[Curves | Tensor | None] = []
    for metric in zip(*parts, strict=True):
        if isinstance(metric[0], Curves):
            joined.append(Curves(*map(torch.cat, zip(*metric, strict=True))))
        else:
            joined.append(None if metric[0] is None else torch.cat(metric))
    return Scores(*joined)  # type: ignore[arg-type]  # each is of its own kind


def average(scores: Tensor, horizon: int | None = None) -> Estimate:
    """Average `(N, T)` over the first `horizon` frames, then over sequences that are not NaN."""
    each = scores[:, :horizon].double().mean(1)
    each = each[~each.isnan()]
    return Estimate(float(each.mean()), float(interval(each, 0)))


def by_frame(scores: Tensor) -> list[Estimate]:
    """Average `(N, T)` over sequences, an estimate a frame."""
    scores = scores.double()
    pairs = zip(scores.mean(0).tolist(), interval(scores, 0).tolist(), strict=True)
    return [Estimate(*pair) for pair in pairs]
