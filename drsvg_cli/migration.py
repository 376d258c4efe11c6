"""Recipes of drsvg 0.1 and 0.2, as their weights have them, brought to the keys of today."""

from typing import Any

from drsvg_cli.errors import ConfigError

RENAMED = {
    "": {"parent": "base_model", "trained_on": "training_data"},
    "model": {"latent_hidden": "hidden"},
    "data": {"rate": "frame_rate", "shortest_context": "min_context"},
    "training": {"swapped": "shuffled_features"},
}
IGNORED = {
    "": ("hub",),
    "model": ("company", "temperature", "discriminator_hidden"),
    "data": (
        *("fastest", "reverse", "camera", "tint", "cutouts", "stills", "bend", "reshaped"),
        *("second_view", "gestures"),
    ),
    "training": (
        *("warmup", "likelihood", "content_kl", "autoencoded_steps", "matching", "drawing"),
        *("motion", "blind", "closed_loop", "prior_dropout", "decoded", "average", "clip"),
        *("patience", "keep", "kl_warmup", "kl_anneal_steps"),
    ),
}
"""Keys that are gone, and say nothing of how weights predict."""
REMOVED: dict[str, dict[str, Any]] = {
    "model": {
        "normalization": "batch",
        "head": "pixels",
        "content_rollout": "update",
        "noise_correlation": 0.0,
        "predictor_layers": 2,
        "latent_shortcut": False,
        "prior_hidden": 0,
    },
    "data": {"walls": "stochastic"},
}
"""Keys that are gone, and the value they must have had for weights to predict as they did."""


def migrate(recipe: dict[str, Any]) -> bool:
    """Bring an older recipe to the keys of today, in place.

    Returns:
        Whether it had any older key.

    Raises:
        ConfigError: it is of a network that this version does not have.
    """
    before = repr(recipe)
    for name, renamed in RENAMED.items():
        table = recipe.get(name, {}) if name else recipe
        if not isinstance(table, dict):
            continue
        needed = REMOVED.get(name, {})
        if name == "model":
            needed = needed | {"predictor_hidden": table.get("latent_hidden", 256)}
        for key, value in needed.items():
            if (found := table.pop(key, value)) != value:
                raise ConfigError(
                    f"its {key} is {found!r}, and this version of drsvg has no such network; "
                    "predict with drsvg 0.2, or train the model anew"
                )
        for key in IGNORED[name]:
            table.pop(key, None)
        for old, new in renamed.items():
            if old in table:
                table[new] = table.pop(old)
    return repr(recipe) != before
