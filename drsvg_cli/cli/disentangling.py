"""The work behind `drsvg evaluate --swap`: swaps of pairs of sequences, read, probed and drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drsvg_cli import __version__
from drsvg_cli.checkpoint import load_state
from drsvg_cli.cli.comparing import Request, Subject, gather, load, reader
from drsvg_cli.cli.console import Reporter, one_line
from drsvg_cli.cli.results import check_free, filled, write_picture, write_record
from drsvg_cli.cli.tables import Table, markdown, pair, percent, show
from drsvg_cli.device import explained_memory, keep_memory, prepare
from drsvg_cli.disentanglement import (
    Known,
    Made,
    Probe,
    Reading,
    Swaps,
    adversary_accuracy,
    agreement,
    discriminator_accuracy,
    ideal,
    infer,
    movement,
    partners,
    probe,
    swap_all,
)
from drsvg_cli.drawing import Frames
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.evaluation import average
from drsvg_cli.frames import to_frames
from drsvg_cli.metrics import LEAST_SHARPNESS, sharpness
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.gaussian import Gaussian
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.pictures import strip
from drsvg_cli.rollout import swap
from drsvg_cli.sequences.offers import Benchmark
from drsvg_cli.training import STATE_FILE

RECORD_FILE = "swaps.json"
SHOWN = 4
"""Pairs in the picture."""
FEWEST = 4
"""Sequences: probes learn from one half of them and are tested on the other one."""
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
class Findings:
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


@explained_memory("choose fewer --samples or --sequences")
def run(request: Request, *, as_json: bool, quiet: bool) -> None:
    """Swap the test sequences in pairs with every model, and leave a folder of results.

    Raises:
        DrsvgError: the models cannot be compared, or there is nothing to measure them on.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    check_free(request.out, overwrite=request.overwrite)
    keep_memory()  # every batch wants as much
    subjects = load(request, prepare(request.device))
    data = subjects[0].recipe.data
    context, horizon = request.context or data.context, request.horizon or data.horizon
    task = gather(request, subjects, reporter, context=context, horizon=horizon)
    if len(task.frames) < FEWEST:
        raise ConfigError(f"there are {len(task.frames)} sequences; give {FEWEST} or more")
    known = _known(request, subjects, task)
    found = _measure(request, subjects, task, known, reporter)
    with filled(request.out, overwrite=request.overwrite) as part:
        tables = [_swaps_table(found), _latents_table(found)]
        if found.bounds:
            tables.insert(1, _attributes_table(found))
        (part / "table.md").write_text("\n".join(map(markdown, tables)), encoding="utf-8")
        write_picture(part / "swaps.png", _picture(found))
        record = write_record(part, RECORD_FILE, _record(found))
    for table in tables:
        show(table, reporter)
    reporter.result(record, one_line(f"{request.out}: {', '.join(record['files'])}"))


def _known(request: Request, subjects: Sequence[Subject], task: Benchmark) -> Known | None:
    classifier, _ = reader(request, subjects, task)
    if classifier is None:
        return None
    poses = {name: each for name, each in task.poses.items() if name in classifier.attributes}
    if not poses and request.classifier is not None:
        raise ConfigError(
            f"it is not known which pose {task.words} show; leave --classifier out with --swap"
        )
    return Known(classifier, task.labels, poses) if poses else None


def _measure(
    request: Request,
    subjects: Sequence[Subject],
    task: Benchmark,
    known: Known | None,
    reporter: Reporter,
) -> Findings:
    seeds = [request.seed + number for number in range(1, request.samples + 1)]
    temperature = 1.0 if request.temperature is None else request.temperature
    swaps, latents = {}, {}
    with reporter.progress() as progress:
        bar = progress.add_task("Swapping", total=len(subjects) * len(task.frames), note="")
        for subject in subjects:
            swaps[subject.name] = swap_all(
                subject.model,
                task.frames,
                seeds=seeds,
                temperature=temperature,
                known=known,
                tick=lambda count: progress.advance(bar, count),
            )
            if not bool(torch.isfinite(swaps[subject.name].swap.sharpness).all()):
                raise WeightsError(f"{subject.name} draws no numbers; its weights are broken")
            latents[subject.name] = _probed(subject, task)
    bound = adversary_accuracy(ideal(task.poses)) if task.poses else None
    bounds = {} if known is None else _bounds(task, known)
    moves = _moves(movement(task.frames.float() / 255), swaps)
    return Findings(subjects, task, seeds, temperature, swaps, moves, bounds, latents, bound)


def _probed(subject: Subject, task: Benchmark) -> Latents:
    inferred = infer(subject.model, task.frames)
    named = dict(zip(("content", "pose")[-len(inferred) :], inferred, strict=True))
    attributes = {**task.labels, **task.poses}
    return Latents(
        adversary_accuracy(named["pose"]),
        _own_accuracy(subject, named["pose"]),
        {
            latent: {name: probe(each, labels) for name, labels in attributes.items()}
            for latent, each in named.items()
        },
    )


def _own_accuracy(subject: Subject, pose: Gaussian) -> float | None:
    """Measure the discriminator that a run was trained with; weights files do not hold it."""
    path = subject.source / STATE_FILE
    if not path.is_file():
        return None
    config = subject.recipe.model
    discriminator = PoseDiscriminator(config.pose_dim, hidden=config.discriminator_hidden)
    try:
        discriminator.load_state_dict(load_state(path)["discriminator"])
    except (KeyError, RuntimeError):
        raise WeightsError(f"{path} is not the state of the run that left these weights") from None
    half = pose.mean.shape[1] // 2  # the same sequences as for the adversary
    tested = Gaussian(pose.mean[:, half:].float(), pose.logvar[:, half:].float())
    return discriminator_accuracy(discriminator, tested.sample(BatchNoise(0)))


def _made(swaps: Mapping[str, Swaps]) -> dict[str, Made]:
    """Name the swaps and the reconstructions of every model, as the tables do."""
    return {
        f"{name}, {kind}": made
        for name, both in swaps.items()
        for kind, made in both._asdict().items()
    }


def _readings(found: Findings) -> dict[str, Reading | None]:
    """Name all that was read: swaps and reconstructions of every model, and the bounds."""
    return {**{name: made.reading for name, made in _made(found.swaps).items()}, **found.bounds}


def _moves(own: Tensor, swaps: Mapping[str, Swaps]) -> dict[str, dict[str, float]]:
    """Compare how swaps, reconstructions and sequences move with how these, `(N, T, M)`, do."""
    other = own[partners(len(own))]
    moved = {TRUTH: own[:, None], **{name: made.motion for name, made in _made(swaps).items()}}
    return {
        name: {
            "as_a": agreement(motion, own[:, None].expand_as(motion)),
            "as_b": agreement(motion, other[:, None].expand_as(motion)),
        }
        for name, motion in moved.items()
    }


def _swaps_table(found: Findings) -> Table:
    """Lay out whether content and pose are right, if that is known, how frames move, how sharp."""
    sharpness = {name: made.sharpness for name, made in _made(found.swaps).items()}
    readings, rows = _readings(found), []
    for name in [*sharpness, *(found.bounds or [TRUTH])]:
        reading = readings.get(name)
        shares = [] if reading is None else [average(v.mean(1)) for v in _whole(reading).values()]
        moved = [f"{value:.2f}" for value in found.moves.get(name, {}).values()] or ["", ""]
        sharp = percent(average(sharpness[name].mean(1))) if name in sharpness else ""
        rows.append([name, *map(percent, shares), *moved, sharp])
    heads = ["content kept", "pose taken", "both"] if found.bounds else []
    return Table(["", *heads, "moves as A", "moves as B", "sharpness"], rows)


def _attributes_table(found: Findings) -> Table:
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


def _bounds(task: Benchmark, known: Known) -> dict[str, Reading]:
    """Read what needs no model: A standing still while B moves, and A as it is."""
    device = next(known.classifier.parameters()).device
    frames = task.frames.to(device)
    own, others = torch.arange(len(frames)), partners(len(frames))
    still = frames[:, None, :1].expand(-1, 1, frames.shape[1] - 1, -1, -1, -1)
    return {
        STILL: known.judge(still, content=own, poses=others),
        TRUTH: known.judge(frames[:, None, 1:], content=own, poses=own),
    }


def _latents_table(found: Findings) -> Table:
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


def _picture(found: Findings) -> Frames:
    """Show pairs: A, B, and each model's reconstruction of A and swap (Fig. 5)."""
    frames, pages = found.task.frames, []
    others = partners(len(frames))
    rate = Fraction(found.subjects[0].recipe.data.rate).limit_denominator(1001)
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


def _swapped(subject: Subject, content: Tensor, pose: Tensor, found: Findings) -> Frames:
    device = next(subject.model.parameters()).device
    given, other = (each[None].to(device).float() / 255 for each in (content, pose))
    seeds, temperature = found.seeds[:1], found.temperature
    made = swap(subject.model, given, other, seeds=seeds, temperature=temperature).frames[0, 0]
    return to_frames(torch.cat([given[0, :1], made]).cpu())


def _record(found: Findings) -> dict[str, Any]:
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
