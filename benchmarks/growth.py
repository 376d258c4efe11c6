"""How a prediction's time and memory grow with everything that a user can ask for more of."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import table

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "growth.png"
SERIES = {
    "samples": [{"samples": each} for each in (1, 10, 100, 1000)],
    "horizon": [{"horizon": each} for each in (10, 50, 100, 500)],
    "context": [{"context": each} for each in (5, 50, 500)],
    "size": [{"size": each} for each in (64, 128)],
    "width": [{"width": each} for each in (16, 32, 64)],
}
USUAL = {"samples": 5, "horizon": 10, "context": 5, "size": 64, "width": 32}


def one(samples, horizon, context, size, width):
    """Stream a prediction in this process: seconds, and the memory beyond what was there before."""
    import torch

    from drsvg_cli.config import ModelConfig
    from drsvg_cli.model.drsvg import DRSVG
    from drsvg_cli.model.freezing import freeze
    from drsvg_cli.rollout import stream

    model = freeze(DRSVG(ModelConfig(head="warp", size=size, width=width)).eval())
    clip = torch.rand(1, context, 3, size, size)
    for _ in stream(model, clip[:, :2], 1, seeds=[0]):
        pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    for _ in stream(model, clip, horizon, seeds=range(samples)):
        pass
    seconds = time.perf_counter() - begin
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


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
    for name, changes in SERIES.items():
        first = None
        for change in changes:
            seconds, memory = measured(USUAL | change)
            first = first or seconds
            taken.setdefault(name, {})[change[name]] = seconds
            rows.append(
                [
                    name,
                    change[name],
                    f"{seconds:.2f} s",
                    f"{seconds / first:.1f} ×",
                    f"{memory:.0f} MB",
                ]
            )
    draw(taken)
    return table(["what grows", "to", "time", "of the first row", "more memory"], rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(one(**json.loads(sys.argv[1]))))
    else:
        print("\n".join(run()))
