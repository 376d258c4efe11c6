"""Make the contact sheets that README.md shows, with the embedded weights.

python examples/make_pictures.py
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent
IMAGES = EXAMPLES.parent / "docs" / "images"
COMMANDS = {
    "bunny-sheet.png": "predict bunny.mp4 --at 1.5 --samples 3 --compare --seed 1",
    "sprites-sheet.png": "swap sprite_a.mp4 sprite_b.mp4 --model sprites --seed 1",
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name, command in COMMANDS.items():
            out = Path(folder) / name
            drsvg = [sys.executable, "-m", "drsvg_cli", *command.split(), "-o", str(out)]
            subprocess.run(drsvg, cwd=EXAMPLES, check=True)
            shutil.copy(out / "sheet.png", IMAGES / name)
