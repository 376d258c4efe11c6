"""The work behind `drsvg evaluate`: the same sequences for every model and every baseline."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drsvg_cli.commands import evaluation_report as report
from drsvg_cli.commands.cluster import TRIES, spread
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.evaluation_results import TRUE_FRAMES, Findings, Plan, Protocol, Row
from drsvg_cli.commands.evaluation_setup import Request, Subject, gather, load, reader, reference
from drsvg_cli.commands.output_folder import check_free, filled, kept_for_one, write_record
from drsvg_cli.commands.tables import write_results
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.device import explained_memory, keep_memory, prepare
from drsvg_cli.errors import ConfigError, ResourceError, WeightsError
from drsvg_cli.evaluation.latents import LatentUse, latent_use, motion_latent_use
from drsvg_cli.evaluation.lpips import LPIPS, SMALLEST
from drsvg_cli.evaluation.prediction import Judge, Scores, join, measure, score_clip
from drsvg_cli.frames import Frames
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
from drsvg_cli.inference.motion import MotionPredictor
from drsvg_cli.storage import postponed
from drsvg_cli.weights.files import load_state, save_state

PARTIAL_FILE = "partial.pt"
SAVE_EVERY = 60.0
"""Seconds between two copies of what has been measured."""
SAMPLES, PAPER_SAMPLES = 10, 100
"""Samples by default: of clips, and of a data set with published tables."""
LATENT_SEQUENCES = 32
"""Sequences on which latents are measured."""
_Sequence = tuple[int, Frames]
"""Which one it is, and its frames."""


@dataclass(frozen=True)
class Session(Plan):
    """All that an evaluation is made of, where it leaves its results, and what there is so far."""

    judge: Judge
    out: Path
    measured: list[dict[str, Scores]] = field(default_factory=list)
    """Of the first sequences, by the names of the rows; after a resumption, of all before it."""

    @property
    def facts(self) -> dict[str, Any]:
        """What must not change between an evaluation and its resumption."""
        weights = {f"the model {each.name}": each.weights for each in self.subjects}
        return vars(self.protocol) | weights

    @property
    def sequences(self) -> int:
        """Count the sequences measured so far."""
        return sum(len(each[TRUE_FRAMES].psnr) for each in self.measured)

    def joined(self) -> dict[str, Scores]:
        """Return the scores of all sequences, by the names of the rows."""
        return {name: join([each[name] for each in self.measured]) for name in self.measured[0]}

    def save(self) -> None:
        """Keep what has been measured, to go on from."""
        scores = {name: each._asdict() for name, each in self.joined().items()}
        save_state(self.out / PARTIAL_FILE, {"facts": self.facts, "scores": scores})

    def restore(self) -> None:
        """Go on from what was kept.

        Raises:
            ConfigError: it was measured otherwise.
            WeightsError: it is something else, or damaged.
        """
        state, facts = load_state(self.out / PARTIAL_FILE), self.facts
        kept, scores = state.get("facts"), _read_scores(state.get("scores"))
        damaged = WeightsError(
            f"{self.out / PARTIAL_FILE} is no evaluation that stopped; start anew with -y"
        )
        if scores is None or not isinstance(kept, dict):
            raise damaged
        for name in {**facts, **kept}:
            before, now = kept.get(name), facts.get(name)
            if type(before) is not type(now) or before != now:
                raise ConfigError(
                    f"{self.out} was measured with {name} = {before}, not {now}; give the same "
                    "options, or start anew with -y"
                )
        if scores.keys() != {TRUE_FRAMES, *(row.name for row in self.rows)}:
            raise damaged
        self.measured.append(scores)


def _read_scores(state: Any) -> dict[str, Scores] | None:
    """Read what was measured; `None` where the state is of something else, or damaged."""
    try:
        scores = {name: Scores(**each) for name, each in state.items()}
        count = scores[TRUE_FRAMES].psnr.shape[:1]
        whole = count > (0,) and all(part.shape[:1] == count for s in scores.values() for part in s)
        # A PSNR is measured of every frame; a flicker, of what stands still alone.
        finite = all(s.psnr.dim() == 3 and bool(s.psnr.isfinite().all()) for s in scores.values())
    except (AttributeError, KeyError, TypeError):
        return None
    return scores if whole and finite else None


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
    again = request.overwrite or request.resume
    check_free(request.out, overwrite=again, names=report.RESULT_FILES)
    with kept_for_one(request.out):
        session = _open(request, reporter)
        if request.resume:
            session.restore()
        try:
            _measure(session, request, reporter)
        except KeyboardInterrupt:
            if session.measured:
                session.save()
                _write(session, {}, reporter)
                reporter.note(
                    f"stopped after {session.sequences} of {len(session.task.clips)} sequences; "
                    f"the results so far are in {request.out}, and --resume goes on"
                )
            raise
        session.save()  # or Ctrl-C while examples are drawn would lose the last minute
        record = _write(session, _latents(session), reporter)
        (request.out / PARTIAL_FILE).unlink(missing_ok=True)
    reporter.result(record, one_line(f"{request.out}: {', '.join(record['files'])}"))


def _open(request: Request, reporter: Reporter, task: Benchmark | None = None) -> Session:
    """Load the models, and gather what they are measured on if it is not given."""
    keep_memory()  # every batch wants as much
    device = prepare(request.device)
    subjects = load(request, device)
    first = reference(subjects)
    task = task or gather(request, first.recipe, reporter, whole=first.network is None)
    if (small := min(min(clip.shape[1:3]) for clip in task.clips)) < SMALLEST:
        raise ConfigError(f"frames of {small} pixels are too small to be measured")
    is_paper = first.recipe.data.source != "clips"
    context = request.context or first.recipe.data.context
    samples = request.samples or (PAPER_SAMPLES if is_paper else SAMPLES)
    how = context, task.horizons[-1], samples, request.seed, request.temperature
    protocol = Protocol(task.words, *how, task.digest)
    known = reader(first.recipe, task, device)
    judge = Judge(LPIPS(device), is_paper, task.channels, device, known)
    return Session(subjects, _rows(subjects, protocol), task, protocol, judge, request.out)


def _rows(subjects: Sequence[Subject], protocol: Protocol) -> list[Row]:
    """List what is measured: of each model its most expected future and samples; the baselines."""
    seeds, given = protocol.seeds, protocol.temperature
    rows = []
    for subject in (each for each in subjects if each.name not in BASELINES):
        rows.append(Row(f"{subject.name}, temperature 0", subject.predictor, seeds[:1], 0.0))
        if given != 0:
            rows.append(Row(subject.name, subject.predictor, seeds, given))
    for name, make in BASELINES.items():
        rows.append(Row(name, make(), seeds[:1] if name in DETERMINISTIC else seeds, given))
    return rows


def _measure(session: Session, request: Request, reporter: Reporter) -> None:
    """Measure sequence after sequence, every row in turn, and keep what is whole."""
    total, begun = len(session.task.clips), session.sequences
    per_sequence = session.protocol.horizon * sum(len(row.seeds) for row in session.rows)
    began = saved = time.monotonic()
    with reporter.progress() as progress:
        bar = progress.add_task("Measuring", total=total * per_sequence, note="")
        ahead, todo = dict[int, dict[str, Scores]](), [*enumerate(session.task.clips)][begun:]
        for number, scores in _scores(session, todo, request, partial(progress.advance, bar)):
            ahead[number] = scores
            with postponed():
                while session.sequences in ahead:
                    session.measured.append(ahead.pop(session.sequences))
            done = session.sequences + len(ahead)
            progress.update(bar, completed=done * per_sequence)
            if request.on is None and done == begun + 1 < total:
                left = _duration((time.monotonic() - began) * (total - done))
                reporter.note(f"{total} sequences to measure, {left} to go")
            if time.monotonic() - saved > SAVE_EVERY and session.measured:
                session.save()
                saved = time.monotonic()


def _scores(
    session: Session, todo: Sequence[_Sequence], request: Request, tick: Callable[[int], object]
) -> Iterable[tuple[int, dict[str, Scores]]]:
    """Yield the scores of sequences, in any order."""
    if request.on is None:
        yield from ((each[0], _measure_one(session, tick, each)) for each in todo)
        return
    task = session.task
    task = task._replace(clips=task.clips[:1], labels=dict(task.labels), poses={})
    begin = partial(_begin, request, task)
    gpus = any(subject.network is not None for subject in session.subjects)
    for (number, _), scores in spread(request.on, begin, todo, gpus=gpus):
        if scores is None:
            raise ResourceError(f"{TRIES} workers died at sequence {number + 1}")
        yield number, scores


def _begin(request: Request, task: Benchmark) -> Callable[[_Sequence], dict[str, Scores]]:
    """Load the models in a process of a cluster; return what measures a sequence there."""
    session = _open(request, Reporter(as_json=True, quiet=True), task)
    return partial(_measure_one, session, lambda _: None)


def _measure_one(
    session: Session, tick: Callable[[int], object], sequence: _Sequence
) -> dict[str, Scores]:
    """Measure one sequence; nothing is kept before all rows have been."""
    (number, clip), horizon, judge = sequence, session.protocol.horizon, session.judge
    measured = partial(
        score_clip, clip=clip, horizon=horizon, judge=judge, number=number, tick=tick
    )
    scores = {
        row.name: measured(row.predictor, seeds=row.seeds, temperature=row.temperature)
        for row in session.rows
    }
    truth, last = clip[-horizon:], clip[-horizon - 1]
    return scores | {TRUE_FRAMES: measure(truth[None], truth, last, judge=judge, number=number)}


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds > 90 else f"about {seconds:.0f} s"


def _latents(session: Session) -> Mapping[str, Mapping[str, LatentUse]]:
    """Measure how much the models use their latents, on sequences of the most common shape."""
    shape, _ = Counter(clip.shape for clip in session.task.clips).most_common(1)[0]
    clips = [clip for clip in session.task.clips if clip.shape == shape][:LATENT_SEQUENCES]
    if len(clips) < 2:
        return {}
    horizon, found = session.protocol.horizon, {}
    frames = torch.from_numpy(np.stack(clips)[..., : session.task.channels]).movedim(-1, 2)
    for subject in session.subjects:
        if subject.network is not None:
            context = len(clips[0]) - horizon
            found[subject.name] = latent_use(subject.network, frames.float() / 255, context=context)
        elif isinstance(subject.predictor, MotionPredictor):
            found[subject.name] = motion_latent_use(subject.predictor, clips, horizon=horizon)
    return found


def _write(
    session: Session, latents: Mapping[str, Mapping[str, LatentUse]], reporter: Reporter
) -> dict[str, Any]:
    """Write the results of what has been measured, and print their tables."""
    plan = session.subjects, session.rows, session.task, session.protocol
    scores = session.joined()
    truth = scores.pop(TRUE_FRAMES)
    found = Findings(*plan, scores, truth, latents)
    pictures = {
        report.CURVES_FILE: report.curves(found),
        report.EXAMPLES_FILE: report.examples(found),
    }
    with filled(session.out, overwrite=True) as part:  # checked at the start
        write_results(part, report.tables(found), pictures, reporter)
        return write_record(part, report.RECORD_FILE, report.record(found))
