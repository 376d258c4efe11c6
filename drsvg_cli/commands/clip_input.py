"""What `drsvg predict` and `drsvg swap` begin with: a model, what was asked of it, and clips."""

import secrets
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from drsvg_cli import __version__
from drsvg_cli.cli import options
from drsvg_cli.config import Fit, Recipe
from drsvg_cli.device import prepare
from drsvg_cli.errors import VideoError, WeightsError
from drsvg_cli.frames import Frames, cut_out, fit_all, resize, to_frames, to_tensor
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.freezing import freeze
from drsvg_cli.storage import sha256
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import measure_length, read_clip
from drsvg_cli.weights.files import load_model
from drsvg_cli.weights.model_folder import weights_path

LARGEST_SIDE = 4096
"""Pixels; the largest frames that are written."""
SMALLEST_SIDE = 16
"""Pixels; the smallest frames that can be shown, and whose motion can be measured."""
LARGEST_READING = 2**28
"""Bytes of whole frames that are kept; of larger clips only what is needed is kept of a frame."""


@dataclass(frozen=True)
class Settings:
    """What was asked for, as in the command's options."""

    model: str
    context: int | None
    horizon: int
    samples: int
    seed: int | None
    temperature: float | None
    at: str | None
    rate: float | None
    fit: Fit | None
    device: str
    compare: bool
    format: str
    size: int | Literal["source"]


@dataclass(frozen=True)
class Session:
    """A model ready to predict and all that the options left open."""

    settings: Settings
    model: DRSVG
    recipe: Recipe
    device: torch.device
    seed: int
    weights: str
    """The SHA-256 of the model's weights: a branch of the Hub moves, a folder is trained anew."""

    @property
    def context(self) -> int:
        """Frames to observe."""
        return self.settings.context or max(options.SHORTEST_CONTEXT, self.recipe.data.context)

    @property
    def temperature(self) -> float:
        """How far samples stray."""
        asked = self.settings.temperature
        return self.recipe.model.temperature if asked is None else asked

    @property
    def side(self) -> int:
        """Height and width of results that are squares, in pixels."""
        assert self.settings.size != "source"
        return self.settings.size

    @property
    def fit(self) -> Fit:
        """How frames are brought to the model's size."""
        return self.settings.fit or self.recipe.data.fit

    @property
    def seeds(self) -> list[int]:
        """One a sample."""
        return [self.seed + number for number in range(1, self.settings.samples + 1)]


def open_session(settings: Settings, source: Path) -> Session:
    """Load the model and settle what the options left open."""
    model, recipe = load_model(source)
    device = prepare(settings.device)
    seed = secrets.randbelow(2**31) if settings.seed is None else settings.seed
    digest = sha256(weights_path(source))
    return Session(settings, freeze(model.to(device)), recipe, device, seed, digest)


def read(
    session: Session,
    path: Path,
    count: int,
    *,
    after: int = 0,
    rate: Fraction | None = None,
    at_b: str | None = None,
) -> Clip:
    """Read frames of a clip, up to the moment `at_b` or else that of the settings.

    Without `rate`, they are at the rate of the settings, or near that of the model.
    """
    settings, info = session.settings, probe(path)
    heavy = info.width * info.height * 3 * (count + after) > LARGEST_READING
    if settings.size == "source":
        if heavy or max(info.width, info.height) > LARGEST_SIDE:
            raise VideoError(
                f"{path}: {count + after} frames of {info.width}x{info.height} are too large for "
                "--size source; choose a number of pixels"
            )
        if min(info.width, info.height) < SMALLEST_SIDE:
            raise VideoError(
                f"{path}: frames of {info.width}x{info.height} are too small for --size source; "
                "choose a number of pixels"
            )
        spare = 0
    else:
        spare = 2 * max(settings.size, session.recipe.model.size)
    exact = rate or settings.rate
    text, option = (settings.at, "--at") if at_b is None else (at_b, "--at-b")
    clip = read_clip(
        path,
        count,
        after=after,
        at=options.read_moment(text, partial(measure_length, info), option=option),
        info=info,
        rate=Fraction(exact or session.recipe.data.rate).limit_denominator(1001),
        exact_rate=exact is not None,
        shrink=partial(_shrunk, size=spare, how=session.fit) if heavy else None,
    )
    if len(clip.frames) - after < options.SHORTEST_CONTEXT:
        raise VideoError(
            f"{path} has {len(clip.frames) - after} frame(s) to observe; at least "
            f"{options.SHORTEST_CONTEXT} are needed"
        )
    return clip


def _shrunk(frame: Frames, *, size: int, how: Fit) -> Frames:
    """Keep of a frame what the model sees, in `size` pixels along a side at most."""
    part = cut_out(frame, how=how)
    return part if max(part.shape[:2]) <= size else resize(part, width=size, height=size)


def fitted(session: Session, frames: Frames, size: int) -> Frames:
    """Bring frames of a clip to a square of `size` pixels, as the model was trained."""
    return fit_all(frames, size, how=session.fit)


def tensor(session: Session, frames: Frames) -> torch.Tensor:
    """Turn square frames into what the model takes."""
    return to_tensor(frames, channels=session.recipe.model.channels).to(session.device)


def check_finite(frames: torch.Tensor, path: Path) -> None:
    """Refuse to write a picture of nothing."""
    if not bool(torch.isfinite(frames).all()):
        raise WeightsError(f"{path}: the model predicts no numbers; its weights are broken")


def to_shown(session: Session, frames: Frames) -> Frames:
    """Show frames in the colours the model sees: gray for a gray model."""
    return to_frames(to_tensor(frames, channels=session.recipe.model.channels))


def provenance(session: Session) -> dict[str, Any]:
    """Say what made a result, so that it can be made again."""
    return {
        "drsvg": __version__,
        "torch": version("torch"),
        "device": str(session.device),
        "weights_sha256": session.weights,
        "seed": session.seed,
        "sample_seeds": session.seeds,
        "temperature": session.temperature,
        "settings": asdict(session.settings),
    }
