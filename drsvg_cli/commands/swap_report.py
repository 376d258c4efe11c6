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
from drsvg_cli.commands.tables import Table, markdown, pair, percent
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.evaluation.disentanglement import Made, Probe, Reading, Swaps, partners
from drsvg_cli.evaluation.metrics import LEAST_SHARPNESS, sharpness
from drsvg_cli.evaluation.prediction import average
from drsvg_cli.frames import to_frames
from drsvg_cli.inference.rollout import swap
from drsvg_cli.visualization.layout import Frames
from drsvg_cli.visualization.samples import strip

TABLE_FILE, PICTURE_FILE, RECORD_FILE = "table.md", "swaps.png", "swaps.json"
RESULT_FILES = TABLE_FILE, PICTURE_FILE, RECORD_FILE
SHOWN = 4
"""Pairs in the picture."""
STILL = "first frame of A, standing still"
TRUTH = "true frames of A"


@dataclass(frozen=True)
class Latents:
    """What probes find in the latents of one model, or in the true poses."""

    adversary: float
    """Accuracy of a discriminator that is trained afresh on the pose."""
    discriminator: float | None
    """That of the run's own discriminator, where the run folder still has it."""
    probes: Mapping[str, Mapping[str, Probe]]
    """By latent and attribute."""


@dataclass(frozen=True)
class SwapFindings:
    """All that was measured."""

    subjects: Sequence[Subject]
    task: Benchmark
    seeds: Sequence[int]
    temperature: float
    """Of the posteriors: 0 takes their means."""
    swaps: Mapping[str, Swaps]
    """By the names of the subjects."""
    moves: Mapping[str, Mapping[str, float]]
    """How much swaps, reconstructions and the true frames move as A and as B does."""
    bounds: Mapping[str, Reading]
    """What needs no model: A standing still while B moves, and A as it is."""
    latents: Mapping[str, Latents]
    ideal: float | None
    """What the adversary reaches on the true poses alone."""


def write(found: SwapFindings, folder: Path) -> dict[str, Any]:
    """Write all results into a folder; return the record."""
    (folder / TABLE_FILE).write_text("\n".join(map(markdown, tables(found))), encoding="utf-8")
    write_picture(folder / PICTURE_FILE, _picture(found))
    return write_record(folder, RECORD_FILE, _record(found))


def tables(found: SwapFindings) -> list[Table]:
    """Lay out whether swaps are right, attribute by attribute if that is known, and the latents."""
    attributes = [_attributes_table(found)] if found.bounds else []
    return [_swaps_table(found), *attributes, _latents_table(found)]


def all_made(swaps: Mapping[str, Swaps]) -> dict[str, Made]:
    """Name the swaps and the reconstructions of every model, as the tables do."""
    return {
        f"{name}, {kind}": made
        for name, both in swaps.items()
        for kind, made in both._asdict().items()
    }


def _readings(found: SwapFindings) -> dict[str, Reading | None]:
    """Name all that was read: swaps and reconstructions of every model, and the bounds."""
    return {**{name: made.reading for name, made in all_made(found.swaps).items()}, **found.bounds}


def _swaps_table(found: SwapFindings) -> Table:
    """Lay out whether content and pose are right, if that is known, how frames move, how sharp."""
    sharpness = {name: made.sharpness for name, made in all_made(found.swaps).items()}
    readings, rows = _readings(found), []
    for name in [*sharpness, *(found.bounds or [TRUTH])]:
        reading = readings.get(name)
        shares = [] if reading is None else [average(v.mean(1)) for v in _whole(reading).values()]
        moved = [f"{value:.2f}" for value in found.moves.get(name, {}).values()] or ["", ""]
        sharp = percent(average(sharpness[name].mean(1))) if name in sharpness else ""
        rows.append([name, *map(percent, shares), *moved, sharp])
    heads = ["content kept", "pose taken", "both"] if found.bounds else []
    return Table(["", *heads, "moves as A", "moves as B", "sharpness"], rows)


def _attributes_table(found: SwapFindings) -> Table:
    """Lay out how often each attribute is right."""
    rows = []
    for name, reading in _readings(found).items():
        assert reading is not None
        shares = [float(values.mean()) for values in _single(reading).values()]
        rows.append([name, *map(_plain, shares)])
    return Table(["right, in %", *_single(found.bounds[TRUTH])], rows)


def _whole(reading: Reading) -> dict[str, Tensor]:
    return {"content": reading.kept, "pose": reading.taken, "both": reading.both}


def _single(reading: Reading) -> dict[str, Tensor]:
    return {**reading.content, **reading.poses}


def _latents_table(found: SwapFindings) -> Table:
    """Lay out what adversaries and linear probes find in the latents."""
    attributes = [*found.task.labels, *found.task.poses]
    heads = ["latents, in %", "adversary", "own", *attributes]
    rows, chances = [], {}
    for name, latents in found.latents.items():
        for latent, probes in latents.probes.items():
            judged = [latents.adversary, latents.discriminator] if latent == "pose" else [None] * 2
            cells = [*judged, *(each.accuracy for each in probes.values())]
            rows.append([f"{name}, {latent}", *map(_plain, cells)])
            chances = {attribute: each.chance for attribute, each in probes.items()}
    if found.ideal is not None:
        rows.append(["true poses alone", _plain(found.ideal), "", *[""] * len(attributes)])
    rows.append(["chance", *map(_plain, [0.5, 0.5, *chances.values()])])
    return Table(heads, rows)


def _plain(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _picture(found: SwapFindings) -> Frames:
    """Show pairs: A, B, and each model's reconstruction of A and swap (Fig. 5)."""
    frames, pages = found.task.frames, []
    others = partners(len(frames))
    rate = Fraction(found.subjects[0].recipe.data.frame_rate).limit_denominator(1001)
    for number in _shown(frames):
        first, second = frames[number], frames[others[number]]
        rows = [("A", to_frames(first)), ("B", to_frames(second))]
        for subject in found.subjects:
            for label, pose in (("A reconstructed", first), ("A moving as B", second)):
                made = _swapped(subject, first, pose, found)
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
    parts = torch.arange(len(frames)).tensor_split(SHOWN)
    return [int(part[begun[part].argmax()]) for part in parts]


def _swapped(subject: Subject, content: Tensor, pose: Tensor, found: SwapFindings) -> Frames:
    device = next(subject.model.parameters()).device
    given, other = (each[None].to(device).float() / 255 for each in (content, pose))
    seeds, temperature = found.seeds[:1], found.temperature
    made = swap(subject.model, given, other, seeds=seeds, temperature=temperature).frames[0, 0]
    return to_frames(torch.cat([given[0, :1], made]).cpu())


def _record(found: SwapFindings) -> dict[str, Any]:
    models = {}
    for subject in found.subjects:
        swaps, latents = found.swaps[subject.name], found.latents[subject.name]
        models[subject.name] = {
            "weights_sha256": subject.weights,
            "swap": _summary(swaps.swap.reading),
            "reconstruction": _summary(swaps.reconstruction.reading),
            "moves": found.moves[f"{subject.name}, swap"],
            "reconstruction_moves": found.moves[f"{subject.name}, reconstruction"],
            "sharpness": pair(average(swaps.swap.sharpness.mean(1))),
            "reconstructed_sharpness": pair(average(swaps.reconstruction.sharpness.mean(1))),
            "adversary": latents.adversary,
            "own_discriminator": latents.discriminator,
            "probes": {
                latent: {name: each._asdict() for name, each in probes.items()}
                for latent, probes in latents.probes.items()
            },
        }
    return {
        "drsvg": __version__,
        "torch": version("torch"),
        "device": str(next(found.subjects[0].model.parameters()).device),
        "data": found.task.words,
        "digest": found.task.digest,
        "pairs": len(found.task.frames),
        "frames": found.task.frames.shape[1],
        "sample_seeds": list(found.seeds),
        "temperature": found.temperature,
        "models": models,
        "true_frames_move": found.moves[TRUTH],
        "bounds": {name: _summary(reading) for name, reading in found.bounds.items()},
        "adversary_on_true_poses": found.ideal,
    }


def _summary(reading: Reading | None) -> dict[str, list[float | None]] | None:
    """Give every share as a pair: the mean over pairs, the half-width of its interval."""
    if reading is None:
        return None
    tables = _whole(reading) | _single(reading)
    return {name: pair(average(values.mean(1))) for name, values in tables.items()}
