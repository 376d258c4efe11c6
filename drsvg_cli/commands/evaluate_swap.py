"""The work behind `drsvg evaluate --swap`: swaps of pairs of sequences, read and measured.

It leaves tables, a record and a picture of pairs (Fig. 5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drsvg_cli import __version__
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.evaluation_setup import Request, Subject, gather, load, reader
from drsvg_cli.commands.output_folder import check_free, filled, write_record
from drsvg_cli.commands.tables import TABLE_FILE, Table, percent, triple, write_results
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.device import explained_memory, keep_memory, prepare
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.evaluation.classifier import WHOLE, Known, Reading
from drsvg_cli.evaluation.disentanglement import Made, agreement, movement, partners, swap_all
from drsvg_cli.evaluation.metrics import LEAST_SHARPNESS, sharpness
from drsvg_cli.evaluation.scores import Estimate, estimate
from drsvg_cli.frames import Frames, to_frames
from drsvg_cli.inference.rollout import swap
from drsvg_cli.visualization.samples import strip

PICTURE_FILE, RECORD_FILE = "swaps.png", "swaps.json"
RESULT_FILES = TABLE_FILE, PICTURE_FILE, RECORD_FILE
SHOWN = 4
"""Pairs in the picture."""
STILL = "first frame of A, standing still"
TRUTH = "true frames of A"


@dataclass(frozen=True)
class SwapFindings:
    """All that was measured."""

    subjects: Sequence[Subject]
    task: Benchmark
    groups: Sequence[str]
    """The source clip of each of the sequences that were swapped."""
    frames: Tensor
    """The sequences that were swapped, uint8 `(N, T, C, S, S)`."""
    seeds: Sequence[int]
    temperature: float
    """Of the posteriors: 0 takes their means."""
    made: Mapping[str, Made]
    """By model and what was made, as `kth, swap`."""
    bounds: Mapping[str, Reading]
    """What needs no model: A standing still while B moves, and A as it is."""

    @cached_property
    def moves(self) -> dict[str, dict[str, float]]:
        """Tell how much all that was made, and the true frames, move as A and as B does."""
        own = movement(self.frames.float() / 255)[:, None]
        moved = {TRUTH: own} | {name: each.motion for name, each in self.made.items()}
        sides = {"as_a": own, "as_b": own[partners(len(own))]}
        return {
            name: {k: agreement(motion, side.expand_as(motion)) for k, side in sides.items()}
            for name, motion in moved.items()
        }

    def over(self, values: Tensor) -> Estimate:
        """Average `(N, S, T)`, with an interval over clips."""
        return estimate(values.mean((1, 2)), self.groups)


@explained_memory("choose fewer --samples or --sequences")
def run(request: Request, reporter: Reporter) -> None:
    """Swap the test sequences in pairs with every model, and leave a folder of results.

    Raises:
        DrsvgError: the models cannot be compared, or there is nothing to measure them on.
    """
    check_free(request.out, overwrite=request.overwrite, names=RESULT_FILES)
    keep_memory()  # every batch wants as much
    device = prepare(request.device)
    subjects = load(request, device)
    networks = {each.name: each.network for each in subjects if each.network is not None}
    if len(networks) < len(subjects):
        raise ConfigError("--swap measures models that draw squares of their own size; name these")
    recipe = subjects[0].recipe
    request = replace(request, horizon=request.horizon or recipe.data.horizon)
    task = gather(request, recipe, reporter, whole=False)
    longest = max(len(clip) for clip in task.clips)
    chosen = [number for number, clip in enumerate(task.clips) if len(clip) == longest]
    if len(chosen) < 2:
        raise ConfigError("a swap takes two sequences of the same length, or more")
    stacked = np.stack([task.clips[number] for number in chosen])[..., : task.channels]
    frames = torch.from_numpy(np.ascontiguousarray(stacked)).movedim(-1, 2)
    groups = [task.groups[number] for number in chosen]
    known = reader(recipe, task, device)
    known = known if known and known.poses else None
    seeds = [request.seed + number for number in range(1, (request.samples or 1) + 1)]
    temperature = 1.0 if request.temperature is None else request.temperature
    made: dict[str, Made] = {}
    swapped = partial(swap_all, frames=frames, seeds=seeds, temperature=temperature, known=known)
    with reporter.progress() as progress:
        bar = progress.add_task("Swapping", total=len(networks) * len(frames), note="")
        for name, network in networks.items():
            for kind, each in swapped(network, tick=partial(progress.advance, bar)).items():
                made[f"{name}, {kind}"] = each
                if not bool(each.sharpness.isfinite().all()):
                    raise WeightsError(f"{name} draws no numbers; its weights are broken")
    bounds = {} if known is None else _bounds(frames.to(device), known)
    found = SwapFindings(subjects, task, groups, frames, seeds, temperature, made, bounds)
    with filled(request.out, overwrite=request.overwrite) as part:
        write_results(part, _tables(found), {PICTURE_FILE: _picture(found)}, reporter)
        record = write_record(part, RECORD_FILE, _record(found))
    reporter.result(record, one_line(f"{request.out}: {', '.join(record['files'])}"))


def _bounds(frames: Tensor, known: Known) -> dict[str, Reading]:
    """Read what needs no model: A standing still while B moves, and A as it is."""
    own, others = torch.arange(len(frames)), partners(len(frames))
    still = frames[:, None, :1].expand(-1, 1, frames.shape[1] - 1, -1, -1, -1)
    return {
        STILL: known.judge(still, content=own, poses=others),
        TRUTH: known.judge(frames[:, None, 1:], content=own, poses=own),
    }


def _tables(found: SwapFindings) -> list[Table]:
    """Lay out whether swaps are right, how they move, how sharp; each attribute if it is known."""
    readings = {name: each.reading for name, each in found.made.items()}
    readings |= found.bounds or {TRUTH: {}}
    alone = [name for name in readings[TRUTH] if name not in WHOLE]
    rows = []
    for name, reading in readings.items():
        shares = [percent(found.over(reading[each])) for each in WHOLE if reading]
        moved = [f"{value:.2f}" for value in found.moves.get(name, {}).values()] or ["", ""]
        rest = ["", ""]
        if made := found.made.get(name):
            rest = [percent(found.over(made.sharpness)), f"{made.distance.mean():.2f} levels"]
        rows.append([name, *shares, *moved, *rest])
    heads = ["content kept", "pose taken", "both"] if found.bounds else []
    whole = Table(["", *heads, "moves as A", "moves as B", "sharpness", "from the swap"], rows)
    if not found.bounds:
        return [whole]
    right = [[n, *(f"{100 * r[each].mean():.1f}" for each in alone)] for n, r in readings.items()]
    return [whole, Table(["right, in %", *alone], right)]


def _picture(found: SwapFindings) -> Frames:
    """Show pairs: A, B, and each model's reconstruction of A and swap (Fig. 5)."""
    others, pages = partners(len(found.frames)), []
    rate = Fraction(found.subjects[0].recipe.data.frame_rate).limit_denominator(1001)
    for number in _shown(found.frames):
        first, second = found.frames[number], found.frames[others[number]]
        rows = [("A", to_frames(first)), ("B", to_frames(second))]
        for subject in found.subjects:
            network = subject.network
            assert network is not None
            device, temperature = next(network.parameters()).device, found.temperature
            content = torch.stack([first, first]).to(device).float() / 255
            pose = torch.stack([first, second]).to(device).float() / 255
            made = swap(network, content, pose, seeds=found.seeds[:1], temperature=temperature)
            films = torch.cat([content[:, :1], made.frames[:, 0]], 1).cpu()
            for label, film in zip(("A reconstructed", "A moving as B"), films, strict=True):
                rows.append((f"{subject.name}, {label}", to_frames(film)))
        pages.append(strip(rows, tile=64, rate=rate, columns=20))
    return np.concatenate(pages)


def _shown(frames: Tensor) -> list[int]:
    """Choose pairs from everywhere, in which both begin with as much in view as they later have.

    A swap starts from the first frame of A: whoever is not in it yet does not come.
    """
    detail = sharpness(frames.float() / 255)
    begun = detail[:, 0] / detail.mean(1).clamp(min=LEAST_SHARPNESS)
    begun = torch.minimum(begun, begun[partners(len(frames))])
    parts = torch.arange(len(frames)).tensor_split(min(SHOWN, len(frames)))
    return [int(part[begun[part].argmax()]) for part in parts]


def _record(found: SwapFindings) -> dict[str, Any]:
    models: dict[str, dict[str, Any]] = {
        each.name: {"weights_sha256": each.weights} for each in found.subjects
    }
    for name, made in found.made.items():
        subject, kind = name.rsplit(", ", 1)
        models[subject][kind] = {
            "right": _summary(found, made.reading),
            "moves": found.moves[name],
            "sharpness": triple(found.over(made.sharpness)),
            "levels_from_swap": triple(found.over(made.distance)),
        }
    return {
        "drsvg": __version__,
        "torch": version("torch"),
        "data": found.task.words,
        "digest": found.task.digest,
        "pairs": len(found.frames),
        "frames": found.frames.shape[1],
        "sample_seeds": list(found.seeds),
        "temperature": found.temperature,
        "models": models,
        "true_frames_move": found.moves[TRUTH],
        "bounds": {name: _summary(found, reading) for name, reading in found.bounds.items()},
    }


def _summary(found: SwapFindings, reading: Reading) -> dict[str, Any]:
    """Give every share as three numbers: the mean over pairs, and its 95 % interval."""
    return {name: triple(found.over(values)) for name, values in reading.items()}
