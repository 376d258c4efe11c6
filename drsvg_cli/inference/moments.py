"""Short futures of many moments of one clip, drawn together and at a small size.

For who judges a clip moment by moment and looks at no frame: the network's own size is enough, and
moments are entries of the batch as samples are.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from drsvg_cli.frames import Frames, to_tensor
from drsvg_cli.inference.motion import CONTEXT, SEEN_SIDE, MotionPredictor
from drsvg_cli.inference.predictor import Predictor
from drsvg_cli.model.noise import SeededNoise
from drsvg_cli.motion_model.fields import (
    enlarge_path,
    evidence,
    extend,
    features,
    fetch,
    halve,
    halve_flow,
)
from drsvg_cli.motion_model.network import GRID, Scene, deviate
from drsvg_cli.optical_flow import measure_evidence, measure_steps

SIDE, MULTIPLE = SEEN_SIDE, 2 * GRID
"""Pixels along the shorter side of the frames that are read, and what both sides are multiples of;
what is predicted has half of it."""


def as_predicted(frames: Frames) -> Tensor:
    """Bring frames `(..., H, W, 3)` to the size of what is predicted: `(..., 3, H / 2, W / 2)`."""
    return halve(to_tensor(frames, channels=3))


@torch.inference_mode()
def draw_moments(
    predictor: Predictor, windows: Sequence[Frames], horizon: int, *, seeds: Sequence[int]
) -> Tensor:
    """Draw samples of what follows each of some windows.

    Args:
        predictor: any.
        windows: observed frames `(T, H, W, 3)` each, of one size whose sides are multiples of
            `MULTIPLE`; T at least 2.
        horizon: frames to predict.
        seeds: one a sample, the same for all windows.

    Returns:
        `(M, S, N, 3, H / 2, W / 2)` in [0, 1].
    """
    if isinstance(predictor, MotionPredictor):
        return _together(predictor, windows, horizon, seeds)
    drawn = []
    for window in windows:
        frames = np.zeros((len(seeds), horizon, *window.shape[1:]), np.uint8)
        for moment in predictor.predict(window, horizon, seeds=seeds):
            frames[moment.samples.start : moment.samples.stop, moment.time] = moment.frames
        drawn.append(as_predicted(frames))
    return torch.stack(drawn)


def _together(
    predictor: MotionPredictor, windows: Sequence[Frames], horizon: int, seeds: Sequence[int]
) -> Tensor:
    """Draw as `MotionPredictor.predict` does, with paths followed at half the network's size."""
    network, temperature, samples = predictor.network, predictor.temperature, len(seeds)
    seen = [window[-CONTEXT:] for window in windows]
    measured = [measure_evidence(window) for window in seen]
    flows = halve_flow(torch.from_numpy(np.stack(measured, 1)).movedim(-1, 2))
    pictures = as_predicted(np.stack(seen, 1))
    steps = torch.from_numpy(np.stack([measure_steps(w) for w in seen], 1)).movedim(-1, 2)
    encoded = network.encode(features(pictures, steps))
    scene, state = network.look(evidence(pictures.flip(0), flows), flows, encoded[-1])
    flow, *others = map(halve_flow, (scene.flow, *scene.others))
    scene = Scene(halve(scene.bases), halve(scene.steady), flow, (others[0], others[1]))
    noise = SeededNoise(seeds, copies=len(windows))
    content = network.content(encoded)[-1].repeat(samples).sample(noise, temperature=temperature)
    state, path, drawn = state.repeat(samples, 1, 1, 1), None, []
    last = pictures[-1].repeat(samples, 1, 1, 1)
    for _ in range(horizon):
        pose = network.expect(state).sample(noise, temperature=temperature)
        state = network.advance(state, pose, content)
        flow = deviate(network.controls(state, pose, scene), scene.flow, scene.others, scale=0.5)
        path = extend(path, flow.flatten(0, 1))
        moved = fetch(last, enlarge_path(path, last.shape[-2:]), mode="bicubic")
        drawn.append(moved.unflatten(0, (samples, -1)))
    return torch.stack(drawn, 2).transpose(0, 1).clamp(0, 1)
