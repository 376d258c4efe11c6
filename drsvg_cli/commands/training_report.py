"""What a run of training brought: the model before and after it, beside the baselines."""

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch

from drsvg_cli.commands.tables import Table, latent_table
from drsvg_cli.config import Recipe, TrainingConfig
from drsvg_cli.evaluation.latents import latent_use
from drsvg_cli.evaluation.prediction import draw, score
from drsvg_cli.frames import Frames, cut_out, to_tensor
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
from drsvg_cli.inference.loading import LoadedModel
from drsvg_cli.training.model_card import Provenance
from drsvg_cli.training.preparation import VALIDATION_SAMPLES, Run
from drsvg_cli.training.trainer import Step
from drsvg_cli.visualization.samples import strip

METRICS = {"psnr": ("PSNR (dB)", 2), "lpips": ("LPIPS", 4), "energy": ("energy score", 4)}
"""Heads and digits of the closing table."""
RIVALS = {"copy": "a still picture", "motion": "motion that goes on"}
"""Baselines that the closing words compare with, and what they are called there."""
HARDLY = 2.0
"""Levels of 255 by which frames differ from the last observed one where hardly anything moves."""
FEW = 8
"""Held-back sequences, fewer than which say little."""
TIMED = 3
"""Steps after which a run's time is estimated."""


class Pace:
    """How long a run will take, from its first steps."""

    def __init__(self, training: TrainingConfig) -> None:
        """Begin to measure."""
        self._training, self._seen = training, 0
        self._begun, self._validation = time.monotonic(), 0.0

    def estimate(self, step: Step) -> str:
        """Take note of a step that is done; say how long the others take, once."""
        now = time.monotonic()
        if self._seen == 0:
            self._validation = now - self._begun if step.validation else 0.0
            self._begun = now
        self._seen += 1
        if self._seen != TIMED + 1:
            return ""
        left = self._training.steps - step.number
        validations = math.ceil(left / self._training.validate_every)
        seconds = left * (now - self._begun) / TIMED + validations * self._validation
        if seconds < 60:
            return "takes less than a minute"
        time_left = (
            f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
        )
        return f"takes about {time_left} at most; Ctrl-C saves and stops, --resume goes on"


@dataclass(frozen=True)
class Closing:
    """All that is said at the end of a run."""

    recipe: Recipe
    provenance: Provenance
    prepared: Run
    kept: LoadedModel
    """What the folder holds."""

    def tables(self, *, latents: bool) -> list[Table]:
        """Lay out before → after beside the baselines, and whether the latents are alive."""
        rows = [
            [name, *(f"{each[key]:.{digits}f}" for key, (_, digits) in METRICS.items())]
            for name, each in self.numbers.items()
        ]
        tables = [Table(["validation", *(head for head, _ in METRICS.values())], rows)]
        network, held = self.kept.network, self.prepared.validation
        if latents and network is not None and len(held) > 1:
            channels = self.recipe.drsvg.channels
            clips = torch.stack([to_tensor(clip, channels=channels) for clip in held])
            use = latent_use(network, clips, context=self.recipe.data.context)
            tables.append(latent_table({self.recipe.name: use}))
        return tables

    def words(self) -> list[str]:
        """Say in plain words what was gained over the start and the baselines, or why nothing."""
        name, start = self.recipe.name, self.recipe.base_model
        energy = {key: each["energy"] for key, each in self.numbers.items()}
        rivals = [(energy[rival], called) for rival, called in RIVALS.items()]
        count = len(self.prepared.validation)
        held = f"{count} held-back sequence{'s' * (count > 1)}"
        if self.provenance.unchanged:
            steps = self.provenance.log[-1]["step"]
            gained = (
                f"Nothing was gained: in {steps:,} steps no weights predicted {held} better than "
                f"{start}, so {name} is {start} unchanged."
            )
            return [gained, self._why(), f"{start} is {_compared(energy['after'], rivals)}."]
        if start:
            rivals.insert(0, (energy["before"], start))
        chosen = "" if self.provenance.keep == "last" else " (they chose the weights, too)"
        return [f"On {held}{chosen} {name} is {_compared(energy['after'], rivals)}."]

    def _why(self) -> str:
        """Name what may have kept a run from gaining anything."""
        held, horizon = self.prepared.validation, self.recipe.data.horizon
        moved = [np.abs(clip[-horizon:].astype(int) - clip[-horizon - 1]).mean() for clip in held]
        reasons = [f"it had {self.prepared.train_description} to learn from"]
        if len(held) < FEW:
            reasons.append("the held-back sequences are too few to show a small gain")
        if np.mean(moved) < HARDLY:
            reasons.append("hardly anything moves in them")
        return f"Why: {'; '.join(reasons)}. More, longer and more varied clips help."

    def record(self) -> dict[str, Any]:
        """Return the numbers for a program."""
        log = self.provenance.log
        return {"steps": log[-1]["step"], "kept_step": self.provenance.kept["step"], **self.numbers}

    def picture(self) -> Frames:
        """Show a few held-back sequences and a sample of each below it."""
        held, data, rows = self.prepared.validation, self.recipe.data, []
        count = min(4, len(held))
        for number in range(count):
            clip = held[number * len(held) // count]
            observed = clip[: -data.horizon]
            sample = draw(self.kept.predictor, observed, data.horizon, seeds=[1])[0]
            for label, frames in (
                (f"clip {number + 1}", clip),
                ("predicted", np.concatenate([observed, sample])),
            ):
                rows.append((label, np.stack([cut_out(frame, how="crop") for frame in frames])))
        return strip(rows, tile=96, rate=Fraction(data.frame_rate).limit_denominator(1001))

    @cached_property
    def numbers(self) -> dict[str, dict[str, float]]:
        """Measure the baselines, and put them beside the validations before and after."""
        lines = {"before": self.provenance.log[0], "after": self.provenance.kept}
        found = {name: {key: float(line[key]) for key in METRICS} for name, line in lines.items()}
        for name, make in BASELINES.items():
            seeds = [1] if name in DETERMINISTIC else range(1, VALIDATION_SAMPLES + 1)
            scores = score(
                make(),
                self.prepared.validation,
                horizon=self.recipe.data.horizon,
                seeds=seeds,
                judge=self.prepared.judge,
            )
            found[name] = {key: float(np.mean(getattr(scores, key).numpy())) for key in METRICS}
        return found


def _compared(energy: float, rivals: list[tuple[float, str]]) -> str:
    """Say how much closer an energy score is to what happened than those of rivals."""
    parts = []
    for other, called in rivals:
        share = round(100 * (other - energy) / max(abs(other), 1e-6))
        way = f"{abs(share)} % {'closer' if share > 0 else 'farther off'} than"
        parts.append(f"{way if share else 'as close as'} {called}")
    *first, last = parts
    return f"{', '.join(first)}{' and ' * bool(first)}{last}, by the energy score"
