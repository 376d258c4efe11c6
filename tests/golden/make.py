"""Make the golden model and its expected rollout: `python tests/golden/make.py`.

Run it again only when predictions are meant to change; every number then comes out new.
"""

from pathlib import Path

import numpy as np
import torch

from drsvg_cli.config import DataConfig, ModelConfig, Recipe
from drsvg_cli.inference.rollout import predict, swap
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.weights.files import load_model, save_model

FOLDER = Path(__file__).parent
CONFIG = ModelConfig(
    size=32,
    width=4,
    feature_dim=8,
    content_dim=4,
    pose_dim=3,
    hidden=8,
)


def weights() -> dict[str, torch.Tensor]:
    """Draw weights and statistics, strong enough for every part to show in the result."""
    generator = torch.Generator().manual_seed(2019)
    state = DRSVG(CONFIG).state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            strong = name.startswith(("latents.", "predictor.", "decoder.start."))
            tensor.normal_(std=1.5 if strong else 0.3, generator=generator)
        if name.endswith("running_var"):
            tensor.abs_().add_(0.5)
    return state


def clip() -> np.ndarray:
    """Draw a square on a slope, moving: uint8 `(T, H, W, 3)`."""
    frames = np.empty((4, 32, 32, 3), np.uint8)
    frames[:] = (np.arange(32) * 4)[:, None]
    for time, frame in enumerate(frames):
        frame[8:16, 4 + 4 * time : 12 + 4 * time] = (250, 120, 30)
    return frames


def main() -> None:
    """Write the model folder and `expected.npz`."""
    recipe = Recipe(name="golden", model=CONFIG, data=DataConfig(context=3, horizon=2))
    save_model(FOLDER, recipe, weights())
    model, _ = load_model(FOLDER)
    frames = clip()
    given = torch.from_numpy(frames).movedim(-1, -3).float()[None] / 255
    predicted = predict(model, given[:, :3], 2, seeds=(0, 1))
    swapped = swap(model, given[:, :3], given[:, :3].flip(1), seeds=(0,))
    np.savez_compressed(
        FOLDER / "expected.npz",
        clip=frames,
        predicted=predicted.frames.numpy(),
        swapped=swapped.frames.numpy(),
    )


if __name__ == "__main__":
    main()
