"""What `drsvg predict` and `drsvg swap` begin with: a model, what was asked of it, and clips."""

import secrets
from dataclasses import asdict, dataclass, replace
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
from drsvg_cli.errors import ConfigError, VideoError, WeightsError
from drsvg_cli.frames import Frames, cut_out, fit_all, resize, to_frames, to_tensor
from drsvg_cli.inference.loading import LoadedModel, load_predictor
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.video.clip import Clip
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import measure_length, read_clip

LARGEST_SIDE = 4096
"""Pixels; the largest frames that are written."""
DEFAULT_SIDE = 256
"""Pixels; height and width of results that are squares."""
LONGEST_SIDE = 1280
"""Pixels; the longer side of whole frames, unless another one is asked for."""
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
    size: int | Literal["source"] | None


@dataclass(frozen=True)
class Session:
    """A model ready to predict and all that the options left open."""

    settings: Settings
    loaded: LoadedModel
    device: torch.device
    seed: int

    @property
    def recipe(self) -> Recipe:
        """What the model is."""
        return self.loaded.recipe

    @property
    def model(self) -> DRSVG:
        """The network, of a model of the paper's kind."""
        assert self.loaded.network is not None
        return self.loaded.network

    @property
    def is_whole(self) -> bool:
        """Whether whole frames are predicted, and not squares."""
        return self.loaded.network is None

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
        return self.settings.size or DEFAULT_SIDE

    @property
    def fit(self) -> Fit:
        """How frames are brought to the model's size."""
        return self.settings.fit or self.recipe.data.fit

    @property
    def seeds(self) -> list[int]:
        """One a sample."""
        return [self.seed + number for number in range(1, self.settings.samples + 1)]


def open_session(settings: Settings, source: Path | None) -> Session:
    """Load the model, or the baseline if there is no source, and settle what the options left open.

    Raises:
        ConfigError: frames are to be fitted that are predicted as they are.
    """
    device = prepare(settings.device)
    loaded = load_predictor(settings.model, source, device)
    if settings.fit is not None:
        if loaded.network is None:
            raise ConfigError(f"{settings.model} predicts whole frames; leave --fit out")
        loaded = replace(loaded, predictor=PaperPredictor(loaded.network, fit=settings.fit))
    seed = secrets.randbelow(2**31) if settings.seed is None else settings.seed
    return Session(settings, loaded, device, seed)


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
        shrink = None
    elif session.is_whole:
        shrink = partial(_limited, side=settings.size or LONGEST_SIDE)
    else:
        spare = 2 * max(session.side, session.recipe.model.size)
        shrink = partial(_shrunk, size=spare, how=session.fit) if heavy else None
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
        shrink=shrink,
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


def _limited(frame: Frames, *, side: int) -> Frames:
    """Bring a frame to `side` pixels along its longer side, if it is larger."""
    height, width = frame.shape[:2]
    scale = min(1.0, side / max(height, width))
    return resize(frame, width=max(1, round(width * scale)), height=max(1, round(height * scale)))


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
        "weights_sha256": session.loaded.weights,
        "seed": session.seed,
        "sample_seeds": session.seeds,
        "temperature": session.temperature,
        "settings": asdict(session.settings),
    }
