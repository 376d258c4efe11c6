"""A Hugging Face Space for drsvg: send a clip, look at what could happen next.

Strangers send clips here, so each is first read in a process with limits on memory and time.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from drsvg_cli.errors import VideoError
from drsvg_cli.video.isolation import read_isolated

MOST = 4
PATIENCE = 300


def predict(clip: str | None, at: float, seconds: float, samples: float) -> list[gr.Video]:
    if clip is None:
        raise gr.Error("Send a clip first.")
    try:
        read_isolated(Path(clip), 2)
    except VideoError as error:
        raise gr.Error(str(error).replace(clip, "The clip")) from None
    folder = Path(tempfile.mkdtemp(dir=Path(clip).parent))
    command = [sys.executable, "-m", "drsvg_cli", "predict", clip, "--json"]
    command += ["--at", f"{at:.0f}%", "-n", f"{seconds:.2f}s", "-s", f"{samples:.0f}"]
    command += ["-o", str(folder / "results")]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise gr.Error(f"This takes more than {PATIENCE} seconds; ask for less.") from None
    told = json.loads(done.stdout)
    if done.returncode:
        raise gr.Error(told["error"].replace(clip, "The clip"))
    names = [name for name in told["results"][0]["files"] if name.startswith("sample_")]
    found = [str(folder / "results" / name) for name in names]
    return [gr.Video(value, visible=True) for value in found] + [
        gr.Video(None, visible=False) for _ in range(MOST - len(found))
    ]


with gr.Blocks(title="drsvg", delete_cache=(600, 3600)) as demo:
    gr.Markdown("# What could happen next?\nEach video is the end of your clip, and then a sample.")
    with gr.Row():
        clip = gr.Video(label="Clip", sources=["upload"])
        with gr.Column():
            at = gr.Slider(1, 100, 100, step=1, label="The last observed moment, in percent")
            seconds = gr.Slider(0.2, 3, 1, step=0.1, label="Seconds ahead")
            samples = gr.Slider(1, MOST, MOST, step=1, label="Samples")
            go = gr.Button("Predict", variant="primary")
    with gr.Row():
        videos = [
            gr.Video(label=f"Sample {number}", loop=True, autoplay=True, visible=False)
            for number in range(1, MOST + 1)
        ]
    go.click(predict, [clip, at, seconds, samples], videos)

if __name__ == "__main__":
    demo.launch(max_file_size="200mb")
