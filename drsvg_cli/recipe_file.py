"""Recipes as `preset.toml` and weights have them: read, checked, written.

Reading is strict. An unknown key, a missing name, a value of the wrong type or out of bounds, and a
key that the chosen model or source does not read are `ConfigError`s. Recipes of drsvg 0.1 and 0.2,
as their weights have them, are brought to the keys of today.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from drsvg_cli.config import MODEL_KINDS, AnyModel, Recipe, unread_keys
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


def parse_recipe(text: str, *, origin: str, migrated: bool = False) -> Recipe:
    """Read a recipe from the text of a `preset.toml`.

    Args:
        text: TOML.
        origin: names the text in messages.
        migrated: accept the keys of drsvg 0.1 and 0.2, as the recipes of older weights have them.

    Raises:
        ConfigError: the text is not TOML, or does not describe a recipe.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is a ValueError
        raise ConfigError(f"{origin} is not valid TOML: {error}") from None
    try:
        strict = not (migrated and migrate(table))
        recipe = _build(Recipe, table, "")
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None
    assert isinstance(recipe, Recipe)
    for key, condition in unread_keys(recipe) if strict else ():
        part, _, name = key.partition(".")
        if name in table.get(part, {}):
            values = " or ".join(json.dumps(value) for value in condition.values)
            raise ConfigError(f"{origin}: {key} is read only where {condition.key} is {values}")
    return recipe


def format_recipe(recipe: Recipe) -> str:
    """Write a recipe as TOML that `parse_recipe` reads back to an equal recipe."""
    lines, unread = [], {key for key, _ in unread_keys(recipe)}
    for name, value in asdict(recipe).items():
        if not isinstance(value, dict):
            lines.append(_format_entry(name, value))
            continue
        lines += ["", f"[{name}]"]
        lines += [
            _format_entry(key, each) for key, each in value.items() if f"{name}.{key}" not in unread
        ]
    return "\n".join(lines) + "\n"


def _format_entry(key: str, value: str | int | float) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{key} = {text}"


def _build(cls: type, table: Mapping[str, Any], prefix: str) -> Any:
    """Build the dataclass `cls` from a TOML table, checking every key and type."""
    hints = get_type_hints(cls)
    for key in table:
        if key not in hints:
            raise ConfigError(f"unknown key {prefix}{key}{_nearest(key, list(hints))}")
    missing = [f.name for f in fields(cls) if f.name not in table and _is_required(f)]
    if missing:
        raise ConfigError(f"{prefix}{missing[0]} is missing")
    values = {key: _convert(hints[key], value, f"{prefix}{key}") for key, value in table.items()}
    return cls(**values)


def _is_required(f: Any) -> bool:
    return f.default is f.default_factory  # both are MISSING


def _convert(hint: Any, value: Any, key: str) -> Any:
    if hint == AnyModel:
        hint = _model_class(value)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _build(hint, value, f"{key}.")
    if get_origin(hint) is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in get_args(hint)):
            choices = ", ".join(repr(choice) for choice in get_args(hint))
            raise ConfigError(f"{key} is {value!r}; choose one of {choices}")
        return value
    if hint is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if is_dataclass(hint) or type(value) is not hint:
        wanted = "a table" if is_dataclass(hint) else f"of type {hint.__name__}"
        raise ConfigError(f"{key} is {value!r}; it must be {wanted}")
    return value


def _model_class(value: Any) -> type:
    kind = value.get("kind", "drsvg") if isinstance(value, dict) else "drsvg"
    if kind not in list(MODEL_KINDS):
        kinds = ", ".join(map(repr, MODEL_KINDS))
        raise ConfigError(f"model.kind is {kind!r}; choose one of {kinds}")
    return MODEL_KINDS[kind]


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys: {', '.join(known)}"


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
