"""The work behind `drsvg evaluate`: the same sequences for every model, measured piece by piece."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drsvg_cli.commands import evaluation_report
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.evaluation_report import Findings, Protocol, enlarged
from drsvg_cli.commands.evaluation_setup import Request, Subject, gather, load, reader
from drsvg_cli.commands.interruptions import postponed
from drsvg_cli.commands.output_folder import check_free, filled, kept_for_one
from drsvg_cli.commands.tables import show
from drsvg_cli.data.dataset import Benchmark
from drsvg_cli.device import explained_memory, keep_memory, prepare
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.evaluation.prediction import CLIPS_AT_ONCE, Content, Curves, Scores, evaluate, join
from drsvg_cli.weights.files import load_state, save_state

PARTIAL_FILE = "partial.pt"
SAVE_EVERY = 60.0
"""Seconds between two copies of what has been measured."""


@dataclass
class Measured:
    """What has been measured so far: the first sequences, the same for every model."""

    scores: dict[str, list[Scores]]
    truth: list[Tensor] = field(default_factory=list)
    """1 where the classifier reads the true frames rightly, `(N, T)` each; no classifier, none."""
    sequences: int = 0

    def joined(self) -> dict[str, Scores]:
        """Return the scores of all sequences, by the names of the models."""
        return {name: join(parts) for name, parts in self.scores.items()}

    def state(self) -> dict[str, Any]:
        """Return tensors and numbers alone."""
        scores = {
            name: {
                metric: tuple(values) if isinstance(values, Curves) else values
                for metric, values in each._asdict().items()
                if values is not None
            }
            for name, each in self.joined().items()
        }
        return {"scores": scores, "truth": self.truth, "sequences": self.sequences}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Measured":
        """Undo `state`."""
        scores = {}
        for name, table in state["scores"].items():
            values: dict[str, Any] = {
                metric: Curves(*each) if isinstance(each, tuple) else each
                for metric, each in table.items()
            }
            scores[name] = [Scores(**values)]
        return cls(scores, state["truth"], state["sequences"])


@dataclass(frozen=True)
class Session:
    """All that an evaluation is made of, and where it leaves its results."""

    subjects: Sequence[Subject]
    task: Benchmark
    protocol: Protocol
    content: Content | None
    out: Path

    @property
    def facts(self) -> dict[str, Any]:
        """What must not change between an evaluation and its resumption."""
        facts = vars(self.protocol).copy()
        for subject in self.subjects:
            facts[f"the model {subject.name}"] = subject.weights
            facts[f"the temperature of {subject.name}"] = subject.temperature
        return facts

    def save(self, measured: Measured) -> None:
        """Keep what has been measured, to go on from."""
        save_state(self.out / PARTIAL_FILE, measured.state() | {"facts": self.facts})

    def restore(self) -> Measured:
        """Return what was kept.

        Raises:
            ConfigError: it was measured otherwise.
            WeightsError: it is something else, or damaged.
        """
        path, facts = self.out / PARTIAL_FILE, self.facts
        state = load_state(path)
        if not {"facts", "scores", "truth", "sequences"} <= state.keys():
            raise WeightsError(f"{path} is no evaluation that stopped; start anew with -y")
        for name in {**facts, **state["facts"]}:
            before, now = state["facts"].get(name), facts.get(name)
            if before != now:
                raise ConfigError(
                    f"{self.out} was measured with {name} = {before}, not {now}; give the same "
                    "options, or start anew with -y"
                )
        return Measured.restored(state)


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
        measured = session.restore() if request.resume else Measured({})
        try:
            _measure(session, measured, reporter)
        except KeyboardInterrupt:
            if measured.sequences:
                session.save(measured)
                _write(session, measured, reporter)
                reporter.note(
                    f"stopped after {measured.sequences} of {len(session.task.frames)} sequences; "
                    f"the results so far are in {request.out}, and --resume goes on"
                )
            raise
        session.save(measured)  # or Ctrl-C while examples are drawn would lose the last minute
        record = _write(session, measured, reporter)
        (request.out / PARTIAL_FILE).unlink(missing_ok=True)
    reporter.result(record, one_line(f"{request.out}: {', '.join(record['files'])}"))


def _open(request: Request, reporter: Reporter) -> Session:
    """Load the models, and gather what they are measured on."""
    keep_memory()  # every batch wants as much
    subjects = load(request, prepare(request.device))
    context = request.context or subjects[0].recipe.data.context
    task = gather(
        request, subjects, reporter, context=context, horizon=request.horizon, size=request.size
    )
    classifier, digest = reader(request, subjects, task)
    protocol = Protocol(
        data=task.words,
        context=context,
        horizon=task.horizons[-1],
        samples=request.samples,
        seed=request.seed,
        ssim=request.ssim,
        digest=task.digest,
        classifier=digest,
        size=task.frames.shape[-1],
    )
    content = None if classifier is None else Content(classifier, task.labels)
    return Session(subjects, task, protocol, content, request.out)


def _measure(session: Session, measured: Measured, reporter: Reporter) -> None:
    """Measure sequence after sequence, every model in turn, and keep what is whole."""
    task, protocol = session.task, session.protocol
    per_sequence = len(session.subjects) * protocol.samples
    total, begun = len(task.frames), measured.sequences
    began = saved = time.monotonic()
    with reporter.progress() as progress:
        bar = progress.add_task("Measuring", total=total * per_sequence, note="")
        while measured.sequences < total:
            done = measured.sequences
            progress.update(bar, completed=done * per_sequence)
            _measure_some(session, measured, lambda count: progress.advance(bar, count))
            if done == begun and measured.sequences < total:
                pieces = (total - measured.sequences) / (measured.sequences - done)
                left = _duration((time.monotonic() - began) * pieces)
                reporter.note(f"{total} sequences to measure, {left} to go")
            if time.monotonic() - saved > SAVE_EVERY:
                session.save(measured)
                saved = time.monotonic()


def _measure_some(session: Session, measured: Measured, tick: Callable[[int], object]) -> None:
    """Measure the next few sequences; nothing is added before all models have been."""
    chosen = slice(measured.sequences, measured.sequences + CLIPS_AT_ONCE)
    frames, protocol = session.task.frames[chosen], session.protocol
    content = None if session.content is None else session.content.of(chosen)
    scores = {}
    for subject in session.subjects:
        measured_now = evaluate(
            subject.model,
            frames,
            context=protocol.context,
            seeds=protocol.seeds,
            temperature=subject.temperature,
            definition=protocol.ssim,
            content=content,
            tick=tick,
        )
        scores[subject.name] = measured_now.shown
        if measured_now.enlarged is not None:
            scores[enlarged(subject.name)] = measured_now.enlarged
    for name, each in scores.items():
        if not bool(torch.isfinite(each.psnr.samples).all()):
            raise WeightsError(f"{name} predicts no numbers; its weights are broken")
    truth = []
    if content is not None:
        device = next(content.classifier.parameters()).device
        truth = [content.read(frames[:, protocol.context :].to(device).float() / 255).cpu()]
    with postponed():
        measured.truth += truth
        for name, each in scores.items():
            measured.scores.setdefault(name, []).append(each)
        measured.sequences += len(frames)


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} minutes" if seconds > 90 else f"about {seconds:.0f} s"


def _write(session: Session, measured: Measured, reporter: Reporter) -> dict[str, Any]:
    """Write the results of what has been measured, and print their table."""
    found = Findings(
        session.subjects,
        session.task,
        session.protocol,
        measured.joined(),
        torch.cat(measured.truth) if measured.truth else None,
    )
    with filled(session.out, overwrite=True) as part:  # checked at the start
        record = evaluation_report.write(found, part)
    for table in evaluation_report.tables(found):
        show(table, reporter)
    return record
