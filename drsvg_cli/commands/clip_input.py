"""What `drsvg predict` and `drsvg swap` begin with: a model, what was asked of it, and clips."""

import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drsvg_cli import __version__
from drsvg_cli.commands.console import Reporter
from drsvg_cli.config import SHORTEST_CONTEXT, Box, Fit
from drsvg_cli.device import prepare
from drsvg_cli.errors import ConfigError, VideoError
from drsvg_cli.frames import Frames, resize, to_frames, to_tensor
from drsvg_cli.inference.baselines import DETERMINISTIC
from drsvg_cli.inference.loading import LoadedModel, load_predictor
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.video.clip import ClipInfo
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import grid_rate, measure_length, read_clip

LESS = "choose a smaller --size, --samples or --horizon"
LONGEST_SIDES = {"mp4": 1280, "gif": 640, "webp": 640, "png": 640}
"""Pixels; the longer side of videos of each format, unless another size is asked for."""
LARGEST_SIDE = 4096
SMALLEST_SIDE = 16
"""Pixels; the smallest frames that can be shown, and whose motion can be measured."""
FASTEST = 60
"""Frames a second of a video at most; of faster clips some are left out."""
MEMORY = 2.0
"""Seconds that a model of whole frames is given to look back on."""
MOST_BYTES = 3 * 2**29
"""Of the frames of a clip that are held at once."""


@dataclass(frozen=True)
class Settings:
    """What was asked for, as in the command's options."""

    model: str
    horizon: int | float
    """Frames, or seconds if it is a float."""
    samples: int
    seed: int | None = None
    temperature: float | None = None
    at: str | None = None
    rate: float | None = None
    fit: Fit | None = None
    device: str = "auto"
    format: str = "mp4"
    size: Box = None
    context: int | None = None
    compare: bool = False
    past: float = 2.0
    """Seconds of the clip that each video begins with."""
    mark: bool = True
    grid: bool = False


@dataclass(frozen=True)
class Session:
    """A model ready to predict and all that the options left open."""

    settings: Settings
    loaded: LoadedModel
    device: torch.device
    seed: int

    @property
    def is_whole(self) -> bool:
        """Whether whole frames are predicted, and not squares."""
        return self.loaded.network is None

    @property
    def temperature(self) -> float:
        """How far samples stray."""
        asked = self.settings.temperature
        return self.loaded.temperature if asked is None else asked

    @property
    def seeds(self) -> list[int]:
        """One a sample."""
        return [self.seed + number for number in range(1, self.settings.samples + 1)]

    def context_at(self, rate: Fraction) -> int:
        """Return how many frames the model observes."""
        own = self.loaded.recipe.data.context
        if self.is_whole:
            own = max(own, round(MEMORY * rate))
        return self.settings.context or max(SHORTEST_CONTEXT, own)

    def horizon_at(self, rate: Fraction) -> int:
        """Return how many frames to predict."""
        asked = self.settings.horizon
        return max(1, round(asked * rate)) if isinstance(asked, float) else asked


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The end of what was observed of a clip, and what followed if it is wanted."""

    info: ClipInfo
    frames: Frames
    """uint8 `(T, H, W, 3)`, at the rate and the size of the results."""
    rate: Fraction
    start: float
    """Seconds from the clip's first frame to that of `frames`."""
    steps: int
    """Frames from one that the model sees to the next."""
    context: int
    """Frames that the model observes, at most."""
    horizon: int
    """Frames that the model predicts."""
    held: int = 0
    """How many of `frames` were held back."""

    @property
    def seen(self) -> Frames:
        """All that was not held back."""
        return self.frames[: len(self.frames) - self.held]

    @property
    def observed(self) -> Frames:
        """What the model observes."""
        return self.seen[:: -self.steps][: self.context][::-1]

    @property
    def truth(self) -> Frames | None:
        """What happened, at the model's rate."""
        return self.frames[len(self.seen) :][self.steps - 1 :: self.steps] if self.held else None

    @property
    def model_rate(self) -> Fraction:
        """Frames a second that the model sees."""
        return self.rate / self.steps

    @property
    def end(self) -> float:
        """The last observed moment, in seconds."""
        return self.start + float((len(self.seen) - 1) / self.rate)

    def times(self, first: int, last: int) -> list[float]:
        """List moments of the model's frames, in seconds from the clip's first one.

        Frames are counted from the last observed one, which is 0; both ends are included.
        """
        steps = np.arange(first, last + 1) / float(self.model_rate)
        return np.round(self.end + steps, 6).tolist()


def without_copies(settings: Settings, reporter: Reporter) -> Settings:
    """Ask for a single sample where all would be the same, and say so."""
    if settings.samples > 1 and (settings.temperature == 0 or settings.model in DETERMINISTIC):
        reporter.note("all samples would be the same: one is drawn")
        return replace(settings, samples=1)
    return settings


def open_session(settings: Settings, source: Path | None) -> Session:
    """Load the model, or the baseline if there is no source, and settle what the options left open.

    Raises:
        ConfigError: frames are to be fitted that are predicted as they are.
    """
    device = prepare(settings.device)
    loaded = load_predictor(settings.model, source, device)
    if loaded.network is None:  # its maps are small: a second thread would wait more than it does
        torch.set_num_threads(1)
    if settings.fit is not None:
        if loaded.network is None:
            raise ConfigError(
                f"{settings.model} predicts whole frames: nothing is to be fitted; leave --fit out"
            )
        loaded = replace(loaded, predictor=PaperPredictor(loaded.network, fit=settings.fit))
    seed = secrets.randbelow(2**31) if settings.seed is None else settings.seed
    return Session(settings, loaded, device, seed)


def read_excerpt(
    session: Session,
    path: Path,
    *,
    rate: Fraction | None = None,
    count: int | None = None,
    at: str | None = None,
    option: str = "--at",
) -> Excerpt:
    """Read the end of a clip, or its part up to the moment of the settings.

    Args:
        session: says what of it is wanted.
        path: the clip.
        rate: frames a second that the model sees; that of the settings by default, or near the
            model's.
        count: frames to read, at that rate; what a prediction needs by default.
        at: the last moment, if it is not that of the settings.
        option: what asked for it.

    Raises:
        VideoError: it cannot be read, has too little there, or would take too much memory.
    """
    settings = session.settings
    asked = None if settings.rate is None else Fraction(settings.rate).limit_denominator(1001)
    info = probe(path, rate=asked)
    exact = rate or (None if info.pictures else asked)
    wanted = Fraction(exact or session.loaded.recipe.data.frame_rate).limit_denominator(1001)
    model_rate = grid_rate(info.rate, wanted, exact=exact is not None)
    steps = 1  # frames of a video to each of the model: as many as there are in the clip
    if settings.past and not count:
        steps = max(1, min(round(info.rate / model_rate), int(FASTEST / model_rate)))
    fine = model_rate * steps
    horizon, context = session.horizon_at(model_rate), session.context_at(model_rate)
    held = horizon * steps if settings.compare else 0
    length = count or max(round(settings.past * fine), (context - 1) * steps + 1)
    width, height = _size(session, info)
    _check_memory(path, length + held, width, height)
    moment = settings.at if at is None else at
    clip = read_clip(
        path,
        length,
        after=held,
        at=read_moment(moment, partial(measure_length, info), option=option),
        info=info,
        rate=fine,
        exact_rate=True,
        shrink=partial(resize, width=width, height=height),
    )
    network = session.loaded.network
    channels = 3 if network is None else network.config.channels
    frames = clip.frames if channels == 3 else to_frames(to_tensor(clip.frames, channels=1))
    excerpt = Excerpt(info, frames, fine, clip.start, steps, context, horizon, held)
    if count is None and len(excerpt.observed) < SHORTEST_CONTEXT:
        raise VideoError(
            f"{path} has {len(excerpt.observed)} frame(s) to observe; at least "
            f"{SHORTEST_CONTEXT} are needed"
        )
    return excerpt


def read_moment(
    text: str | None, length: Callable[[], float], *, option: str = "--at"
) -> float | None:
    """Turn `12.5`, `1:30`, `1:02:03` or `50%` into seconds; `length` measures the clip's.

    Raises:
        ConfigError: the text is none of these.
    """
    if text is None:
        return None
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
        if float(match[1]) > 100:
            raise ConfigError(f"{option} is {text}; choose 0% to 100%")
        return length() * float(match[1]) / 100
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise ConfigError(
            f"{option} is {text!r}; give seconds (12.5), mm:ss (1:30) or a share (50%)"
        )
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _size(session: Session, info: ClipInfo) -> tuple[int, int]:
    """Choose width and height of the results, even where they are not the clip's own.

    However long and thin a clip is, its longer side has `LARGEST_SIDE` pixels at most, and its
    shorter one `SMALLEST_SIDE` at least.

    Raises:
        VideoError: its own size is asked for, and cannot be written.
    """
    size, width, height = session.settings.size, info.width, info.height
    if size is None:
        scale = min(1.0, LONGEST_SIDES[session.settings.format] / max(width, height))
    elif size == "source":
        scale = 1.0
    elif isinstance(size, int):
        scale = size / min(width, height)
    else:
        scale = min(size[0] / width, size[1] / height)
    if size != "source":
        scale = min(scale, LARGEST_SIDE / max(width, height))
    if scale != 1:
        width, height = (2 * round(side * scale / 2) for side in (width, height))
    if size != "source":
        width, height = max(SMALLEST_SIDE, width), max(SMALLEST_SIDE, height)
    if min(width, height) < SMALLEST_SIDE or max(width, height) > LARGEST_SIDE:
        raise VideoError(
            f"{info.path}: frames of {width}x{height} cannot be written, only {SMALLEST_SIDE} to "
            f"{LARGEST_SIDE} pixels a side; choose another --size"
        )
    return width, height


def _check_memory(path: Path, count: int, width: int, height: int) -> None:
    """Refuse, before anything is read, what would not fit.

    Raises:
        VideoError: it would not.
    """
    needed = 3 * count * width * height
    if needed > MOST_BYTES:
        raise VideoError(
            f"{path}: {count} frames of {width}x{height} take {needed / 1e9:.1f} GB of memory, and "
            f"{MOST_BYTES / 1e9:.1f} GB is the most; choose a smaller --size or --past"
        )


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
