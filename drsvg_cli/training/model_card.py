"""Model cards: the `README.md` of a model folder, complete without editing."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drsvg_cli.config import MotionConfig, Recipe
from drsvg_cli.training.trainer import Keep
from drsvg_cli.weights.model_folder import parse_address
from drsvg_cli.weights.registry import as_folder


@dataclass(frozen=True)
class Provenance:
    """Where weights come from, as their header and the log of the run have it."""

    history: Sequence[Mapping[str, Any]]
    """As `trainer.fit` writes it: a run after the other."""
    validation_data: str
    """What they were measured on, in words."""
    log: Sequence[Mapping[str, Any]]
    """The validations of the last run, from the one before its first step on."""
    keep: Keep
    picture: str | None = None
    """A picture of predictions, beside the card."""

    @property
    def kept(self) -> Mapping[str, Any]:
        """The validation of the weights that were kept."""
        return (
            max(self.log, key=lambda line: line["score"]) if self.keep == "best" else self.log[-1]
        )

    @property
    def unchanged(self) -> bool:
        """Whether no step made the weights of the model that the run started from better."""
        started = not self.history or bool(self.history[-1]["start"])
        return started and bool(self.kept["step"] == 0)

    @property
    def measured(self) -> list[str]:
        """The names of what a validation measures."""
        return [name for name in MEASURED if name in self.kept]


MEASURED = ("psnr", "lpips", "energy")

_KEPT = {
    "best": "those with the best score on these same sequences during training",
    "last": "the last ones: no score chose them",
}


def model_card(recipe: Recipe, provenance: Provenance) -> str:
    """Write the card: what the model is, how it was trained, what was measured, its limits."""
    data, kept = recipe.data, f"The weights kept are {_KEPT[provenance.keep]}."
    if provenance.unchanged:
        kept = (
            f"No step made them better: the weights are those of `{recipe.base_model}`, unchanged."
        )
    picture = f"\n![Held-back clips and a sample of each]({provenance.picture})\n"
    return f"""{_front_matter(recipe)}
# {recipe.name}

{recipe.summary or "A model of short clips"}.

{_network(recipe)}, {data.context} observed frames, trained to predict {data.horizon} at about
{data.frame_rate:g} a second.

    drsvg predict clip.mp4 --model {shlex.quote(as_folder(recipe.name))}
{picture if provenance.picture else ""}
## Training

Trained on {recipe.training_data or "clips that nobody described"}.

{_runs(recipe, provenance)}

`preset.toml` beside this file is the whole recipe of the last run.

## Measured

On {provenance.validation_data}. {kept}

{_table(provenance)}

## Limits

{_limits(recipe)} Copying the last frame is a strong baseline: compare with it (`--compare`)
before trusting a prediction.
"""


def _network(recipe: Recipe) -> str:
    """Say what the network is."""
    model = recipe.model
    if isinstance(model, MotionConfig):
        return f"DR-SVG's latents as maps over measured motion, width {model.width}, whole frames"
    family = "DR-SVG" if model.content_dim else f"SVG-{'LP' if model.prior == 'learned' else 'FP'}"
    colour = "colour" if model.channels == 3 else "gray"
    return (
        f"{family}, {model.backbone} backbone of width {model.width}, {model.size}×{model.size} "
        f"pixels, {colour}"
    )


def _limits(recipe: Recipe) -> str:
    """Say what the model cannot do."""
    if isinstance(recipe.model, MotionConfig):
        return (
            "The model moves the pixels of the last observed frame and draws none: what comes into "
            "view is stretched from what is beside it, and nothing appears that was not seen."
        )
    size = recipe.model.size
    return (
        f"The model sees {size}×{size} pixels and invents nothing that the observed frames do not "
        "suggest; cuts, fast cameras and crowded scenes end in blur."
    )


def _runs(recipe: Recipe, provenance: Provenance) -> str:
    """List the runs, oldest first; what is known of one that was not recorded is its start."""
    lines = []
    for number, run in enumerate(provenance.history):
        last = number == len(provenance.history) - 1
        start = f"weights {run['start'][:12]}" if run["start"] else "random weights"
        if last and run["start"] and recipe.base_model:
            start = f"the weights of `{recipe.base_model}` ({run['start'][:12]})"
        lines.append(
            f"- {run['steps']:,} steps from {start}, recipe {run['recipe'][:12]}, "
            f"drsvg {run['drsvg']}"
        )
    log, batch = provenance.log[-1], recipe.training.batch
    hours = log["seconds"] / 3600
    time = f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"
    took = f"The last run took {log['step']:,} steps of {batch} sequences and {time}."
    return "\n".join([*lines, "", took])


def _table(provenance: Provenance) -> str:
    """Lay out as Markdown what the validation measured, before the run and after it."""
    before, after = provenance.log[0], provenance.kept
    rows = [
        f"| {name.replace('_', ' ')} | {before[name]:.4g} | {after[name]:.4g} |"
        for name in provenance.measured
    ]
    return "\n".join(["| | before | after |", "|---|---|---|", *rows])


def _front_matter(recipe: Recipe) -> str:
    """Write what the Hub reads of a card, as YAML."""
    table: dict[str, str | Sequence[str]] = {
        "library_name": "drsvg",
        "license": recipe.license,
        "pipeline_tag": "video-to-video",
        "tags": ("video-prediction", "stochastic-video-generation", "dr-svg"),
    }
    if recipe.base_model and (address := parse_address(recipe.base_model)):
        table["base_model"] = address.repo
    # A JSON text is a YAML one, whatever is in it.
    lines = [f"{key}: {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(["---", *lines, "---", ""])
