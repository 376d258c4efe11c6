"""Where the time goes: of a rollout by the parts of the model, of a training step by operations."""

import time
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import rollout, training
from benchmarks.measure import alternate, table
from benchmarks.operations import counted, peaks, timed
from drsvg_cli.inference.rollout import predict
from drsvg_cli.model.folding import fold_batchnorm

WIDTH = 32
KINDS = {
    "convolutions": ("convolution",),
    "LSTMs and matrix products": ("rnn", "mm", "linear"),
    "batch normalisation": ("batch_norm",),
    "optimiser, average, norms": ("adam", "lerp", "norm"),
    "activations": ("relu", "sigmoid", "tanh"),
}
"""An operation is of the first kind that its name has a word of."""


def of_rollout():
    """Return the rows of a table: each part's share of the time, and how fast it multiplies.

    On one core, since every core rolls out samples of its own.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    model = rollout.model(WIDTH)
    levels = range(len(model.encoder.levels))
    parts = {f"encoder.levels.{n}": f"encoder, level {n + 1}" for n in levels}
    parts |= {"encoder.code": "encoder, features", "predictor": "LSTMs"}
    parts |= {f"latents.{n}.posterior": "LSTMs" for n in range(2)} | {"latents.1.prior": "LSTMs"}
    parts["decoder.start"] = "decoder, deepest maps"
    parts |= {f"decoder.levels.{n}": f"decoder, level {n + 1}" for n in levels}
    context = torch.rand(1, rollout.CONTEXT, 1, 64, 64)
    seeds = range(rollout.SAMPLES)
    with counted(model) as operations:
        predict(model, context, rollout.HORIZON, seeds=seeds)
    fold_batchnorm(model)
    predict(model, context, rollout.HORIZON, seeds=seeds)
    begin = time.perf_counter()
    with timed(model, parts) as seconds:
        predict(model, context, rollout.HORIZON, seeds=seeds)
    whole = time.perf_counter() - begin
    convolve, most = peaks()[1]
    peak = most / alternate(convolve)[0]
    torch.set_num_threads(cores)
    spent, done = Counter(), Counter()
    for name, title in parts.items():
        spent[title] += seconds[name]
        done[title] += sum(n for layer, n in operations.items() if layer.startswith(f"{name}."))
    rows = [
        [title, f"{spent[title] / whole:.0%}", f"{done[title] / spent[title] / peak:.0%}"]
        for title in spent
    ]
    return [*rows, ["all else", f"{1 - sum(spent.values()) / whole:.0%}", ""]]


def of_training():
    """Return the rows of a table: each kind of operation's share of the time."""
    with training.ours(WIDTH) as step:
        for _ in range(3):
            step()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(5):
                step()
    spent = Counter()
    for event in profiler.key_averages():
        kinds = (kind for kind, words in KINDS.items() if any(word in event.key for word in words))
        spent[next(kinds, "all else")] += event.self_cpu_time_total
    return [[kind, f"{spent[kind] / spent.total():.0%}"] for kind in [*KINDS, "all else"]]


def run():
    head = ["rollout", "of the time", "of the peak (convolution)"]
    return [*table(head, of_rollout()), "", *table(["training step", "of the time"], of_training())]


if __name__ == "__main__":
    print("\n".join(run()))
