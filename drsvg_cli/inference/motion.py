"""The model of `general` as a predictor: whole frames of any shape, moved and never redrawn."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from drsvg_cli.frames import Frames, resize, resize_whole, to_tensor
from drsvg_cli.inference.predictor import Moment
from drsvg_cli.model.noise import Noise, SeededNoise
from drsvg_cli.motion_model.fields import EARLIER, evidence, features, halve, halve_flow
from drsvg_cli.motion_model.latents import Latent
from drsvg_cli.motion_model.network import GRID, MotionNetwork, Scene, deviate
from drsvg_cli.optical_flow import (
    Flow,
    extend_path,
    fetch,
    fetcher,
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
TEMPERATURE = 0.3
"""Of samples where none is asked for. At 1 their energy score is 3 % lower on held-back clips, and
what moves fast bends out of shape."""
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
    seen: tuple[int, ...]
    """Height and width of the frames that are read."""


class Inferred(NamedTuple):
    """What the posteriors say of a clip."""

    content: Latent
    """At the last observed frame."""
    poses: Sequence[Latent]
    """Of the frames after it."""
    content_kl: float
    """Divergence of content from that of the frame before, in nats a frame."""
    pose_kl: float
    """Divergence of poses from their prior, in nats a frame."""


class MotionPredictor:
    """Predicts with a motion network."""

    def __init__(self, network: MotionNetwork, *, temperature: float = TEMPERATURE) -> None:
        """Take a network in evaluation mode, and the temperature of its samples."""
        self.network, self.temperature = network, temperature

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
        temperature = self.temperature if temperature is None else temperature
        look = self._look(observed[-CONTEXT:])

        def draw_pose(_time: int, state: Tensor, noise: Noise) -> Tensor:
            return self.network.expect(state).sample(noise, temperature=temperature)

        yield from self._roll_out(
            look, observed[-1], draw_pose, horizon, seeds, temperature, between=between
        )

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

    @torch.inference_mode()
    def infer(self, clip: Frames, horizon: int) -> "Inferred":
        """Read the latents of a clip `(T, H, W, 3)` whose last `horizon` frames were to predict."""
        observed, network = len(clip) - horizon, self.network
        look = self._look(clip[:observed][-CONTEXT:])
        height, width = look.seen
        encoded = self._encode(np.stack([resize(f, width=width, height=height) for f in clip]))
        contents, poses = network.content(encoded), network.pose(encoded)[observed:]
        costs = [contents[0].kl(None)]
        costs += [after.kl(before) for before, after in pairwise(contents)]
        content, state, its_costs = contents[observed - 1], look.state, []
        for pose in poses:
            its_costs.append(pose.kl(network.expect(state)))
            state = network.advance(
                state, pose.sample(temperature=0), content.sample(temperature=0)
            )
        return Inferred(content, poses, *(float(torch.cat(c).mean()) for c in (costs, its_costs)))

    @torch.inference_mode()
    def replay(self, observed: Frames, content: Latent, poses: Sequence[Latent]) -> Frames:
        """Predict what follows with the means of given latents: `(T, H, W, 3)`, a frame a pose."""
        look = self._look(observed[-CONTEXT:])._replace(content=content)

        def draw_pose(time: int, _state: Tensor, _noise: Noise) -> Tensor:
            return poses[time].sample(temperature=0)

        moments = self._roll_out(look, observed[-1], draw_pose, len(poses), [0], 0.0)
        return np.concatenate([moment.frames for moment in moments])

    def _roll_out(
        self,
        look: _Look,
        last: Frames,
        draw_pose: Callable[[int, Tensor, Noise], Tensor],
        horizon: int,
        seeds: Sequence[int],
        temperature: float,
        *,
        between: int = 0,
    ) -> Iterator[Moment]:
        """Follow flows from the last frame `(H, W, 3)`, a frame after the other."""
        show = fetcher(last)
        for first in range(0, len(seeds), BATCH):
            chosen = range(first, min(first + BATCH, len(seeds)))
            noise = SeededNoise([seeds[sample] for sample in chosen])
            content = look.content.repeat(len(chosen)).sample(noise, temperature=temperature)
            state = look.state.repeat(len(chosen), 1, 1, 1)
            paths = [np.zeros((*look.flow.shape[1:], 2), np.float32)] * len(chosen)
            for time in range(horizon):
                pose = draw_pose(time, state, noise)
                state = self.network.advance(state, pose, content)
                flows = self._flows(state, pose, look)
                for part in range(1, between + 2):
                    share = np.float32(part / (between + 1))
                    moved = [
                        extend_path(path, flow * share)
                        for path, flow in zip(paths, flows, strict=True)
                    ]
                    frames = np.stack([show(path) for path in moved])
                    yield Moment(chosen, time * (between + 1) + part - 1, frames)
                paths = moved

    def _encode(self, seen: Frames) -> Tensor:
        """Encode frames `(T, H, W, 3)` at the size that is seen."""
        steps = torch.from_numpy(measure_steps(seen)).movedim(-1, 1)[:, None]
        return self.network.encode(features(halve(to_tensor(seen, channels=3)[:, None]), steps))

    def _look(self, observed: Frames) -> _Look:
        """Measure how the last observed frames move, and read them with the network."""
        frames = observed
        while len(frames) < CONTEXT:  # what was before the first frame stood still
            frames = np.concatenate([frames[:1], frames])
        seen = np.stack([resize_whole(f, SEEN_SIDE, multiple=2 * GRID) for f in frames])
        measured = measure_evidence(seen)
        flows = halve_flow(torch.from_numpy(measured).movedim(-1, 1)[:, None])
        pictures = halve(to_tensor(seen, channels=3)[:, None])
        encoded = self._encode(seen)
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
        return _Look(scene, state, content, flow, (first, fourth), scale, seen.shape[1:3])

    def _flows(self, state: Tensor, pose: Tensor, look: _Look) -> list[Flow]:
        """Return the flow of every sample at the size where it is followed."""
        controls = self.network.controls(state, pose, look.scene)[:, 0]
        controls = functional.interpolate(
            controls, look.flow.shape[1:], mode="bilinear", align_corners=False
        )
        flows = deviate(controls, look.flow, look.others, scale=look.scale)
        return list(np.ascontiguousarray(flows.movedim(1, -1).numpy()))
