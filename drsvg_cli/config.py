"""Recipes: frozen dataclasses that say what a model is, what it learns from and how.

A value that is out of bounds is a `ConfigError`. `recipe_file` reads and writes them.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

from drsvg_cli.errors import ConfigError

Fit = Literal["crop", "pad", "stretch"]
Source = Literal["clips", "moving-mnist", "moving-mnist-deterministic", "kth", "sprites"]
Box = tuple[int, int] | int | Literal["source"] | None
"""Of results: a box of width and height, the shorter side, the clip's own, or what suits it."""
SHORTEST_CONTEXT = 2
"""Frames that are observed at least: one does not move."""
_REPO_PART = r"[A-Za-z0-9](?:(?:[\w.]|-(?!-)){0,94}\w)?"
REPO_PATTERN = rf"{_REPO_PART}/{_REPO_PART}(?<!\.git)"
"""The name of a Hub repo, `org/name`, as the Hub allows them."""


class Range(NamedTuple):
    """The bounds of a number, both allowed; NaN is outside of all of them."""

    least: float
    most: float


class Only(NamedTuple):
    """A key is read only where another one has one of these values."""

    key: str
    """As `data.source`."""
    values: tuple[str, ...]


@dataclass(frozen=True)
class ModelConfig:
    """What a DR-SVG network is made of (Section 4.1).

    The baselines are configurations: `content_dim = 0` is SVG-LP, with `prior = "fixed"` SVG-FP.
    """

    kind: Literal["drsvg"] = "drsvg"
    backbone: Literal["dcgan", "vgg"] = "dcgan"
    size: int = 64
    """Height and width of a frame in pixels: 32, 64, 128 or 256."""
    channels: Literal[1, 3] = 3
    width: Annotated[int, Range(2, 512)] = 64
    """Channels of the first convolution; the deeper ones are multiples of it."""
    feature_dim: Annotated[int, Range(2, 4096)] = 128
    """Size of the frame features h and of the predictor's output g."""
    content_dim: Annotated[int, Range(0, 4096)] = 64
    pose_dim: Annotated[int, Range(1, 4096)] = 8
    prior: Literal["learned", "fixed"] = "learned"
    hidden: Annotated[int, Range(1, 8192)] = 256
    """Cells of a layer of every LSTM."""
    predictor_shortcut: bool = False
    """Whether a linear layer leads past the predictor's LSTM, from the features to its output."""

    def __post_init__(self) -> None:
        """Refuse what is out of bounds."""
        if self.size not in (32, 64, 128, 256):
            raise ConfigError(f"model.size is {self.size}; choose 32, 64, 128 or 256")
        check_bounds(self, "model")

    @property
    def sight(self) -> str:
        """Say what frames the model sees."""
        return f"{self.size}×{self.size} {'colour' if self.channels == 3 else 'gray'}"


@dataclass(frozen=True)
class MotionConfig:
    """What a motion network is made of: DR-SVG's latents as maps, over whole frames."""

    kind: Literal["motion"] = "motion"
    content_dim: Annotated[int, Range(1, 256)] = 8
    """Maps of the content latent."""
    pose_dim: Annotated[int, Range(1, 256)] = 4
    """Maps of the pose latent."""
    whole_dim: Annotated[int, Range(1, 256)] = 4
    """Numbers of the whole frame in either latent."""
    width: Annotated[int, Range(4, 512)] = 48
    """Channels of the frame features and of the predictor's state."""

    def __post_init__(self) -> None:
        """Refuse what is out of bounds."""
        check_bounds(self, "model")

    @property
    def sight(self) -> str:
        """Say what frames the model sees."""
        return "whole frames"


AnyModel = ModelConfig | MotionConfig
MODEL_KINDS: dict[str, type[ModelConfig] | type[MotionConfig]] = {
    "drsvg": ModelConfig,
    "motion": MotionConfig,
}
"""What `model.kind` stands for."""


@dataclass(frozen=True)
class DataConfig:
    """What the model is trained on and how a clip is brought to its resolution."""

    source: Source = "clips"
    """A folder of any clips, or a data set that drsvg knows by name."""
    fit: Annotated[Fit, Only("model.kind", ("drsvg",))] = "crop"
    frame_rate: Annotated[float, Range(0.01, 1000)] = 12.0
    """Frames a second, about: a clip is thinned to its own rate divided by a whole number."""
    context: Annotated[int, Range(1, 1000)] = 5
    """Observed frames."""
    horizon: Annotated[int, Range(1, 1000)] = 10
    """Predicted frames in training."""
    min_context: Annotated[int, Range(1, 1000), Only("model.kind", ("drsvg",))] = 2
    """Training draws the number of observed frames from here to `context` for every step."""

    def __post_init__(self) -> None:
        """Refuse what is out of bounds."""
        check_bounds(self, "data")
        if self.min_context > self.context:
            raise ConfigError(f"data.min_context is {self.min_context}; choose 1 to {self.context}")


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are learned."""

    steps: Annotated[int, Range(1, 10**9)] = 10_000
    batch: Annotated[int, Range(1, 10**6)] = 32
    """Sequences a step."""
    learning_rate: Annotated[float, Range(1e-12, 10)] = 0.002
    """The highest one: it rises over the first steps and then falls along half a cosine."""
    beta: Annotated[float, Range(0, 1e6)] = 1e-4
    """Weight of both KL terms of Eq. 4, against the mean squared error of a pixel."""
    adversarial: Annotated[float, Range(0, 1e6)] = 1e-3
    """Weight of Eq. 6 against the mean squared error of a pixel."""
    shuffled_features: Annotated[float, Range(0, 1), Only("model.kind", ("drsvg",))] = 0.0
    """Share of steps whose frame predictor is given the features of any frames of the clip, in
    whatever pose, as a swap starts with."""
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    validate_every: Annotated[int, Range(1, 10**9)] = 500
    checkpoint_every: Annotated[int, Range(1, 10**9)] = 500

    def __post_init__(self) -> None:
        """Refuse what is out of bounds."""
        check_bounds(self, "training")


@dataclass(frozen=True)
class Recipe:
    """A whole model: what it is, what it learns from and how."""

    name: str
    summary: str = ""
    """What the model is for, without a full stop."""
    license: str = "mit"
    base_model: str = ""
    """The model whose weights training started from."""
    training_data: str = ""
    """The clips it learned from, in words, with their licences."""
    model: AnyModel = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def drsvg(self) -> ModelConfig:
        """The paper's network.

        Raises:
            ConfigError: the model is of another kind.
        """
        if isinstance(self.model, ModelConfig):
            return self.model
        raise ConfigError(f"{self.name} is a model of whole frames; choose one of the paper's")


_FREE = {"training.validate_every", "training.checkpoint_every"}
"""Keys that may change between a run and its resumption."""


def training_facts(recipe: Recipe) -> dict[str, Any]:
    """Return all that decides what a run learns, as `data.context`: its value."""
    unread = {key for key, _ in unread_keys(recipe)} | _FREE
    tables = {name: asdict(getattr(recipe, name)) for name in ("model", "data", "training")}
    return {
        key: value
        for name, table in tables.items()
        for each, value in table.items()
        if (key := f"{name}.{each}") not in unread
    }


def digest(recipe: Recipe) -> str:
    """Return the SHA-256 of `training_facts`, in hexadecimal."""
    return hashlib.sha256(json.dumps(training_facts(recipe)).encode()).hexdigest()


def unread_keys(recipe: Recipe) -> list[tuple[str, Only]]:
    """List the keys that the recipe's model or source does not read, and when they are read."""
    return [
        (f"{part}.{name}", mark)
        for part in ("model", "data", "training")
        for name, mark in _marks(type(getattr(recipe, part)))
        if isinstance(mark, Only) and _value(recipe, mark.key) not in mark.values
    ]


def _value(recipe: Recipe, key: str) -> Any:
    part, _, name = key.partition(".")
    return getattr(getattr(recipe, part), name)


def _marks(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the annotations of a dataclass's fields: bounds and conditions."""
    for name, hint in get_type_hints(cls, include_extras=True).items():
        for mark in getattr(hint, "__metadata__", ()):
            yield name, mark


def check_bounds(config: Any, table: str) -> None:
    """Refuse a field of a dataclass that is outside its `Range`.

    Raises:
        ConfigError: it is; `table` is the name of the dataclass in a recipe.
    """
    for name, mark in _marks(type(config)):
        value = getattr(config, name)
        if isinstance(mark, Range) and not mark.least <= value <= mark.most:
            raise ConfigError(f"{table}.{name} is {value}; choose {mark.least} to {mark.most}")
