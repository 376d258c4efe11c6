"""What an evaluation of swaps leaves: tables, a record and a picture of pairs (Fig. 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
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
from drsvg_cli.evaluation.classifier import WHOLE, Reading
from drsvg_cli.evaluation.disentanglement import Made, agreement, movement, partners
from drsvg_cli.evaluation.metrics import LEAST_SHARPNESS, sharpness
from drsvg_cli.evaluation.scores import Estimate, estimate
from drsvg_cli.frames import Frames, to_frames
from drsvg_cli.inference.rollout import swap
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
    bounds: Mapping[str, Reading]
    """What needs no model: A standing still while B moves, and A as it is."""

    @cached_property
    def moves(self) -> dict[str, dict[str, float]]:
        """Tell how much all that was made, and the true frames, move as A and as B does."""
        own = movement(self.frames.float() / 255)[:, None]
        moved = {TRUTH: own} | {k: each.motion for k, each in all_made(self.swaps).items()}
        sides = {"as_a": own, "as_b": own[partners(len(own))]}
        return {
            name: {k: agreement(motion, side.expand_as(motion)) for k, side in sides.items()}
            for name, motion in moved.items()
        }

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
    made, moves = all_made(found.swaps), found.moves
    readings = {name: one.reading for name, one in made.items()} | {STILL: {}, TRUTH: {}}
    readings |= found.bounds
    known = list(readings[TRUTH])
    rows = []
    for name, reading in readings.items():
        if name == STILL and not known:  # how it moves is no question
            continue
        shares = [percent(found.over(reading[each])) for each in known[: len(WHOLE)]]
        moved = [f"{value:.2f}" for value in moves.get(name, {}).values()] or ["", ""]
        rest = ["", ""]
        if name in made:
            apart = made[name].distance.mean()
            rest = [percent(found.over(made[name].sharpness)), f"{apart:.2f} levels"]
        rows.append([name, *shares, *moved, *rest])
    heads = ["content kept", "pose taken", "both"] if known else []
    heads += ["moves as A", "moves as B", "sharpness", "from the swap"]
    single = Table(
        ["right, in %", *known[len(WHOLE) :]],
        [
            [name, *(f"{100 * reading[each].mean():.1f}" for each in known[len(WHOLE) :])]
            for name, reading in readings.items()
        ],
    )
    return [Table(["", *heads], rows), *[single] * bool(known)]


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
