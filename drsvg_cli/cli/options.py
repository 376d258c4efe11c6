"""Every option of the command line, written once, and how their values are read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from drsvg_cli.errors import ConfigError

LARGEST = 100_000
SHORTEST_CONTEXT = 2
LARGEST_SEED = 2**32 - 1

INPUT, SAMPLING, OUTPUT = "Input", "Sampling", "Output"
"""Panels of `--help`."""
Box = tuple[int, int] | int | Literal["source"] | None
"""Of results: a box of width and height, the shorter side, the clip's own, or what suits it."""


def flag(*names: str, help: str, panel: str | None = None) -> Any:
    """Describe an option that takes no value."""
    return typer.Option(*names, help=help, metavar="", rich_help_panel=panel, show_default=False)


def _complete_model(incomplete: str) -> list[str]:
    from drsvg_cli.weights.registry import BASELINES, presets

    return [name for name in (*presets(), *BASELINES) if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A preset (`general`), a model folder, a .safetensors file, org/name[@revision], or a "
        "baseline without weights: copy, motion or motion-speeds.",
        rich_help_panel=INPUT,
        autocompletion=_complete_model,
    ),
]
Offline = Annotated[
    bool, flag("--offline", help="Download nothing: use what is cached.", panel=INPUT)
]
Context = Annotated[
    int | None,
    typer.Option(
        help="Frames the model observes; its own number by default.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Horizon = Annotated[
    str,
    typer.Option(
        "--horizon",
        "-n",
        metavar="FRAMES|2s",
        help="How far to predict: frames of the model, about 12 a second, or seconds.",
        rich_help_panel=SAMPLING,
    ),
]
Samples = Annotated[
    int,
    typer.Option("--samples", "-s", help="How many samples to draw.", rich_help_panel=SAMPLING),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Sample k depends on SEED + k alone; random by default.",
        show_default=False,
        rich_help_panel=SAMPLING,
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        help="The last observed moment: seconds, mm:ss or a percentage; the end by default.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        help="Frames a second the model sees; about its own by default: the clip's divided by a "
        "whole number.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
FitMode = Annotated[
    Literal["crop", "pad", "stretch"] | None,
    typer.Option(
        "--fit",
        help="How frames become squares, for a model that predicts squares; as trained by default.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        envvar="DRSVG_DEVICE", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=SAMPLING
    ),
]
Format = Annotated[
    Literal["mp4", "gif", "webp", "png"],
    typer.Option("--format", help="Format of the videos.", rich_help_panel=OUTPUT),
]
AnySize = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="PIXELS|WxH|source",
        help="Size of the videos: their shorter side, a box they fit in, or the clip's own; by "
        "default the clip's own, its longer side at most 1280 (640 in other formats than mp4).",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the results, CLIP_drsvg by default; or a single video, as out.mp4.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Model folder to write; NAME-model by default.", show_default=False
    ),
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
    typer.Option(
        "--data",
        help="Clips, folders, patterns, .txt lists, or a data set's folder (default: its cache).",
        show_default=False,
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="ray|ray://HOST:PORT",
        help="Let a Ray cluster do the work: this machine's, or the one at an address.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
Resume = Annotated[
    bool, flag("--resume", help="Go on where an earlier run stopped, with its settings.")
]
Held = Annotated[
    list[Path] | None,
    typer.Option(
        "--validation",
        help="Clips, folders, patterns, .txt lists to validate on (default: a share).",
        show_default=False,
    ),
]
Share = Annotated[float, typer.Option(help="Share of the clips kept for validation.")]


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


def check_range(option: str, value: float, least: float, most: float = LARGEST) -> None:
    """Refuse a value outside `[least, most]`.

    Raises:
        ConfigError: with the option's name, the value and the range.
    """
    if not least <= value <= most:
        raise ConfigError(f"{option} is {value}; choose {least} to {most}")


def read_moment(
    text: str | None, length: Callable[[], float], *, option: str = "--at"
) -> float | None:
    """Turn `12.5`, `1:30`, `1:02:03` or `50%` into seconds; `length` measures the clip's.

    Raises:
        ConfigError: the text is none of these.
    """
    if text is None:
        return None
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
        if float(match[1]) > 100:
            raise ConfigError(f"{option} is {text}; choose 0% to 100%")
        return length() * float(match[1]) / 100
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise ConfigError(
            f"{option} is {text!r}; give seconds (12.5), mm:ss (1:30) or a share (50%)"
        )
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds
