"""How a prediction's time and memory grow with everything that a user can ask for more of."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import table

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "growth.png"
SERIES = {
    "samples": (1, 10, 100, 1000),
    "horizon": (10, 50, 100, 500),
    "context": (5, 50, 500),
    "size": (64, 128),
    "width": (16, 32, 64),
}
USUAL = {"samples": 5, "horizon": 10, "context": 5, "size": 64, "width": 32}


def most_memory():
    """Return the most megabytes that this process has used; `getrusage` counts its parent's too."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def one(samples, horizon, context, size, width):
    """Stream a prediction in this process: seconds, and the memory beyond what was there before."""
    import torch

    from drsvg_cli.config import ModelConfig
    from drsvg_cli.inference.rollout import stream
    from drsvg_cli.model.drsvg import DRSVG
    from drsvg_cli.model.folding import fold_batchnorm

    model = fold_batchnorm(DRSVG(ModelConfig(size=size, width=width)).eval())
    clip = torch.rand(1, context, 3, size, size)
    for _ in stream(model, clip[:, :2], 1, seeds=[0]):
        pass
    before = most_memory()
    begin = time.perf_counter()
    for _ in stream(model, clip, horizon, seeds=range(samples)):
        pass
    seconds = time.perf_counter() - begin
    return seconds, most_memory() - before


def measured(settings):
    command = [sys.executable, "-m", "benchmarks.growth", json.dumps(settings)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout)


def draw(taken):
    """Draw the seconds of every series against what grows; a dotted line grows as it does."""
    from matplotlib import pyplot  # of no use to the processes that are measured

    figure, axes = pyplot.subplots(
        1, len(taken), figsize=(15, 3), sharey=True, layout="constrained"
    )
    for place, (name, points) in zip(axes, taken.items(), strict=True):
        x, y = zip(*points.items(), strict=True)
        place.loglog(x, y, "o-")
        place.loglog(x, [y[0] * each / x[0] for each in x], ":", color="gray")
        place.set(xlabel=name, xticks=x, xticklabels=x)
        place.minorticks_off()
        place.grid(alpha=0.3)
    axes[0].set_ylabel("seconds")
    figure.savefig(PICTURE, dpi=80, metadata={"Software": None})


def run():
    rows, taken = [], {}
    for name, values in SERIES.items():
        first, taken[name] = None, {}
        for value in values:
            seconds, memory = measured(USUAL | {name: value})
            first = first or seconds
            taken[name][value] = seconds
            ratio = f"{seconds / first:.1f} ×"
            rows.append([name, value, f"{seconds:.2f} s", ratio, f"{memory:.0f} MB"])
    draw(taken)
    return table(["what grows", "to", "time", "of the first row", "more memory"], rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(one(**json.loads(sys.argv[1]))))
    else:
        print("\n".join(run()))
