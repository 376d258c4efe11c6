"""Recipes of drsvg 0.1 and 0.2, as their weights have them, brought to the keys of today."""

from typing import Any

from drsvg_cli.errors import ConfigError

_Table = dict[str, Any]
_ANYTHING = object()
RENAMED = {
    "": {"parent": "base_model", "trained_on": "training_data"},
    "model": {"latent_hidden": "hidden"},
    "data": {"rate": "frame_rate", "shortest_context": "min_context"},
    "training": {"swapped": "shuffled_features"},
}
REMOVED: dict[str, dict[str, Any]] = {
    "": {"hub": _ANYTHING},
    "model": {
        "normalization": "batch",
        "head": "pixels",
        "content_rollout": "update",
        "noise_correlation": 0.0,
        "predictor_layers": 2,
        "latent_shortcut": False,
        "prior_hidden": 0,
        "company": _ANYTHING,
        "temperature": _ANYTHING,
        "discriminator_hidden": _ANYTHING,
    },
    "data": {
        "fastest": _ANYTHING,
        "reverse": _ANYTHING,
        "camera": _ANYTHING,
        "tint": _ANYTHING,
        "cutouts": _ANYTHING,
        "stills": _ANYTHING,
        "bend": _ANYTHING,
        "reshaped": _ANYTHING,
        "second_view": _ANYTHING,
        "walls": "stochastic",
        "gestures": _ANYTHING,
    },
    "training": {
        "warmup": _ANYTHING,
        "kl_warmup": _ANYTHING,
        "kl_anneal_steps": _ANYTHING,
        "likelihood": _ANYTHING,
        "content_kl": _ANYTHING,
        "autoencoded_steps": _ANYTHING,
        "matching": _ANYTHING,
        "drawing": _ANYTHING,
        "motion": _ANYTHING,
        "blind": _ANYTHING,
        "closed_loop": _ANYTHING,
        "prior_dropout": _ANYTHING,
        "decoded": _ANYTHING,
        "average": _ANYTHING,
        "clip": _ANYTHING,
        "patience": _ANYTHING,
        "keep": _ANYTHING,
    },
}
"""Keys that are gone, and the value they must have had for weights to predict as they did."""


def migrate(recipe: _Table) -> bool:
    """Bring an older recipe to the keys of today, in place.

    Returns:
        Whether it had any older key.

    Raises:
        ConfigError: it is of a network that this version does not have.
    """
    before = repr(recipe)
    for name, removed in REMOVED.items():
        table = recipe.get(name, {}) if name else recipe
        if not isinstance(table, dict):
            continue
        if name == "model" and "predictor_hidden" in table:
            _remove(table, "predictor_hidden", table.get("latent_hidden", 256))
        for key, value in removed.items():
            if key in table:
                _remove(table, key, value)
        for old, new in RENAMED[name].items():
            if old in table:
                table[new] = table.pop(old)
    return repr(recipe) != before


def _remove(table: _Table, key: str, needed: Any) -> None:
    if (found := table.pop(key)) != needed and needed is not _ANYTHING:
        raise ConfigError(
            f"its {key} is {found!r}, and this version of drsvg has no such network; predict with "
            "drsvg 0.2, or train the model anew"
        )
