"""What a run of training brought: the model before and after it, beside the baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drsvg_cli.commands.tables import Table, latent_table
from drsvg_cli.config import Recipe
from drsvg_cli.data.dataset import as_clips
from drsvg_cli.evaluation.latents import latent_use
from drsvg_cli.evaluation.lpips import LPIPS
from drsvg_cli.evaluation.prediction import Judge, Scores, score
from drsvg_cli.inference.baselines import BASELINES, DETERMINISTIC
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.inference.predictor import Predictor
from drsvg_cli.model.drsvg import DRSVG

SAMPLES = 10
METRICS = {"psnr": ("PSNR (dB)", 2), "lpips": ("LPIPS", 4), "energy": ("energy", 4)}
"""Heads and digits of the closing table."""


def measure_held(model: DRSVG, recipe: Recipe, held: Tensor) -> dict[str, Scores]:
    """Measure a model and all baselines on held-back sequences `(N, T, C, S, S)` in [0, 1]."""
    device = next(model.parameters()).device
    judge = Judge(LPIPS(device), similarity=True, channels=recipe.model.channels, device=device)
    predictors: dict[str, Predictor] = {recipe.name: PaperPredictor(model, fit=recipe.data.fit)}
    predictors |= {name: make() for name, make in BASELINES.items()}
    return {
        name: score(
            each,
            as_clips((held * 255).round().to(torch.uint8)),
            horizon=recipe.data.horizon,
            seeds=[1] if name in DETERMINISTIC else range(1, SAMPLES + 1),
            judge=judge,
        )
        for name, each in predictors.items()
    }


@dataclass(frozen=True)
class Closing:
    """All that is said at the end of a run."""

    recipe: Recipe
    history: Sequence[Mapping[str, Any]]
    """The validations, from the one before the first step on."""
    scores: Mapping[str, Scores]
    """What `measure_held` found."""
    held: Tensor

    def tables(self, model: DRSVG) -> list[Table]:
        """Lay out before → after beside the baselines, and whether the latents are alive."""
        rows = [
            [name, *(f"{each[key]:.{digits}f}" for key, (_, digits) in METRICS.items())]
            for name, each in self._numbers().items()
        ]
        tables = [Table(["validation", *(head for head, _ in METRICS.values())], rows)]
        if len(self.held) > 1:
            use = latent_use(model, self.held, context=self.recipe.data.context)
            tables.append(latent_table({self.recipe.name: use}))
        return tables

    def record(self) -> dict[str, Any]:
        """Return the numbers for a program."""
        best = self.scores[self.recipe.name].best("psnr").mean()
        steps = self.history[-1]["step"]
        return {"steps": steps, **self._numbers(), "best_of_samples": float(best)}

    def _numbers(self) -> dict[str, dict[str, float]]:
        kept = min(self.history, key=lambda line: line["energy"])
        if self.recipe.training.keep == "last":
            kept = self.history[-1]
        numbers = {
            name: {"psnr": line["predicted"], "lpips": line["lpips"], "energy": line["energy"]}
            for name, line in (("before", self.history[0]), ("after", kept))
        }
        for name in DETERMINISTIC:
            each = self.scores[name]
            numbers[name] = {key: float(getattr(each, key).mean()) for key in METRICS}
        return numbers
