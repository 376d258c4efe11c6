"""A process that predicts for days neither grows nor runs out of anything.

`DRSVG_PREDICTIONS=1000` predicts as often as that.
"""

import gc
import os
import re
import tempfile
import time
from pathlib import Path

import pytest

from drsvg_cli.errors import VideoError
from drsvg_cli.evaluation.prediction import draw
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.reading import read_clip
from drsvg_cli.video.writing import write_clip
from drsvg_cli.weights.files import load_model

PREDICTIONS = int(os.environ.get("DRSVG_PREDICTIONS", "15"))
WARM_UP = 5
MAY_GROW = 24
"""MiB; allocators keep some, whatever the number of predictions."""


def used():
    """Count what a process may run out of: file handles, threads, temporary files."""
    return (
        len(list(Path("/proc/self/fd").iterdir())),
        len(list(Path("/proc/self/task").iterdir())),
        len(list(Path(tempfile.gettempdir()).iterdir())),
    )


def memory():
    gc.collect()
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not tell")
@pytest.mark.timeout(300 + PREDICTIONS)
def test_many_predictions_in_one_process(model_folder, make_clip, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    good = make_clip(tmp_path / "clip.mp4")
    (tmp_path / "bad.mp4").write_bytes(good.read_bytes()[:400])
    before = held = None
    for number in range(WARM_UP + PREDICTIONS):
        model, recipe = load_model(model_folder)
        clip = read_clip(good, 3, at=1.0)
        predictor = PaperPredictor(model, fit="crop")
        (made,) = draw(predictor, clip.frames, 3, seeds=[number])
        write_clip(tmp_path / "out.mp4", Clip(made, clip.rate), overwrite=True)
        with pytest.raises(VideoError):
            read_clip(tmp_path / "bad.mp4", 3)
        assert recipe.name == "tiny"
        if number == WARM_UP:
            before, held = used(), memory()
    # Threads of an encoder end when they are told to, not at once.
    patience = time.monotonic() + 60
    while any(now > then for now, then in zip(used(), before, strict=True)):
        assert time.monotonic() < patience, (used(), before)
        time.sleep(0.05)
    assert memory() - held < MAY_GROW
