"""How a prediction's time and memory grow with everything that a user can ask for more of."""

import json
import resource
import subprocess
import sys
import time

from benchmarks.measure import table

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


def run():
    rows = []
    for name, changes in SERIES.items():
        first = None
        for change in changes:
            seconds, memory = measured(USUAL | change)
            first = first or seconds
            rows.append(
                [
                    name,
                    change[name],
                    f"{seconds:.2f} s",
                    f"{seconds / first:.1f} ×",
                    f"{memory:.0f} MB",
                ]
            )
    return table(["what grows", "to", "time", "of the first row", "more memory"], rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(one(**json.loads(sys.argv[1]))))
    else:
        print("\n".join(run()))
