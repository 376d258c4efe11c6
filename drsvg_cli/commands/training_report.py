"""What a run of training brought: the model before and after it, beside the baselines."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from drsvg_cli.commands.tables import Table, latent_table
from drsvg_cli.config import Recipe
from drsvg_cli.evaluation.latents import latent_use
from drsvg_cli.evaluation.prediction import score
from drsvg_cli.frames import to_tensor
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
from drsvg_cli.training.model_card import Provenance
from drsvg_cli.training.preparation import VALIDATION_SAMPLES, Run
from drsvg_cli.training.step import DRSVGLearner

METRICS = {"psnr": ("PSNR (dB)", 2), "lpips": ("LPIPS", 4), "energy": ("energy score", 4)}
"""Heads and digits of the closing table."""


@dataclass(frozen=True)
class Closing:
    """All that is said at the end of a run."""

    recipe: Recipe
    provenance: Provenance
    prepared: Run

    def tables(self) -> list[Table]:
        """Lay out before → after beside the baselines, and whether the latents are alive."""
        rows = [
            [name, *(f"{each[key]:.{digits}f}" for key, (_, digits) in METRICS.items())]
            for name, each in self.numbers.items()
        ]
        tables = [Table(["validation", *(head for head, _ in METRICS.values())], rows)]
        learner, held = self.prepared.task.learner, self.prepared.validation
        if isinstance(learner, DRSVGLearner) and len(held) > 1:
            channels = self.recipe.drsvg.channels
            clips = torch.stack([to_tensor(clip, channels=channels) for clip in held])
            use = latent_use(learner.average, clips, context=self.recipe.data.context)
            tables.append(latent_table({self.recipe.name: use}))
        return tables

    def record(self) -> dict[str, Any]:
        """Return the numbers for a program."""
        log = self.provenance.log
        return {"steps": log[-1]["step"], "kept_step": self.provenance.kept["step"], **self.numbers}

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
