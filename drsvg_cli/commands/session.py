"""What `predict`, `swap` and `surprise` begin with: what was asked for, and a model for it."""

import secrets
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from drsvg_cli import __version__
from drsvg_cli.commands.console import Reporter
from drsvg_cli.config import SHORTEST_CONTEXT, Box, Fit
from drsvg_cli.device import prepare
from drsvg_cli.errors import ConfigError
from drsvg_cli.inference.baselines import DETERMINISTIC
from drsvg_cli.inference.loading import LoadedModel, load_predictor
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.visualization.html import Listing

LESS = "choose a smaller --size, --samples or --horizon"
MEMORY = 2.0
"""Seconds that a model of whole frames is given to look back on."""


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


def settings_listing(record: dict[str, Any], *, rate: Fraction) -> Listing:
    """List what made a result for its page; the model saw frames at `rate`."""
    facts = record["settings"] | {"rate": f"{float(rate):g}"}
    facts |= {name: record[name] for name in ("seed", "device", "drsvg", "torch")}
    rows = [[name, str(value)] for name, value in facts.items() if value is not None]
    return Listing("Settings", rows)
