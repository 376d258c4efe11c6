"""From the name of a model or a baseline to what predicts."""

from dataclasses import dataclass
from pathlib import Path

import torch

from drsvg_cli.config import Recipe
from drsvg_cli.inference.baselines import BASELINES
from drsvg_cli.inference.motion import TEMPERATURE, MotionPredictor
from drsvg_cli.inference.paper import PaperPredictor
from drsvg_cli.inference.predictor import Predictor
from drsvg_cli.model.drsvg import DRSVG
from drsvg_cli.model.folding import fold_batchnorm
from drsvg_cli.motion_model.network import MotionNetwork
from drsvg_cli.storage import sha256
from drsvg_cli.weights.files import load_model
from drsvg_cli.weights.model_folder import weights_path


@dataclass(frozen=True)
class LoadedModel:
    """A predictor, and what is known of it."""

    predictor: Predictor
    recipe: Recipe
    weights: str = ""
    """The SHA-256 of its weights; empty for a baseline."""
    temperature: float = 1.0
    """Of its samples where none is asked for."""
    network: DRSVG | None = None
    """The paper's network, whose frames are squares of its own size; none of any other predictor,
    which takes whole frames."""


def load_predictor(name: str, source: Path | None, device: torch.device) -> LoadedModel:
    """Load what predicts under a name.

    Args:
        name: what the user called it.
        source: a model folder or a weights file; none for a baseline.
        device: where to compute.

    Raises:
        WeightsError: a file is missing or damaged.
        ConfigError: the recipe is not valid.
    """
    if source is None:
        return LoadedModel(BASELINES[name](), Recipe(name))
    network, recipe = load_model(source)
    digest = sha256(weights_path(source))
    if isinstance(network, MotionNetwork):
        return LoadedModel(MotionPredictor(network), recipe, digest, TEMPERATURE)
    network = fold_batchnorm(network.to(device))
    predictor = PaperPredictor(network, fit=recipe.data.fit)
    return LoadedModel(predictor, recipe, digest, network=network)
