"""The model of `general` as a predictor: whole frames of any shape, moved and never redrawn."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.frames import Frames, resize, resize_whole, to_tensor
from drsvg_cli.inference.predictor import Moment
from drsvg_cli.model.noise import SeededNoise
from drsvg_cli.motion_model.fields import EARLIER, evidence, features, halve, halve_flow
from drsvg_cli.motion_model.latents import Latent
from drsvg_cli.motion_model.network import GRID, MotionNetwork, Scene, deviate
from drsvg_cli.optical_flow import (
    Flow,
    extend_path,
    fetch,
    measure_evidence,
    measure_flow,
    measure_steps,
    resize_flow,
)

SEEN_SIDE = 128
"""Pixels along the shorter side of the frames that the network reads, at half of this size."""
MEASURED_SIDE = 256
"""Pixels along the shorter side, at most, of the frames in which motion is measured and followed:
small frames hide small things, large ones take long."""
CONTEXT = 1 + len(EARLIER)
"""Frames that the network looks at."""
BATCH = 16
"""Samples whose flows are computed together."""


class _Look(NamedTuple):
    """What is known of a clip at its last observed frame."""

    scene: Scene
    state: Tensor
    """The predictor's."""
    content: Latent
    flow: Tensor
    """Measured motion where it is followed, `(2, H, W)` in pixels of that size."""
    others: tuple[Tensor, Tensor]
    """The same over one and over four frames."""
    scale: float
    """Pixels of these flows that are one pixel of the network's frames."""


class MotionPredictor:
    """Predicts with a motion network."""

    def __init__(self, network: MotionNetwork, *, temperature: float = 1.0) -> None:
        """Take a network in evaluation mode, and the temperature of its samples."""
        self.network, self._temperature = network, temperature

    @torch.inference_mode()
    def predict(
        self,
        observed: Frames,
        horizon: int,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
        between: int = 0,
    ) -> Iterator[Moment]:
        """Predict as `Predictor` says; poses come from their prior (Eq. 9)."""
        temperature = self._temperature if temperature is None else temperature
        look, last = self._look(observed[-CONTEXT:]), observed[-1]
        for first in range(0, len(seeds), BATCH):
            chosen = range(first, min(first + BATCH, len(seeds)))
            noise = SeededNoise([seeds[sample] for sample in chosen])
            content = look.content.repeat(len(chosen)).sample(noise, temperature=temperature)
            state = look.state.repeat(len(chosen), 1, 1, 1)
            paths = [np.zeros((*look.flow.shape[1:], 2), np.float32)] * len(chosen)
            for time in range(horizon):
                pose = self.network.expect(state).sample(noise, temperature=temperature)
                state = self.network.advance(state, pose, content)
                flows = self._flows(state, pose, look)
                for part in range(1, between + 2):
                    share = np.float32(part / (between + 1))
                    moved = [
                        extend_path(path, flow * share)
                        for path, flow in zip(paths, flows, strict=True)
                    ]
                    frames = np.stack([fetch(last, path) for path in moved])
                    yield Moment(chosen, time * (between + 1) + part - 1, frames)
                paths = moved

    def swap(
        self,
        content: Frames,
        pose: Frames,
        *,
        seeds: Sequence[int],
        temperature: float | None = None,
    ) -> Iterator[Moment]:
        """Swap as `Swapper` says.

        The motion is that measured in the other clip, frame by frame, at the same places of the
        frame: it holds for all samples, and no latent has a part in it.
        """
        last, side = content[0], min(MEASURED_SIDE, *content.shape[1:3])
        height, width = resize_whole(last, side).shape[:2]
        moving = [resize(frame, width=width, height=height) for frame in pose]
        path = np.zeros((height, width, 2), np.float32)
        for time, pair in enumerate(pairwise(moving)):
            path = extend_path(path, measure_flow(np.stack(pair)))
            frame = fetch(last, path)
            yield Moment(
                range(len(seeds)), time, np.broadcast_to(frame, (len(seeds), *frame.shape))
            )

    def _look(self, observed: Frames) -> _Look:
        """Measure how the last observed frames move, and read them with the network."""
        frames = observed
        while len(frames) < CONTEXT:  # what was before the first frame stood still
            frames = np.concatenate([frames[:1], frames])
        seen = np.stack([resize_whole(f, SEEN_SIDE, multiple=2 * GRID) for f in frames])
        measured = measure_evidence(seen)
        flows = halve_flow(torch.from_numpy(measured).movedim(-1, 1)[:, None])
        pictures = halve(to_tensor(seen, channels=3)[:, None])
        steps = torch.from_numpy(measure_steps(seen)).movedim(-1, 1)[:, None]
        encoded = self.network.encode(features(pictures, steps))
        scene, state = self.network.look(evidence(pictures.flip(0), flows), flows, encoded[-1])
        base = measured[1]
        if min(observed.shape[1:3]) > SEEN_SIDE:
            side = min(MEASURED_SIDE, *observed.shape[1:3])
            base = measure_flow(np.stack([resize_whole(f, side) for f in frames[-3:]]))
        changes = (resize_flow(measured[n] - measured[1], base.shape[:2]) for n in (0, 3))
        flow, first, fourth = (
            torch.from_numpy(each).movedim(-1, 0) for each in (base, *(base + c for c in changes))
        )
        scale = math.sqrt(flow[0].numel() / pictures[0, 0, 0].numel())
        content = self.network.content(encoded)[-1]
        return _Look(scene, state, content, flow, (first, fourth), scale)

    def _flows(self, state: Tensor, pose: Tensor, look: _Look) -> list[Flow]:
        """Return the flow of every sample at the size where it is followed."""
        controls = self.network.controls(state, pose, look.scene)[:, 0]
        controls = functional.interpolate(
            controls, look.flow.shape[1:], mode="bilinear", align_corners=False
        )
        flows = deviate(controls, look.flow, look.others, scale=look.scale)
        return list(np.ascontiguousarray(flows.movedim(1, -1).numpy()))
