"""What a command costs before and beside the model, relative to `import torch`."""

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.measure import table
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.writing import write_clip

DRSVG = [sys.executable, "-m", "drsvg_cli"]
REPEATS = 3
BUSY = "beside other work"
WORK = """
import torch
layer, maps = torch.nn.Conv2d(64, 64, 3), torch.randn(8, 64, 64, 64)
print(flush=True)
with torch.inference_mode():
    while True:
        layer(maps)
"""


def seconds(*command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


@contextmanager
def other_work():
    """Keep every core busy meanwhile, as a training would."""
    with subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline()
        try:
            yield
            assert worker.poll() is None
        finally:
            worker.kill()


def film(folder):
    """Write ten seconds of a textured square that moves, at 1280 x 720."""
    levels = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    ground = cv2.resize(levels, (1280, 720), interpolation=cv2.INTER_CUBIC)
    frames = np.repeat(ground[None], 100, axis=0)
    for number, frame in enumerate(frames):
        frame[200:400, 6 * number : 6 * number + 200] = (240, 90, 40)
    path = folder / "ten-seconds.mp4"
    write_clip(path, Clip(frames, Fraction(10)))
    return path


def lengthen(path, times):
    """Repeat a clip's packets without encoding them again: two hours take seconds to write."""
    longer = path.with_name("two-hours.mp4")
    with av.open(path) as source, av.open(longer, "w") as target:
        given = source.streams.video[0]
        stream = target.add_stream_from_template(given)
        packets = [packet for packet in source.demux(given) if packet.dts is not None]
        for turn in range(times):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base = stream, packet.time_base
                copy.is_keyframe = packet.is_keyframe
                copy.pts = packet.pts + turn * given.duration
                copy.dts = packet.dts + turn * given.duration
                target.mux(copy)
    return longer


def run():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = film(folder)
        long = lengthen(short, 720)
        predict = [*DRSVG, "predict", "--seed", "1", "-y", "-q", "-o", str(folder / "out")]
        commands = {
            "`import torch`": [sys.executable, "-c", "import torch"],
            "`drsvg --help`": [*DRSVG, "--help"],
            "`drsvg predict`, 10 s at 720p": [*predict, str(short)],
            "`drsvg predict`, 2 h at 720p": [*predict, str(long)],
            f"`import torch`, {BUSY}": [sys.executable, "-c", "import torch"],
            f"`drsvg predict`, 10 s at 720p, {BUSY}": [*predict, str(short)],
        }
        taken = {label: [] for label in commands}
        for turn in range(1 + REPEATS):
            for label, command in commands.items():
                with other_work() if label.endswith(BUSY) else nullcontext():
                    spent = seconds(*command)
                if turn:  # the first time, files are not in memory
                    taken[label].append(spent)
    medians = {label: statistics.median(each) for label, each in taken.items()}
    rows = []
    for label, each in medians.items():
        torch = medians[f"`import torch`, {BUSY}" if label.endswith(BUSY) else "`import torch`"]
        rows.append([label, f"{each:.2f} s", f"{each / torch:.2f}"])
    return table(["command", "time", "of `import torch`"], rows)


if __name__ == "__main__":
    print("\n".join(run()))
