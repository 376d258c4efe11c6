"""Render the two sprite clips, examples/sprite_a.mp4 and examples/sprite_b.mp4.

They are composed of sheets of the Liberated Pixel Cup, which `drsvg data sprites` fetches, and show
two characters that no model has been trained on: a pair for `drsvg swap --model sprites`.

    python examples/make_sprites.py FOLDER-WITH-THE-SHEETS
"""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from drsvg_cli.config import ModelConfig
from drsvg_cli.data.sprites import MovingSprites, read_sheets
from drsvg_cli.frames import to_frames
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.writing import write_clip

FRAMES = 24
RATE = 10
SCALE = 4  # whole pixels, so that they stay sharp
SEED = "examples"


def main(sheets: Path, folder: Path) -> None:
    """Write both clips into `folder`."""
    sprites = MovingSprites(read_sheets(sheets), "test", ModelConfig(), FRAMES)
    drawn = sprites.batch(2, seed=SEED).transpose(0, 1)
    for name, frames in zip("ab", drawn, strict=True):
        large = np.kron(to_frames(frames), np.ones((1, SCALE, SCALE, 1), np.uint8))
        write_clip(folder / f"sprite_{name}.mp4", Clip(large, Fraction(RATE)), overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
