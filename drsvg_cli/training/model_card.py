"""Model cards: the `README.md` of a model folder, complete without editing."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drsvg_cli import __version__
from drsvg_cli.config import Recipe
from drsvg_cli.evaluation.metrics import CEILING
from drsvg_cli.evaluation.prediction import Scores
from drsvg_cli.weights.address import parse_address
from drsvg_cli.weights.registry import as_folder


@dataclass(frozen=True)
class Provenance:
    """Where weights come from."""

    data: str
    """What they were trained on, in words."""
    held: str
    """What they were measured on, in words."""
    steps: int
    """Steps of training done."""
    hours: float
    """Time they computed, without validations and saves."""
    samples: int
    """Samples a clip in the measurement."""
    datasets: Sequence[str] = ()
    """Names on the Hub of the data sets trained on."""
    picture: str | None = None
    """A picture of predictions, beside the card."""


_KEPT = {
    "best": "those with the lowest energy score on these same sequences during training",
    "last": "the last ones: no score chose them",
}


def model_card(recipe: Recipe, scores: Mapping[str, Scores], origin: Provenance) -> str:
    """Write the card: what the model is, what it was trained on, what was measured, its limits."""
    model, data, training = recipe.model, recipe.data, recipe.training
    family = "DR-SVG" if model.content_dim else f"SVG-{'LP' if model.prior == 'learned' else 'FP'}"
    began = f"the weights of `{recipe.parent}`" if recipe.parent else "random weights"
    data_sets = f"\n\n{recipe.trained_on}" if recipe.trained_on else ""
    sequences = origin.steps * training.batch
    picture = f"\n![Held-back clips and a sample of each]({origin.picture})\n"
    return f"""{_front_matter(recipe, origin)}
# {recipe.name}

{recipe.summary or "A model of short clips"}.

{family}, {model.backbone} backbone of width {model.width}, {model.size}×{model.size} pixels,
{"colour" if model.channels == 3 else "gray"}, {data.context} observed frames, trained to predict
{data.horizon} at about {data.rate:g} a second.

    drsvg predict clip.mp4 --model {shlex.quote(as_folder(recipe.name))}
{picture if origin.picture else ""}
## Training

Trained from {began} on {origin.data}: {origin.steps:,} steps of {training.batch} sequences
({sequences:,} sequences of {data.context + data.horizon} frames), {_hours(origin.hours)} of
computing, drsvg {__version__}. `preset.toml` beside this file is the whole recipe.{data_sets}

## Measured

On {origin.held};
{origin.samples} samples a sequence; means over sequences. "Best" is the best sample of a sequence
by its average over time. `copy` repeats the last observed frame, `motion` goes on as measured,
`motion-speeds` at a random speed a sample. PSNR (cut at {CEILING:.0f} dB a frame) and SSIM (as SRVP
defines it) are of all frames, LPIPS (AlexNet) and the energy score of the samples with the distance
√LPIPS, lower is better, of a few of them.
The weights kept are {_KEPT[training.keep]}.

{score_table(scores)}

## Limits

The model sees {model.size}×{model.size} pixels and invents nothing that the observed frames do not
suggest. It is good at static cameras, repeated motion and a few moving things; cuts, fast
cameras and crowded scenes end in blur. Copying the last frame and measured motion that goes on are
strong baselines: compare with them (`--compare`) before trusting a prediction.
"""


def _front_matter(recipe: Recipe, origin: Provenance) -> str:
    """Write what the Hub reads of a card, as YAML."""
    table: dict[str, str | Sequence[str]] = {
        "library_name": "drsvg",
        "license": recipe.license,
        "pipeline_tag": "video-to-video",
        "tags": ("video-prediction", "stochastic-video-generation", "dr-svg"),
        "datasets": origin.datasets,
    }
    if recipe.parent and (address := parse_address(recipe.parent)):
        table["base_model"] = address.repo
    # A JSON text is a YAML one, whatever is in it.
    lines = [
        f"{key}: {_plain(value) if isinstance(value, str) else json.dumps(list(value))}"
        for key, value in table.items()
    ]
    return "\n".join(["---", *lines, "---", ""])


def _plain(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z][\w./-]*", text) else json.dumps(text)


def _hours(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"


def score_table(scores: Mapping[str, Scores]) -> str:
    """Lay scores out as a Markdown table, a row a predictor."""
    lines = ["| | PSNR | PSNR best | SSIM | LPIPS | energy |", "|---|---|---|---|---|---|"]
    for name, each in scores.items():
        several = each.psnr.shape[1] > 1
        cells = [
            f"{each.psnr.mean():.2f}",
            f"{each.best('psnr').mean():.2f}" if several else "",
            f"{each.ssim.mean():.4f}",
            f"{each.lpips.mean():.4f}",
            f"{each.energy.mean():.4f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
