"""Predict and swap from Python: `python examples/library.py [FOLDER]`."""

import sys
from fractions import Fraction
from pathlib import Path

from drsvg_cli.frames import fit_all, to_frames, to_tensor
from drsvg_cli.inference.rollout import predict, swap
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.reading import read_clip
from drsvg_cli.video.writing import write_clip
from drsvg_cli.weights.registry import load_model

EXAMPLES = Path(__file__).parent


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model, recipe = load_model("general")
    size, channels = recipe.model.size, recipe.model.channels
    rate = Fraction(recipe.data.rate).limit_denominator(1001)

    def read(name, count):
        """Read a sample clip as the model was trained to see it, `(1, T, C, S, S)` in [0, 1]."""
        clip = read_clip(EXAMPLES / name, count, rate=rate)
        small = fit_all(clip.frames, size, how=recipe.data.fit)
        return to_tensor(small, channels=channels)[None], clip.rate

    context, shown = read("ball.mp4", recipe.data.context)
    futures = predict(model, context, 4, seeds=[1, 2, 3]).frames[0]
    for number, future in enumerate(futures, start=1):
        write_clip(out / f"future_{number}.mp4", Clip(to_frames(future), shown), overwrite=True)

    content, shown = read("ball.mp4", 5)
    pose, _ = read("pendulum.mp4", 5)
    swapped = swap(model, content, pose, seeds=[1]).frames[0, 0]
    write_clip(out / "swap.mp4", Clip(to_frames(swapped), shown), overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/library"))
