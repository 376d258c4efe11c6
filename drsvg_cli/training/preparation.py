"""What a run of training is made of: its data, its learner, and how it is validated."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from drsvg_cli.config import MotionConfig, Recipe
from drsvg_cli.data.dataset import DataPaths, Progress, as_clips
from drsvg_cli.data.motion_clips import NOMINAL_SIDE, MotionClips, gather_motion
from drsvg_cli.data.registry import training_data
from drsvg_cli.data.windows import windows
from drsvg_cli.device import prepare
from drsvg_cli.errors import TrainingError
from drsvg_cli.evaluation.lpips import LPIPS
from drsvg_cli.evaluation.prediction import Judge, score
from drsvg_cli.frames import Frames
from drsvg_cli.inference.motion import MotionPredictor
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.inference.predictor import Predictor
from drsvg_cli.training import distributed
from drsvg_cli.training.motion_step import MotionLearner
from drsvg_cli.training.step import DRSVGLearner
from drsvg_cli.training.task import Task, Validation

VALIDATION_SAMPLES = 4
MOST_WINDOWS = 24
"""Windows of clips that a motion network is validated on."""
CROP = 96
"""Height and width of the crops that a motion network learns from, in pixels."""


class Run(NamedTuple):
    """All that a run needs, and what it is reported with."""

    task: Task[Any]
    predictor: Predictor
    """Of the averaged weights, as they are at the time."""
    validation: Sequence[Frames]
    """Sequences uint8 `(T, H, W, 3)` that are validated on."""
    judge: Judge
    fingerprint: Mapping[str, str]
    train_description: str
    validation_description: str


def prepare_run(
    recipe: Recipe,
    paths: DataPaths,
    progress: Progress,
    device: torch.device,
    start: dict[str, Tensor] | None = None,
) -> Run:
    """Gather the data of a recipe and build what learns from it.

    Args:
        recipe: what to train and how.
        paths: where the data are.
        progress: is told while they are read.
        device: where to compute; a motion network computes on the CPU.
        start: weights to start from; random ones if left out.

    Raises:
        DrsvgError: the data are missing, damaged or not enough, or the model is too large.
    """
    if isinstance(recipe.model, MotionConfig):
        return _motion_run(recipe, paths, progress, start)
    return _drsvg_run(recipe, paths, progress, device, start)


def _drsvg_run(
    recipe: Recipe,
    paths: DataPaths,
    progress: Progress,
    device: torch.device,
    start: dict[str, Tensor] | None,
) -> Run:
    found, training = training_data(recipe, paths, progress), recipe.training
    learner = DRSVGLearner(recipe, device, start)
    predictor = PaperPredictor(learner.average, fit=recipe.data.fit)
    held = as_clips((found.validation * 255).round().to(torch.uint8))
    judge = Judge(LPIPS(device), similarity=True, channels=recipe.drsvg.channels, device=device)
    part = distributed.part(training.batch)

    def batch(number: int) -> Tensor:
        return found.sequences.batch(training.batch, seed=f"{training.seed}/{number}")[:, part]

    task = Task(learner, batch, _validation(predictor, held, recipe.data.horizon, judge))
    texts = found.fingerprint, found.train_description, found.validation_description
    return Run(task, predictor, held, judge, *texts)


def _motion_run(
    recipe: Recipe, paths: DataPaths, progress: Progress, start: dict[str, Tensor] | None
) -> Run:
    data, training = recipe.data, recipe.training
    length = data.context + data.horizon
    found = gather_motion(paths, progress, rate=data.frame_rate, length=length, seed=training.seed)
    clips = MotionClips(
        found.train,
        data.context,
        data.horizon,
        CROP,
        training.batch,
        training.seed,
        distributed.part(training.batch),
    )
    most = -(-len(found.validation) // MOST_WINDOWS)
    held = windows(
        found.validation[::most],
        context=data.context,
        horizon=data.horizon,
        short_side=NOMINAL_SIDE,
    ).frames
    if not held:
        raise TrainingError("there is a camera cut in every clip to validate on; name others")
    cpu = prepare("cpu")
    lpips = LPIPS(cpu)
    learner = MotionLearner(recipe, lpips.features, start)
    predictor = MotionPredictor(learner.average)
    judge = Judge(lpips, similarity=False, channels=3, device=cpu)
    task = Task(learner, clips.batch, _validation(predictor, held, data.horizon, judge))
    texts = found.fingerprint, found.train_description, found.validation_description(len(held))
    return Run(task, predictor, held, judge, *texts)


def _validation(
    predictor: Predictor, held: Sequence[Frames], horizon: int, judge: Judge
) -> Callable[[], Validation]:
    """Return what measures a predictor as it is at the time; the energy score decides."""

    def validate() -> Validation:
        seeds = range(1, VALIDATION_SAMPLES + 1)
        scores = score(predictor, held, horizon=horizon, seeds=seeds, judge=judge)
        measured = {
            name: float(getattr(scores, name).mean()) for name in ("psnr", "lpips", "energy")
        }
        return Validation(-measured["energy"], measured)

    return validate
