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
from torch import Tensor

from drsvg_cli.commands import evaluation_report
from drsvg_cli.commands.cluster import TRIES, spread
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.evaluation_report import Findings, Protocol, Row, write
from drsvg_cli.commands.evaluation_setup import Request, Subject, gather, load, reader, reference
from drsvg_cli.commands.interruptions import postponed
from drsvg_cli.commands.output_folder import check_free, filled, kept_for_one
from drsvg_cli.commands.tables import show
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.device import explained_memory, keep_memory, prepare
from drsvg_cli.errors import ConfigError, ResourceError, WeightsError
from drsvg_cli.evaluation.latents import LatentUse, latent_use, motion_latent_use
from drsvg_cli.evaluation.lpips import LPIPS, SMALLEST
from drsvg_cli.evaluation.prediction import Content, Judge, Scores, draw, join, measure
from drsvg_cli.frames import Frames
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
from drsvg_cli.inference.motion import MotionPredictor
from drsvg_cli.weights.files import load_state, save_state

PARTIAL_FILE = "partial.pt"
SAVE_EVERY = 60.0
"""Seconds between two copies of what has been measured."""
SAMPLES, PAPER_SAMPLES = 10, 100
"""Samples by default: of clips, and of a data set with published tables."""
LATENT_SEQUENCES = 32
"""Sequences on which latents are measured."""
TRUE_FRAMES = "true frames"
_Sequence = tuple[int, Frames]
"""Which one it is, and its frames."""


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
            _measure(session, measured, request, reporter)
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


def _open(request: Request, reporter: Reporter, task: Benchmark | None = None) -> Session:
    """Load the models, and gather what they are measured on if it is not given."""
    keep_memory()  # every batch wants as much
    device = prepare(request.device)
    subjects = load(request, device)
    first = reference(subjects)
    if task is None:
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


def _measure(session: Session, measured: Measured, request: Request, reporter: Reporter) -> None:
    """Measure sequence after sequence, every row in turn, and keep what is whole."""
    protocol, total, begun = session.protocol, len(session.task.clips), measured.sequences
    per_sequence = protocol.horizon * sum(len(row.seeds) for row in session.rows)
    began = saved = time.monotonic()
    with reporter.progress() as progress:
        bar = progress.add_task("Measuring", total=total * per_sequence, note="")
        ahead = dict[int, dict[str, Scores]]()
        todo = list(enumerate(session.task.clips))[begun:]
        tick = partial(progress.advance, bar)
        for number, scores in _scores(session, todo, request, tick):
            ahead[number] = scores
            with postponed():
                while measured.sequences in ahead:
                    for name, each in ahead.pop(measured.sequences).items():
                        measured.scores.setdefault(name, []).append(each)
                    measured.sequences += 1
            done = measured.sequences + len(ahead)
            progress.update(bar, completed=done * per_sequence)
            if request.on is None and done == begun + 1 < total:
                left = _duration((time.monotonic() - began) * (total - done))
                reporter.note(f"{total} sequences to measure, {left} to go")
            if time.monotonic() - saved > SAVE_EVERY and measured.sequences:
                session.save(measured)
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
    (number, clip), horizon = sequence, session.protocol.horizon
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
