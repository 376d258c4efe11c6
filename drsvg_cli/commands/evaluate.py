"""The work behind `drsvg evaluate`: the same sequences for every model and every baseline."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drsvg_cli.commands import evaluation_report
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.evaluation_report import Findings, Protocol, Row, write
from drsvg_cli.commands.evaluation_setup import Request, Subject, gather, load, reader, reference
from drsvg_cli.commands.interruptions import postponed
from drsvg_cli.commands.output_folder import check_free, filled, kept_for_one
from drsvg_cli.commands.tables import show
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.device import explained_memory, keep_memory, prepare
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.evaluation.latents import LatentUse, latent_use
from drsvg_cli.evaluation.lpips import LPIPS, SMALLEST
from drsvg_cli.evaluation.prediction import Content, Judge, Scores, draw, join, measure
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
from drsvg_cli.weights.files import load_state, save_state

PARTIAL_FILE = "partial.pt"
SAVE_EVERY = 60.0
"""Seconds between two copies of what has been measured."""
SAMPLES, PAPER_SAMPLES = 10, 100
"""Samples by default: of clips, and of a data set with published tables."""
LATENT_SEQUENCES = 32
"""Sequences on which latents are measured."""
TRUE_FRAMES = "true frames"


@dataclass
class Measured:
    """What has been measured so far: the first sequences, the same for every row."""

    scores: dict[str, list[Scores]] = field(default_factory=dict)
    sequences: int = 0

    def joined(self) -> dict[str, Scores]:
        """Return the scores of all sequences, by the names of the rows."""
        return {name: join(parts) for name, parts in self.scores.items()}


@dataclass(frozen=True)
class Session:
    """All that an evaluation is made of, and where it leaves its results."""

    subjects: Sequence[Subject]
    rows: Sequence[Row]
    task: Benchmark
    protocol: Protocol
    judge: Judge
    out: Path

    @property
    def facts(self) -> dict[str, Any]:
        """What must not change between an evaluation and its resumption."""
        facts = vars(self.protocol).copy()
        for subject in self.subjects:
            facts[f"the model {subject.name}"] = subject.weights
        return facts

    def save(self, measured: Measured) -> None:
        """Keep what has been measured, to go on from."""
        scores = {name: each._asdict() for name, each in measured.joined().items()}
        state = {"facts": self.facts, "scores": scores, "sequences": measured.sequences}
        save_state(self.out / PARTIAL_FILE, state)

    def restore(self) -> Measured:
        """Return what was kept.

        Raises:
            ConfigError: it was measured otherwise.
            WeightsError: it is something else, or damaged.
        """
        path, facts = self.out / PARTIAL_FILE, self.facts
        state = load_state(path)
        measured = _measured(state)
        if measured is None or not isinstance(state.get("facts"), dict):
            raise WeightsError(f"{path} is no evaluation that stopped; start anew with -y")
        for name in {**facts, **state["facts"]}:
            before, now = state["facts"].get(name), facts.get(name)
            if type(before) is not type(now) or before != now:
                raise ConfigError(
                    f"{self.out} was measured with {name} = {before}, not {now}; give the same "
                    "options, or start anew with -y"
                )
        return measured


def _measured(state: dict[str, Any]) -> Measured | None:
    """Read what was measured; `None` where the state is of something else, or damaged."""
    count, scores = state.get("sequences"), state.get("scores")
    if not isinstance(count, int) or count < 1 or not isinstance(scores, dict):
        return None
    for each in scores.values():
        if not isinstance(each, dict) or set(each) != set(Scores._fields):
            return None
        parts = each.values()
        if not all(isinstance(part, Tensor) and part.shape[:1] == (count,) for part in parts):
            return None
        # A PSNR is measured of every frame; a flicker, of what stands still alone.
        if each["psnr"].dim() != 3 or not bool(torch.isfinite(each["psnr"]).all()):
            return None
    return Measured({name: [Scores(**each)] for name, each in scores.items()}, count)


@explained_memory("choose fewer --sequences, a shorter --horizon or a smaller --size")
def run(request: Request, *, as_json: bool, quiet: bool) -> None:
    """Measure all models, and leave a folder of results.

    Raises:
        DrsvgError: the models cannot be compared, or there is nothing to measure them on.
        KeyboardInterrupt: on Ctrl-C, after what has been measured is written.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    if request.resume and not (request.out / PARTIAL_FILE).is_file():
        raise ConfigError(f"{request.out} holds no evaluation that stopped; leave --resume out")
    overwrite = request.overwrite or request.resume
    check_free(request.out, overwrite=overwrite, names=evaluation_report.RESULT_FILES)
    with kept_for_one(request.out):
        session = _open(request, reporter)
        measured = session.restore() if request.resume else Measured()
        try:
            _measure(session, measured, reporter)
        except KeyboardInterrupt:
            if measured.sequences:
                session.save(measured)
                _write(session, measured, {}, reporter)
                reporter.note(
                    f"stopped after {measured.sequences} of {len(session.task.clips)} sequences; "
                    f"the results so far are in {request.out}, and --resume goes on"
                )
            raise
        session.save(measured)  # or Ctrl-C while examples are drawn would lose the last minute
        record = _write(session, measured, _latents(session), reporter)
        (request.out / PARTIAL_FILE).unlink(missing_ok=True)
    reporter.result(record, one_line(f"{request.out}: {', '.join(record['files'])}"))


def _open(request: Request, reporter: Reporter) -> Session:
    """Load the models, and gather what they are measured on."""
    keep_memory()  # every batch wants as much
    device = prepare(request.device)
    subjects = load(request, device)
    first = reference(subjects)
    task = gather(request, first.recipe, reporter, whole=first.network is None)
    small = min(min(clip.shape[1:3]) for clip in task.clips)
    if small < SMALLEST:
        raise ConfigError(f"frames of {small} pixels are too small to be measured")
    classifier = reader(first.recipe, task, device)
    is_paper = first.recipe.data.source != "clips"
    protocol = Protocol(
        data=task.words,
        context=request.context or first.recipe.data.context,
        horizon=task.horizons[-1],
        samples=request.samples or (PAPER_SAMPLES if is_paper else SAMPLES),
        seed=request.seed,
        temperature=request.temperature,
        digest=task.digest,
    )
    judge = Judge(
        LPIPS(device),
        similarity=is_paper,
        channels=task.channels,
        device=device,
        content=None if classifier is None else Content(classifier, task.labels),
    )
    return Session(subjects, _rows(subjects, protocol), task, protocol, judge, request.out)


def _rows(subjects: Sequence[Subject], protocol: Protocol) -> list[Row]:
    """List what is measured: of each model its most expected future and samples; the baselines."""
    seeds, given = protocol.seeds, protocol.temperature
    rows = []
    for subject in subjects:
        if subject.name in BASELINES:
            continue
        rows.append(Row(f"{subject.name}, temperature 0", subject.predictor, seeds[:1], 0.0))
        if given != 0:
            rows.append(Row(subject.name, subject.predictor, seeds, given))
    for name, make in BASELINES.items():
        rows.append(Row(name, make(), seeds[:1] if name in DETERMINISTIC else seeds, given))
    return rows


def _measure(session: Session, measured: Measured, reporter: Reporter) -> None:
    """Measure sequence after sequence, every row in turn, and keep what is whole."""
    protocol, total, begun = session.protocol, len(session.task.clips), measured.sequences
    per_sequence = protocol.horizon * sum(len(row.seeds) for row in session.rows)
    began = saved = time.monotonic()
    with reporter.progress() as progress:
        bar = progress.add_task("Measuring", total=total * per_sequence, note="")
        while measured.sequences < total:
            done = measured.sequences
            progress.update(bar, completed=done * per_sequence)
            scores = _measure_one(session, done, lambda count: progress.advance(bar, count))
            with postponed():
                for name, each in scores.items():
                    measured.scores.setdefault(name, []).append(each)
                measured.sequences += 1
            if done == begun and measured.sequences < total:
                left = _duration((time.monotonic() - began) * (total - measured.sequences))
                reporter.note(f"{total} sequences to measure, {left} to go")
            if time.monotonic() - saved > SAVE_EVERY:
                session.save(measured)
                saved = time.monotonic()


def _measure_one(session: Session, number: int, tick: Callable[[int], object]) -> dict[str, Scores]:
    """Measure one sequence; nothing is kept before all rows have been."""
    clip, horizon = session.task.clips[number], session.protocol.horizon
    observed, truth = clip[:-horizon], clip[-horizon:]
    scores = {}
    for row in session.rows:
        made = draw(
            row.predictor,
            observed,
            horizon,
            seeds=row.seeds,
            temperature=row.temperature,
            tick=tick,
        )
        scores[row.name] = measure(made, truth, observed[-1], judge=session.judge, number=number)
    scores[TRUE_FRAMES] = measure(
        truth[None], truth, observed[-1], judge=session.judge, number=number
    )
    return scores


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds > 90 else f"about {seconds:.0f} s"


def _latents(session: Session) -> Mapping[str, Mapping[str, LatentUse]]:
    """Measure how much the models use their latents."""
    horizon, channels = session.protocol.horizon, session.task.channels
    longest = max(len(clip) for clip in session.task.clips)
    clips = [clip for clip in session.task.clips if len(clip) == longest][:LATENT_SEQUENCES]
    networks = {each.name: each.network for each in session.subjects if each.network is not None}
    if len(clips) < 2 or not networks:
        return {}
    frames = torch.from_numpy(np.stack(clips)[..., :channels]).movedim(-1, 2).float() / 255
    return {
        name: latent_use(network, frames, context=longest - horizon)
        for name, network in networks.items()
    }


def _write(
    session: Session,
    measured: Measured,
    latents: Mapping[str, Mapping[str, LatentUse]],
    reporter: Reporter,
) -> dict[str, Any]:
    """Write the results of what has been measured, and print their tables."""
    scores = measured.joined()
    found = Findings(
        session.subjects,
        session.rows,
        session.task,
        session.protocol,
        scores,
        scores.pop(TRUE_FRAMES),
        latents,
    )
    with filled(session.out, overwrite=True) as part:  # checked at the start
        record = write(found, part)
    for table in evaluation_report.tables(found):
        show(table, reporter)
    return record
