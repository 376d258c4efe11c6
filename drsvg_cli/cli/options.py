"""Every option of the command line, written once, and how their values are read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from drsvg_cli.config import Box
from drsvg_cli.errors import ConfigError

LARGEST = 100_000
LARGEST_SEED = 2**32 - 1

INPUT, SAMPLING, OUTPUT = "Input", "Sampling", "Output"
"""Panels of `--help`."""


def option(
    help: str,
    *names: str,
    panel: str | None = None,
    show: bool = False,
    between: tuple[float, float] | None = None,
    **more: Any,
) -> Any:
    """Describe an option.

    Args:
        help: what it is.
        names: of the parameter by default.
        panel: where `--help` lists it.
        show: tell its default, where the help does not.
        between: the least and the most that it may be.
        more: as for `typer.Option`.
    """
    if between:
        more["callback"] = _within(*between)
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=show, **more)


def _within(least: float, most: float) -> Callable[..., float | None]:
    def check(parameter: typer.CallbackParam, value: float | None) -> float | None:
        check_range(parameter.opts[0], value, least, most)
        return value

    return check


def flag(*names: str, help: str, panel: str | None = None) -> Any:
    """Describe an option that takes no value."""
    return option(help, *names, panel=panel, metavar="")


def examples(*commands: str) -> str:
    """Write what stands below the options of a command."""
    return "Examples:\n\n" + "\n\n".join(f"  $ drsvg {command}" for command in commands)


def _complete_model(incomplete: str) -> list[str]:
    from drsvg_cli.weights.registry import BASELINES, presets

    return [name for name in (*presets(), *BASELINES) if name.startswith(incomplete)]


Model = Annotated[
    str,
    option(
        "A preset (`general`), a model folder, a .safetensors file, org/name[@revision], or a "
        "baseline without weights: copy, motion or motion-speeds.",
        "--model",
        "-m",
        panel=INPUT,
        autocompletion=_complete_model,
        show=True,
    ),
]
Offline = Annotated[
    bool, flag("--offline", help="Download nothing: use what is cached.", panel=INPUT)
]
Context = Annotated[
    int | None, option("Frames the model observes; its own number by default.", panel=INPUT)
]
Horizon = Annotated[
    str,
    option(
        "How far to predict: frames of the model, about 12 a second, or seconds.",
        "--horizon",
        "-n",
        metavar="FRAMES|2s",
        panel=SAMPLING,
        show=True,
    ),
]
Samples = Annotated[
    int,
    option(
        "How many samples to draw.",
        "--samples",
        "-s",
        panel=SAMPLING,
        show=True,
        between=(1, LARGEST),
    ),
]
Seed = Annotated[
    int | None,
    option(
        "Sample k depends on SEED + k alone; random by default.",
        panel=SAMPLING,
        between=(0, LARGEST_SEED),
    ),
]
Temperature = Annotated[
    float | None,
    option(
        "How far samples stray: 0 not at all, 1 as learned; the model's own by default.",
        panel=SAMPLING,
        between=(0, 100),
    ),
]
At = Annotated[
    str | None,
    option(
        "The last observed moment: seconds, mm:ss or a percentage; the end by default.", panel=INPUT
    ),
]
Rate = Annotated[
    float | None,
    option(
        "Frames a second the model sees; about its own by default: the clip's divided by a whole "
        "number.",
        panel=INPUT,
        between=(0.01, 1000),
    ),
]
FitMode = Annotated[
    Literal["crop", "pad", "stretch"] | None,
    option(
        "How frames become squares, for a model that predicts squares; as trained by default.",
        "--fit",
        panel=INPUT,
    ),
]
Device = Annotated[
    str, option("auto, cpu, cuda, cuda:1 or mps.", envvar="DRSVG_DEVICE", panel=SAMPLING, show=True)
]
Format = Annotated[
    Literal["mp4", "gif", "webp", "png"],
    option("Format of the videos.", "--format", panel=OUTPUT, show=True),
]
AnySize = Annotated[
    str | None,
    option(
        "Size of the videos: their shorter side, a box they fit in, or the clip's own; by default "
        "the clip's own, its longer side at most 1280 (640 in other formats than mp4).",
        "--size",
        metavar="PIXELS|WxH|source",
        panel=OUTPUT,
    ),
]
Out = Annotated[
    Path | None,
    option(
        "Folder for the results, CLIP_drsvg by default; or a single video, as out.mp4.",
        "--out",
        "-o",
        panel=OUTPUT,
    ),
]
RunFolder = Annotated[
    Path | None, option("Model folder to write; NAME-model by default.", "--out", "-o")
]
Overwrite = Annotated[
    bool, flag("--overwrite", "-y", help="Replace earlier results.", panel=OUTPUT)
]
Open = Annotated[bool, flag("--open", help="Show the page in the browser when done.", panel=OUTPUT)]
Json = Annotated[
    bool, flag("--json", help="One JSON object on stdout, nothing else.", panel=OUTPUT)
]
Quiet = Annotated[bool, flag("--quiet", "-q", help="Say nothing but errors.", panel=OUTPUT)]
DryRun = Annotated[
    bool, flag("--dry-run", help="Say what would be done, and do nothing.", panel=OUTPUT)
]
Data = Annotated[
    list[str] | None,
    option(
        "Clips, folders, patterns, .txt lists, or a data set's folder (default: its cache).",
        "--data",
    ),
]
On = Annotated[
    str | None,
    option(
        "Let a Ray cluster do the work: that of RAY_ADDRESS or this machine, or one at an address.",
        metavar="ray|ray://HOST:PORT",
        panel=INPUT,
    ),
]
Shard = Annotated[
    str | None,
    option(
        "Of many clips or sequences, do a part: the third of sixteen is 3/16.",
        metavar="I/N",
        panel=INPUT,
    ),
]
Resume = Annotated[
    bool, flag("--resume", help="Go on where an earlier run stopped, with its settings.")
]
Held = Annotated[
    list[Path] | None,
    option(
        "Clips, folders, patterns, .txt lists to validate on (default: a share).", "--validation"
    ),
]
Share = Annotated[
    float, option("Share of the clips kept for validation.", show=True, between=(0.01, 0.9))
]


def read_size(text: str | None) -> Box:
    """Read `--size`: the shorter side in pixels, a box as 640x360, or the word `source`.

    Raises:
        ConfigError: the text is none of these.
    """
    if text is None or text == "source":
        return "source" if text else None
    match = re.fullmatch(r"(\d{1,6})(?:[x×](\d{1,6}))?", text)
    if match is None:
        raise ConfigError(f"--size is {text}; give pixels (720), a box (640x360) or source")
    sides = [int(side) for side in match.groups() if side]
    for side in sides:
        check_range("--size", side, 16, 4096)
    return (sides[0], sides[1]) if len(sides) > 1 else sides[0]


def read_length(text: str) -> int | float:
    """Read `--horizon`: a number of frames, or seconds, as `2s`, which come as a float.

    Raises:
        ConfigError: the text is neither.
    """
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)s", text):
        seconds = float(match[1])
        check_range("--horizon in seconds", seconds, 0.01, LARGEST)
        return seconds
    if not re.fullmatch(r"-?\d+", text):
        raise ConfigError(f"--horizon is {text!r}; give frames (10) or seconds (2s)")
    check_range("--horizon", int(text), 1)
    return int(text)


def read_shard(text: str | None) -> tuple[int, int]:
    """Read `--shard`: the third of sixteen parts is 3/16.

    Raises:
        ConfigError: the text is something else.
    """
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"--shard is {text!r}; give a part and how many there are, as 3/16")
    return int(match[1]), int(match[2])


def check_cluster(text: str | None) -> None:
    """Refuse a value of `--on` that names no cluster.

    Raises:
        ConfigError: it is something else than `ray` and `ray://HOST:PORT`.
    """
    if text not in (None, "ray") and not re.fullmatch(r"ray://\S+:\d+", text or ""):
        raise ConfigError(
            f"--on is {text!r}; give ray, or the address ray://HOST:PORT of a cluster"
        )


def check_range(option: str, value: float | None, least: float, most: float = LARGEST) -> None:
    """Refuse a value outside `[least, most]`, where one is given.

    Raises:
        ConfigError: with the option's name, the value and the range.
    """
    if value is not None and not least <= value <= most:
        raise ConfigError(f"{option} is {value}; choose {least} to {most}")
