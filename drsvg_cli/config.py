"""Recipes: frozen dataclasses and the `preset.toml` they are read from and written to.

A recipe is strict: an unknown key, a missing name or a value of the wrong type is a `ConfigError`.
Of an unknown key it names the nearest known one.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from drsvg_cli.errors import ConfigError

Fit = Literal["crop", "pad", "stretch"]
Likelihood = Literal["gaussian", "laplace", "adaptive"]
Source = Literal["clips", "moving-mnist", "kth", "sprites"]
Walls = Literal["stochastic", "deterministic"]
Gestures = Literal["changing", "fixed"]
Keep = Literal["best", "last"]
_REPO_PART = r"[A-Za-z0-9](?:(?:[\w.]|-(?!-)){0,94}\w)?"
REPO_PATTERN = rf"{_REPO_PART}/{_REPO_PART}(?<!\.git)"
"""The name of a Hub repo, `org/name`, as the Hub allows them."""


@dataclass(frozen=True)
class ModelConfig:
    """What the network is made of (Section 4.1).

    The baselines are configurations: `content_dim = 0` is SVG-LP, with `prior = "fixed"` SVG-FP.
    """

    backbone: Literal["dcgan", "vgg"] = "dcgan"
    size: int = 64
    """Height and width of a frame in pixels, a power of two."""
    channels: Literal[1, 3] = 3
    width: int = 64
    """Channels of the first convolution; the deeper ones are multiples of it."""
    normalization: Literal["batch", "group"] = "batch"
    head: Literal["pixels", "warp", "forward_warp"] = "pixels"
    """How the decoder's maps become a frame: drawn, or fetched from the last observed one, by the
    speeds of every place or of what is seen there. A model with a warp measures motion and sees
    it."""
    company: float = 8.0
    """How far apart things that move keep together, with a warp: the deviation of a Gaussian, in
    pixels. Faces, and heads and feet, would go different ways."""
    feature_dim: int = 128
    """Size of the frame features h and of the predictor's output g."""
    content_dim: int = 64
    pose_dim: int = 8
    prior: Literal["learned", "fixed"] = "learned"
    content_rollout: Literal["update", "hold"] = "update"
    """Content prior of a predicted frame: from the newest frame, or from the last observed one."""
    temperature: float = 1.0
    """Factor on the deviations of the priors in a rollout, where no other one is asked for; above 1
    for a model that is too sure of what comes next."""
    noise_correlation: float = 0.0
    """Correlation of the noise of a prior in a rollout with its noise a frame earlier; 0 is the
    paper's. Above, a sample goes on with what it does otherwise than expected."""
    predictor_hidden: int = 256
    predictor_layers: int = 2
    predictor_shortcut: bool = False
    """Whether a linear layer leads past the predictor's LSTM, from the features to its output."""
    latent_shortcut: bool = False
    """Whether a linear layer leads past the predictor's LSTM, from the latents to its output."""
    latent_hidden: int = 256
    prior_hidden: int = 0
    """Cells of the learned prior; 0 is as many as the posteriors have, `latent_hidden`."""
    discriminator_hidden: int = 128

    def __post_init__(self) -> None:
        """Refuse a network that cannot be built, or that no machine could hold."""
        if self.size not in (32, 64, 128, 256):
            raise ConfigError(f"model.size is {self.size}; choose 32, 64, 128 or 256")
        _check_bounds(self, "model", _MODEL_BOUNDS)


AT_PREDICTION = ("content_rollout", "temperature", "noise_correlation", "company")
"""Settings of a model with which the same weights predict otherwise."""

_MODEL_BOUNDS = (
    ("width", 2, 512),
    ("company", 0.1, 256.0),
    ("feature_dim", 2, 4096),
    ("content_dim", 0, 4096),
    ("pose_dim", 1, 4096),
    ("temperature", 0.0, 100.0),
    ("noise_correlation", 0.0, 1.0),
    ("predictor_hidden", 1, 8192),
    ("predictor_layers", 1, 8),
    ("latent_hidden", 1, 8192),
    ("prior_hidden", 0, 8192),
    ("discriminator_hidden", 1, 8192),
)


@dataclass(frozen=True)
class DataConfig:
    """What the model is trained on and how a clip is brought to its resolution."""

    source: Source = "clips"
    """A folder of any clips, or a data set that drsvg knows by name."""
    fit: Fit = "crop"
    rate: float = 12.0
    """Frames a second, about: a clip is thinned to its own rate divided by a whole number."""
    context: int = 5
    """Observed frames."""
    horizon: int = 10
    """Predicted frames in training."""
    shortest_context: int = 2
    """Training draws the number of observed frames from here to `context` for every step."""
    fastest: float = 1.5
    """Sequences are sped up by a factor from 0.5 to this one."""
    reverse: float = 0.0
    """Share of sequences played backwards."""
    camera: float = 0.0
    """Share of sequences with a simulated camera move."""
    tint: float = 0.0
    """Strength of random changes of colour and exposure, up to 1."""
    cutouts: float = 0.0
    """Share of sequences across which a piece of another clip moves, and of these that have one
    more, up to three."""
    stills: float = 0.0
    """Share of sequences that are one frame, which moves by what is done to it alone."""
    bend: float = 0.0
    """Share of sequences that are bent smoothly, more and less."""
    reshaped: float = 0.0
    """Share of sequences whose picture is stretched, bent, turned and moved a little, alike in all
    frames: people of other builds in other places."""
    second_view: bool = False
    """Whether the pose posterior reads each sequence of clips in a second view, reshaped and tinted
    otherwise than the one that is predicted: a pose cannot tell then whose it is."""
    walls: Walls = "stochastic"
    """What a wall of Moving MNIST does to a digit: gives it a random speed, or reflects it."""
    gestures: Gestures = "changing"
    """Whether Sprites pass to other actions and directions at random moments, or keep theirs."""

    def __post_init__(self) -> None:
        """Refuse lengths and rates that no clip can have."""
        if not 1 <= self.shortest_context <= self.context:
            raise ConfigError(
                f"data.shortest_context is {self.shortest_context}; choose 1 to {self.context}"
            )
        _check_bounds(self, "data", _DATA_BOUNDS)


_DATA_BOUNDS = (
    ("rate", 0.01, 1000),
    ("context", 1, 1000),
    ("horizon", 1, 1000),
    ("fastest", 0.5, 100.0),
    ("reverse", 0.0, 1.0),
    ("camera", 0.0, 1.0),
    ("tint", 0.0, 1.0),
    ("cutouts", 0.0, 1.0),
    ("stills", 0.0, 1.0),
    ("bend", 0.0, 1.0),
    ("reshaped", 0.0, 1.0),
)


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are learned."""

    steps: int = 10_000
    batch: int = 32
    """Sequences a step."""
    learning_rate: float = 0.002
    warmup: int = 200
    """Steps over which the learning rate rises to its full value."""
    likelihood: Likelihood = "gaussian"
    """Of a pixel in Eq. 4: squared errors as in the paper, absolute ones, or the logarithm of a
    frame's squared error, so that every frame counts as much, easy or hard to predict."""
    beta: float = 1e-4
    """Weight of the KL terms of Eq. 4, against the mean error of a pixel."""
    content_kl: float = 1.0
    """Share of `beta` that the content KL counts with; 0 leaves the content without a prior."""
    kl_warmup: int = 0
    """Steps without KL terms, and steps over which `beta` then rises: of use before they cost."""
    autoencoded_steps: int = 0
    """Steps at the start that decode the features of the frames themselves, so that encoder and
    decoder know frames first. The predictor learns from `matching` alone meanwhile."""
    matching: float = 0.0
    """Weight of the distance of predicted features from those of the frames themselves."""
    adversarial: float = 1e-3
    """Weight of Eq. 6 against the mean error of a pixel."""
    drawing: float = 0.0
    """Cost of drawing a whole frame instead of warping it (heads that warp), against the same."""
    motion: float = 0.0
    """Weight of the distance of a warp's speeds from the motion that is measured between the true
    frames (heads that warp)."""
    blind: float = 0.0
    """Share of the predicted frames whose features the frame predictor is not given."""
    swapped: float = 0.0
    """Share of steps whose frame predictor is given features of any frames of the clip, in whatever
    pose, as a swap starts with. For `head = "pixels"`: a warp counts the time between frames."""
    closed_loop: bool = False
    """Whether the learned prior reads, after the context, the frames that were predicted, as in a
    rollout, and not the true ones."""
    prior_dropout: float = 0.0
    """Share of the features that the learned prior goes without, drawn for every sequence, so that
    it does not learn few clips by heart."""
    decoded: int = 0
    """Predicted frames decoded a step, drawn at random; 0 decodes all of them."""
    average: float = 0.999
    """Decay of the moving average of the weights, which is what a run returns."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 500
    patience: int = 0
    """Validations without a better result before a run ends early; 0 never ends early."""
    keep: Keep = "best"
    """Which weights a run leaves: those that validated best, or the last ones. Where sequences are
    drawn without end nothing can be learned by heart, and the best score is that of an early,
    cautious model."""

    def __post_init__(self) -> None:
        """Refuse settings with which nothing could be learned."""
        _check_bounds(self, "training", _TRAINING_BOUNDS)
        if self.closed_loop and self.decoded:
            raise ConfigError("training.closed_loop needs all frames decoded: training.decoded = 0")
        if self.prior_dropout >= 1:
            raise ConfigError("training.prior_dropout is 1; the prior must be given something")
        if self.learning_rate <= 0 or self.average >= 1 or self.clip <= 0:
            raise ConfigError(
                f"training.learning_rate {self.learning_rate} and clip {self.clip} must be above "
                f"0, average {self.average} below 1"
            )


_TRAINING_BOUNDS = (
    ("steps", 1, 10**9),
    ("batch", 1, 10**6),
    ("learning_rate", 0.0, 10.0),
    ("warmup", 0, 10**9),
    ("beta", 0.0, 1e6),
    ("content_kl", 0.0, 1e6),
    ("kl_warmup", 0, 10**9),
    ("autoencoded_steps", 0, 10**9),
    ("matching", 0.0, 1e6),
    ("adversarial", 0.0, 1e6),
    ("drawing", 0.0, 1e6),
    ("motion", 0.0, 1e6),
    ("blind", 0.0, 1.0),
    ("swapped", 0.0, 1.0),
    ("prior_dropout", 0.0, 1.0),
    ("decoded", 0, 1000),
    ("average", 0.0, 1.0),
    ("clip", 0.0, 1e9),
    ("seed", 0, 2**32 - 1),
    ("validate_every", 1, 10**9),
    ("checkpoint_every", 1, 10**9),
    ("patience", 0, 10**9),
)


def _check_bounds(config: Any, table: str, bounds: Sequence[tuple[str, float, float]]) -> None:
    """Refuse a field outside its bounds; NaN is outside all of them."""
    for name, least, most in bounds:
        value = getattr(config, name)
        if not least <= value <= most:
            raise ConfigError(f"{table}.{name} is {value}; choose {least} to {most}")


@dataclass(frozen=True)
class Recipe:
    """A whole model: what it is, what it learns from and how."""

    name: str
    summary: str = ""
    """What the model is for, without a full stop."""
    license: str = "mit"
    parent: str = ""
    """The model whose weights training started from."""
    trained_on: str = ""
    """The clips it learned from, in words, with their licences."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Refuse what only together makes no sense."""
        if self.training.swapped and self.model.head != "pixels":
            raise ConfigError(
                'training.swapped is for model.head = "pixels"; a warp counts the time from the '
                "frame it starts from"
            )
        if self.data.second_view and self.data.source not in ("clips", "kth"):
            raise ConfigError(
                f'data.second_view is for data.source = "clips" and "kth"; {self.data.source} is '
                "drawn and has one view"
            )
        if self.data.second_view and not (self.data.reshaped or self.data.tint):
            raise ConfigError(
                "data.second_view needs data.reshaped or data.tint: else both views are the same"
            )


def parse_recipe(text: str, *, origin: str) -> Recipe:
    """Read a recipe from the text of a `preset.toml`.

    Raises:
        ConfigError: the text is not TOML, or does not describe a recipe; `origin` names it.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is a ValueError
        raise ConfigError(f"{origin} is not valid TOML: {error}") from None
    recipe = _build(Recipe, table, origin, "")
    assert isinstance(recipe, Recipe)
    return recipe


def format_recipe(recipe: Recipe) -> str:
    """Write a recipe as TOML that `parse_recipe` reads back to an equal recipe."""
    table = asdict(recipe)
    lines = [_format_entry(key, value) for key, value in table.items() if not _is_table(value)]
    for name, part in table.items():
        if _is_table(part):
            lines += ["", f"[{name}]", *(_format_entry(key, value) for key, value in part.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _format_entry(key: str, value: str | int | float) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{key} = {text}"


def _build(cls: type, table: Mapping[str, Any], origin: str, prefix: str) -> Any:
    """Build the dataclass `cls` from a TOML table, checking every key and type."""
    hints = get_type_hints(cls)
    for key in table:
        if key not in hints:
            raise ConfigError(f"{origin}: unknown key {prefix}{key}{_nearest(key, list(hints))}")
    missing = [f.name for f in fields(cls) if f.name not in table and _is_required(f)]
    if missing:
        raise ConfigError(f"{origin}: {prefix}{missing[0]} is missing")
    values = {
        key: _convert(hints[key], value, origin, f"{prefix}{key}") for key, value in table.items()
    }
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _is_required(f: Any) -> bool:
    return f.default is f.default_factory  # both are MISSING


def _convert(hint: Any, value: Any, origin: str, key: str) -> Any:
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        return _build(hint, value, origin, f"{key}.")
    if get_origin(hint) is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in get_args(hint)):
            choices = ", ".join(repr(choice) for choice in get_args(hint))
            raise ConfigError(f"{origin}: {key} is {value!r}; choose one of {choices}")
        return value
    if hint is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if is_dataclass(hint) or type(value) is not hint:
        wanted = "a table" if is_dataclass(hint) else f"of type {hint.__name__}"
        raise ConfigError(f"{origin}: {key} is {value!r}; it must be {wanted}")
    return value


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys: {', '.join(known)}"
