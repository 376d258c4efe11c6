"""The work behind `drsvg finetune` and `drsvg train`."""

import shlex
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from drsvg_cli.commands import training_report
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.output_folder import check_free, is_content, made, write_picture
from drsvg_cli.commands.tables import show
from drsvg_cli.config import Recipe
from drsvg_cli.data.dataset import DataPaths, Progress
from drsvg_cli.device import (
    explained_memory,
    keep_memory,
    prepare,
    tiny_as_zero,
)
from drsvg_cli.errors import ConfigError, TrainingError
from drsvg_cli.inference.loading import load_predictor
from drsvg_cli.recipe_file import format_recipe
from drsvg_cli.storage import collected, locked, sha256, writable, write_atomically
from drsvg_cli.training import distributed
from drsvg_cli.training.model_card import Provenance, model_card
from drsvg_cli.training.preparation import Run, prepare_run
from drsvg_cli.training.run_folder import STATE_FILE, read_log
from drsvg_cli.training.trainer import Keep, Step, fit
from drsvg_cli.weights.files import blueprint, load_model
from drsvg_cli.weights.model_folder import (
    CARD_FILE,
    PICTURE_FILE,
    RECIPE_FILE,
    read_history,
    read_recipe,
    weights_path,
)
from drsvg_cli.weights.registry import as_folder


@dataclass(frozen=True)
class Request:
    """What was asked for, as in the commands' options."""

    clips: Sequence[str]
    held: Sequence[Path]
    out: Path
    source: Path | None
    """The model, or the recipe alone, that says what to train; none to resume."""
    start: Path | None
    """The model whose weights to start from; random ones if there is none."""
    base_model: str
    """What the user called the model to start from."""
    changes: Mapping[str, Any]
    """Settings of the recipe's training table to replace."""
    own: bool
    """The clips are the user's own, and not what the recipe says."""
    share: float
    resume: bool
    device: str
    patience: int = 0
    picture_rate: float | None = None
    """How many are a second of pictures in a folder."""


@explained_memory("choose a smaller batch: --batch, or training.batch of a recipe")
@tiny_as_zero()
@distributed.joined()
def run(request: Request, *, as_json: bool, quiet: bool) -> None:
    """Gather what is to be learned, train on it, and leave a model folder.

    Raises:
        DrsvgError: there is nothing to learn from, or training cannot start or go on.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved.
    """
    is_first = not distributed.rank()
    reporter = Reporter(as_json=as_json, quiet=quiet or not is_first)
    if is_first:
        _check_folder(request)
    device = prepare(request.device)
    keep_memory()
    recipe, weights = _recipe(request)
    keep = _keep(recipe)
    blueprint(recipe.model)  # refuses, before any clip is read, what no memory could hold
    with _claimed(request), _undone_before_the_first_state(request.out):
        with distributed.first_before_others():
            prepared = _prepared(request, recipe, reporter, device, weights)
        if request.resume:
            start, history = "", []  # the run knows
        else:
            if request.own or not recipe.training_data:
                recipe = replace(recipe, training_data=prepared.train_description)
            # A run that is killed before its first validation can be resumed as well.
            text = format_recipe(recipe)
            if is_first:
                write_atomically(
                    request.out / RECIPE_FILE, lambda part: part.write_text(text, encoding="utf-8")
                )
            start = sha256(weights_path(request.start)) if request.start else ""
            history = read_history(request.start) if request.start else []
        steps = fit(
            recipe,
            prepared.task,
            request.out,
            origin=prepared.fingerprint,
            start=start,
            history=history,
            keep=keep,
            patience=request.patience,
            resume=request.resume,
        )
        _watch(steps, recipe, request, reporter)
    if not is_first:
        return
    log = read_log(request.out)
    provenance = Provenance(
        history=read_history(request.out),
        validation_data=prepared.validation_description,
        log=log,
        keep=keep,
        picture=PICTURE_FILE,
    )
    card = model_card(recipe, provenance)
    write_atomically(request.out / CARD_FILE, lambda part: part.write_text(card, encoding="utf-8"))
    kept = load_predictor(recipe.name, request.out, device)
    closing = training_report.Closing(recipe, provenance, prepared, kept)
    picture = closing.picture()
    write_atomically(request.out / PICTURE_FILE, lambda part: write_picture(part, picture))
    for table in closing.tables(latents=not request.own):
        show(table, reporter)
    lines = closing.words()
    if not provenance.unchanged:
        lines.append(f"drsvg predict CLIP --model {shlex.quote(as_folder(str(request.out)))}")
    reporter.result({"folder": str(request.out)} | closing.record(), *map(one_line, lines))


def _keep(recipe: Recipe) -> Keep:
    """Say which weights a run leaves: clips can be learned by heart."""
    return "best" if recipe.data.source == "clips" else "last"


def _check_folder(request: Request) -> None:
    """Make sure that the run folder is free, or holds a run to go on with."""
    out = request.out
    try:
        f"{out} {out.resolve().name}".encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{out} is no name for a model folder: it is not UTF-8; choose another with --out"
        ) from None
    if request.resume:
        if not (out / STATE_FILE).is_file():
            raise TrainingError(
                f"{out} holds no run to resume; leave --resume out to begin one in a new folder"
            )
    elif request.source == out or not _was_killed_before_its_first_state(out):
        begun = (out / STATE_FILE).is_file()
        remedy = "go on with --resume" if begun else "move it away"
        check_free(out, overwrite=False, remedy=remedy)


def _was_killed_before_its_first_state(folder: Path) -> bool:
    """Tell what a run leaves that was killed while it read the clips: it may begin once more.

    Whatever else is there is somebody's own.
    """
    training = folder / STATE_FILE.parent
    if not training.is_dir() or (folder / STATE_FILE).exists():
        return False
    names = {path.name for path in filter(is_content, folder.iterdir())}
    kinds = {path.suffix for path in training.rglob("*") if not path.is_dir()}
    return names <= {RECIPE_FILE, training.name} and kinds <= {".frames", ".part"}  # of clips


@contextmanager
def _claimed(request: Request) -> Iterator[None]:
    """Keep other processes off the run folder, and remove what a killed one left half-written."""
    out = request.out
    if distributed.rank():
        yield  # the first process has claimed it
        return
    with ExitStack() as stack:
        with writable(out):
            stack.enter_context(made(out))
            try:
                stack.enter_context(locked(out))
            except BlockingIOError:
                raise TrainingError(
                    f"another process is at work on {out}; wait for it, or choose another --out"
                ) from None
            for path in (*out.glob(".*.part"), *(out / STATE_FILE.parent).rglob("*.part")):
                if path.is_file():  # a folder is that of results, of another command
                    path.unlink()
        yield


@contextmanager
def _undone_before_the_first_state(folder: Path) -> Iterator[None]:
    """Leave the folder, which was free, as it was where a run ends before it has begun."""
    try:
        yield
    finally:
        if not distributed.rank() and not (folder / STATE_FILE).exists():
            shutil.rmtree(folder / STATE_FILE.parent, ignore_errors=True)
            (folder / RECIPE_FILE).unlink(missing_ok=True)


def _recipe(request: Request) -> tuple[Recipe, dict[str, torch.Tensor] | None]:
    """Return what to train, and the weights to start from if any."""
    if request.source is None:
        return read_recipe(request.out), None
    recipe, start = read_recipe(request.source), None
    if request.start is not None:
        model, its = load_model(request.start)
        path, name, start = Path(request.base_model), request.base_model, model.state_dict()
        if path.exists():  # a card tells nobody where a model lies on this computer
            name = path.resolve().name
        for key, value in asdict(recipe.model).items():
            if (other := getattr(its.model, key, None)) != value:
                raise ConfigError(f"{name} has {key} = {other} where the recipe has {value}")
        recipe = replace(recipe, base_model=name)
    if request.own:
        data = replace(recipe.data, source="clips")
        recipe = replace(recipe, summary="", license="other", training_data="", data=data)
    recipe = replace(
        recipe,
        name=request.out.resolve().name,
        training=replace(recipe.training, **request.changes),
    )
    return recipe, start


def _prepared(
    request: Request,
    recipe: Recipe,
    reporter: Reporter,
    device: torch.device,
    weights: dict[str, torch.Tensor] | None,
) -> Run:
    """Find or draw what the run learns from; clips are decoded once, with a progress bar."""
    rate = request.picture_rate
    paths = DataPaths(
        request.clips,
        request.out / STATE_FILE.parent / "clips",
        request.held,
        request.share,
        None if rate is None else Fraction(rate).limit_denominator(1001),
    )
    with reporter.progress() as progress:
        task = progress.add_task("Reading", total=None, note="")
        told = Progress(
            reporter.note,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
        return prepare_run(recipe, paths, told, device, weights)


def _watch(
    steps: Generator[Step, None, None], recipe: Recipe, request: Request, reporter: Reporter
) -> None:
    """Run training to its end with a progress bar; on Ctrl-C finish the step, save and stop."""
    pace = training_report.Pace(recipe.training)
    with reporter.progress() as progress, collected() as interrupted:
        task = progress.add_task("Training", total=recipe.training.steps, note="")
        note = ""
        for step in steps:
            if takes := pace.estimate(step):
                reporter.note(takes)
            if step.validation is not None:
                note = _listed(step.validation.measured)
                terms = f"{_listed(step.terms)}, {step.rate:.0f} sequences/s, "
                terms *= bool(step.terms) and not request.own
                mark = " · kept" if step.kept else ""
                reporter.note(f"step {step.number}: {terms}validation {note}{mark}")
            shown = ""
            if step.terms:
                shown = f"loss {step.terms['loss']:.5f} · {step.rate:.0f} sequences/s · {note}"
            progress.update(task, completed=step.number, note=shown)
            if distributed.agreed(len(interrupted)):
                steps.close()
                log = read_log(request.out)
                if recipe.base_model and Provenance((), "", log, _keep(recipe)).unchanged:
                    reporter.note(f"so far {request.out} is {recipe.base_model} unchanged")
                reporter.note(f"stopped at step {step.number}; --resume goes on from there")
                raise KeyboardInterrupt


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
