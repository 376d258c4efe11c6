"""Clips as `predict` and `swap` read them: the end of what is observed, at the results' size."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from drsvg_cli.commands.session import Session
from drsvg_cli.config import SHORTEST_CONTEXT
from drsvg_cli.errors import ConfigError, VideoError
from drsvg_cli.frames import Frames, resize, to_frames, to_tensor
from drsvg_cli.video.clip import ClipInfo
from drsvg_cli.video.decoding import probe
from drsvg_cli.video.reading import grid_rate, measure_length, read_clip

LONGEST_SIDES = {"mp4": 1280, "gif": 640, "webp": 640, "png": 640}
"""Pixels; the longer side of videos of each format, unless another size is asked for."""
LARGEST_SIDE = 4096
SMALLEST_SIDE = 16
"""Pixels; the smallest frames that can be shown, and whose motion can be measured."""
FASTEST = 60
"""Frames a second of a video at most; of faster clips some are left out."""
MOST_BYTES = 3 * 2**29
"""Of the frames of a clip that are held at once."""


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
