"""What an evaluation of swaps leaves: tables, a record and a picture of pairs (Fig. 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drsvg_cli import __version__
from drsvg_cli.commands.evaluation_setup import Subject
from drsvg_cli.commands.output_folder import write_picture, write_record
from drsvg_cli.commands.tables import Table, markdown, percent, triple
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.evaluation.disentanglement import WHOLE, Made, Reading, partners
from drsvg_cli.evaluation.metrics import LEAST_SHARPNESS, sharpness
from drsvg_cli.evaluation.scores import Estimate, estimate
from drsvg_cli.frames import Frames, to_frames
from drsvg_cli.inference.rollout import swap
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.visualization.samples import strip

TABLE_FILE, PICTURE_FILE, RECORD_FILE = "table.md", "swaps.png", "swaps.json"
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
    swaps: Mapping[str, Mapping[str, Made]]
    """By model, and by what was made."""
    moves: Mapping[str, Mapping[str, float]]
    """How much swaps, reconstructions and the true frames move as A and as B does."""
    bounds: Mapping[str, Reading]
    """What needs no model: A standing still while B moves, and A as it is."""

    def over(self, values: Tensor) -> Estimate:
        """Average `(N, S, T)`, with an interval over clips."""
        return estimate(values.mean((1, 2)), self.groups)


def write(found: SwapFindings, folder: Path) -> dict[str, Any]:
    """Write all results into a folder; return the record."""
    (folder / TABLE_FILE).write_text("\n".join(map(markdown, tables(found))), encoding="utf-8")
    write_picture(folder / PICTURE_FILE, _picture(found))
    return write_record(folder, RECORD_FILE, _record(found))


def all_made(swaps: Mapping[str, Mapping[str, Made]]) -> dict[str, Made]:
    """Name all that the models made, as the tables do."""
    return {
        f"{name}, {kind}": made for name, kinds in swaps.items() for kind, made in kinds.items()
    }


def tables(found: SwapFindings) -> list[Table]:
    """Lay out whether swaps are right, how they move, how sharp; each attribute if it is known."""
    made, rows = all_made(found.swaps), []
    readings = {name: one.reading for name, one in made.items()} | dict(found.bounds)
    known = list(found.bounds.get(TRUTH, {}))
    for name in readings if found.bounds else [*readings, TRUTH]:
        shares = [percent(found.over(readings[name][each])) for each in known[: len(WHOLE)]]
        moved = [f"{value:.2f}" for value in found.moves.get(name, {}).values()] or ["", ""]
        rest = ["", ""]
        if name in made:
            apart = made[name].distance.mean()
            rest = [percent(found.over(made[name].sharpness)), f"{apart:.2f} levels"]
        rows.append([name, *shares, *moved, *rest])
    heads = ["content kept", "pose taken", "both"] if known else []
    heads += ["moves as A", "moves as B", "sharpness", "from the swap"]
    attributes = [
        [name, *(f"{100 * reading[each].mean():.1f}" for each in known[len(WHOLE) :])]
        for name, reading in readings.items()
    ]
    single = [Table(["right, in %", *known[len(WHOLE) :]], attributes)] if known else []
    return [Table(["", *heads], rows), *single]


def _picture(found: SwapFindings) -> Frames:
    """Show pairs: A, B, and each model's reconstruction of A and swap (Fig. 5)."""
    frames, pages = found.frames, []
    others = partners(len(frames))
    rate = Fraction(found.subjects[0].recipe.data.frame_rate).limit_denominator(1001)
    for number in _shown(frames):
        first, second = frames[number], frames[others[number]]
        rows = [("A", to_frames(first)), ("B", to_frames(second))]
        for subject in found.subjects:
            assert subject.network is not None
            for label, pose in (("A reconstructed", first), ("A moving as B", second)):
                made = _swapped(subject.network, first, pose, found)
                rows.append((f"{subject.name}, {label}", made))
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


def _swapped(network: DRSVG, content: Tensor, pose: Tensor, found: SwapFindings) -> Frames:
    device = next(network.parameters()).device
    given, other = (each[None].to(device).float() / 255 for each in (content, pose))
    seeds, temperature = found.seeds[:1], found.temperature
    made = swap(network, given, other, seeds=seeds, temperature=temperature).frames[0, 0]
    return to_frames(torch.cat([given[0, :1], made]).cpu())


def _record(found: SwapFindings) -> dict[str, Any]:
    models = {
        subject.name: {
            "weights_sha256": subject.weights,
            **{
                kind: {
                    "right": _summary(found, made.reading),
                    "moves": found.moves[f"{subject.name}, {kind}"],
                    "sharpness": triple(found.over(made.sharpness)),
                    "levels_from_swap": triple(found.over(made.distance)),
                }
                for kind, made in found.swaps[subject.name].items()
            },
        }
        for subject in found.subjects
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
