"""Model cards: the `README.md` of a model folder, complete without editing."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from drsvg_cli import __version__
from drsvg_cli.config import Recipe
from drsvg_cli.evaluation.metrics import CEILING
from drsvg_cli.evaluation.prediction import Curves, Scores
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
    "best": "those with the best mean PSNR on these same sequences during training",
    "last": "the last ones: no score chose them",
}


def model_card(recipe: Recipe, scores: Scores, origin: Provenance) -> str:
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
{origin.samples} samples a sequence; mean over sequences. "Best" is the best sample of a sequence by
its average over time; "copy" repeats the last observed frame. PSNR of a frame is cut at
{CEILING:.0f} dB; SSIM is as SRVP defines it.
The weights kept are {_KEPT[training.keep]}.

{score_table(scores)}

## Limits

The model sees {model.size}×{model.size} pixels and invents nothing that the observed frames do not
suggest. It is good at static cameras, repeated motion and a few moving things; cuts, fast
cameras and crowded scenes end in blur. Copying the last frame is a strong baseline: compare with
it (`--compare`) before trusting a prediction.
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


def score_table(scores: Scores) -> str:
    """Lay the scores out as a Markdown table, one row a predicted frame and one for all."""
    lines = [
        "| frame | PSNR mean | PSNR best | PSNR copy | SSIM mean | SSIM best | SSIM copy |",
        "|---|---|---|---|---|---|---|",
    ]
    frames = scores.psnr.copied.shape[1]
    for label, chosen in [
        *((str(t + 1), slice(t, t + 1)) for t in range(frames)),
        ("all", slice(None)),
    ]:
        cells = [*_cells(scores.psnr, chosen, 2), *_cells(scores.ssim, chosen, 4)]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(curves: Curves, chosen: slice, digits: int) -> list[str]:
    rows = (curves.mean, curves.best(), curves.copied)
    return [f"{float(scores[:, chosen].mean()):.{digits}f}" for scores in rows]
