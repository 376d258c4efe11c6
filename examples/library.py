"""Predict and swap from Python: `python examples/library.py [FOLDER]`."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from drsvg_cli.evaluation.prediction import draw
from drsvg_cli.inference.loading import load_predictor
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.reading import read_clip
from drsvg_cli.video.writing import write_clip
from drsvg_cli.weights.registry import resolve

EXAMPLES = Path(__file__).parent


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    loaded = load_predictor("general", resolve("general"), torch.device("cpu"))
    data = loaded.recipe.data
    rate = Fraction(data.frame_rate).limit_denominator(1001)

    clip = read_clip(EXAMPLES / "ball.mp4", data.context, rate=rate)
    samples = draw(loaded.predictor, clip.frames, 4, seeds=[1, 2, 3])
    for number, sample in enumerate(samples, start=1):
        write_clip(out / f"sample_{number}.mp4", Clip(sample, clip.rate), overwrite=True)

    content, pose = (
        read_clip(EXAMPLES / f"{name}.mp4", 5, rate=rate) for name in ("ball", "pendulum")
    )
    moments = loaded.predictor.swap(content.frames, pose.frames, seeds=[1])
    swapped = np.stack([moment.frames[0] for moment in moments])
    write_clip(out / "swap.mp4", Clip(swapped, content.rate), overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/library"))
