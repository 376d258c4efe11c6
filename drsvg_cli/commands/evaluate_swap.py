"""The work behind `drsvg evaluate --swap`: swaps of pairs of sequences, read and probed."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.evaluation_setup import Request, Subject, gather, load, reader
from drsvg_cli.commands.output_folder import check_free, filled
from drsvg_cli.commands.swap_report import (
    RESULT_FILES,
    STILL,
    TRUTH,
    Latents,
    SwapFindings,
    all_made,
    tables,
    write,
)
from drsvg_cli.commands.tables import show
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.device import explained_memory, keep_memory, prepare
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.evaluation.disentanglement import (
    Known,
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
from drsvg_cli.model.discriminator import PoseDiscriminator
from drsvg_cli.model.gaussian import Gaussian
from drsvg_cli.model.noise import BatchNoise
from drsvg_cli.training.run_folder import STATE_FILE
from drsvg_cli.weights.files import load_state

FEWEST = 4
"""Sequences: probes learn from one half of them and are tested on the other one."""


@explained_memory("choose fewer --samples or --sequences")
def run(request: Request, *, as_json: bool, quiet: bool) -> None:
    """Swap the test sequences in pairs with every model, and leave a folder of results.

    Raises:
        DrsvgError: the models cannot be compared, or there is nothing to measure them on.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    check_free(request.out, overwrite=request.overwrite, names=RESULT_FILES)
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
        record = write(found, part)
    for table in tables(found):
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
) -> SwapFindings:
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
    return SwapFindings(subjects, task, seeds, temperature, swaps, moves, bounds, latents, bound)


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
    with torch.device("meta"):  # else it would draw weights from everybody's generator
        discriminator = PoseDiscriminator(subject.recipe.model.pose_dim)
    try:
        discriminator.load_state_dict(load_state(path)["learner"]["discriminator"], assign=True)
    except (KeyError, RuntimeError):
        raise WeightsError(f"{path} is not the state of the run that left these weights") from None
    half = pose.mean.shape[1] // 2  # the same sequences as for the adversary
    tested = Gaussian(pose.mean[:, half:].float(), pose.logvar[:, half:].float())
    return discriminator_accuracy(discriminator, tested.sample(BatchNoise(0)))


def _moves(own: Tensor, swaps: Mapping[str, Swaps]) -> dict[str, dict[str, float]]:
    """Compare how swaps, reconstructions and sequences move with how these, `(N, T, M)`, do."""
    other = own[partners(len(own))]
    moved = {TRUTH: own[:, None], **{name: made.motion for name, made in all_made(swaps).items()}}
    return {
        name: {
            "as_a": agreement(motion, own[:, None].expand_as(motion)),
            "as_b": agreement(motion, other[:, None].expand_as(motion)),
        }
        for name, motion in moved.items()
    }


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
