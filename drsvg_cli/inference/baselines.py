"""Predictions with no learned weight, which a model has to beat.

- `copy`: the last observed frame, repeated.
- `motion`: the measured motion goes on. Motion is dense inverse search (DIS) between the last
  frame and the one two before it, halved, and followed along its own field step by step.
- `motion-speeds`: the same at a random speed a sample, never faster backwards than half.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from drsvg_cli.frames import Frames
from drsvg_cli.inference.predictor import Moment, Predictor
from drsvg_cli.optical_flow import Flow, extend_path, fetcher, measure_flow

SPEED_DEVIATION = 0.6
SLOWEST = -0.5


class Copy:
    """The last observed frame, repeated."""

    def predict(
        self,
        observed: Frames,
        horizon: int,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
        between: int = 0,
    ) -> Iterator[Moment]:
        """Predict as `Predictor` says; all samples are alike."""
        for time in range(horizon * (between + 1)):
            yield _alike(observed[-1], len(seeds), time)


class Motion:
    """Measured motion that goes on."""

    def predict(
        self,
        observed: Frames,
        horizon: int,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
        between: int = 0,
    ) -> Iterator[Moment]:
        """Predict as `Predictor` says; all samples are alike."""
        frames = _moved(observed[-1], measure_flow(observed), horizon, between)
        for time, frame in enumerate(frames):
            yield _alike(frame, len(seeds), time)


class MotionSpeeds:
    """Measured motion that goes on at a random speed a sample."""

    def predict(
        self,
        observed: Frames,
        horizon: int,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
        between: int = 0,
    ) -> Iterator[Moment]:
        """Predict as `Predictor` says; `temperature` scales the deviation of the speeds."""
        deviation = SPEED_DEVIATION * (1.0 if temperature is None else temperature)
        flow = measure_flow(observed)
        for sample, seed in enumerate(seeds):
            speed = 1 + deviation * np.random.default_rng(seed).normal()
            field = flow * np.float32(max(SLOWEST, speed))
            for time, frame in enumerate(_moved(observed[-1], field, horizon, between)):
                yield Moment(range(sample, sample + 1), time, frame[None])


def _moved(frame: Frames, flow: Flow, horizon: int, between: int) -> Iterator[Frames]:
    """Follow a flow on and on, and show the frame as far as it has come."""
    path, show = np.zeros_like(flow), fetcher(frame)
    for _ in range(horizon):
        for part in range(1, between + 1):
            yield show(extend_path(path, flow * np.float32(part / (between + 1))))
        path = extend_path(path, flow)
        yield show(path)


def _alike(frame: Frames, samples: int, time: int) -> Moment:
    return Moment(range(samples), time, np.broadcast_to(frame, (samples, *frame.shape)))


BASELINES: Mapping[str, Callable[[], Predictor]] = {
    "copy": Copy,
    "motion": Motion,
    "motion-speeds": MotionSpeeds,
}
"""Every baseline by the name that `--model` takes."""
DETERMINISTIC = ("copy", "motion")
"""Those whose samples are all alike: one is enough."""
