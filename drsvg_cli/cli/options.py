"""Every option of the command line, written once, and how their values are read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from drsvg_cli.errors import ConfigError

LARGEST = 100_000
SHORTEST_CONTEXT = 2
LARGEST_SEED = 2**32 - 1

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A preset (`general`), a model folder, a .safetensors file or org/name[@revision].",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing: use what is cached.")]
Context = Annotated[
    int | None,
    typer.Option(help="Observed frames; the model's own number by default.", show_default=False),
]
Horizon = Annotated[int, typer.Option("--horizon", "-n", help="Frames to predict.")]
Samples = Annotated[int, typer.Option("--samples", "-s", help="How many futures to draw.")]
Seed = Annotated[
    int | None,
    typer.Option(help="Sample k depends on SEED + k alone; random by default.", show_default=False),
]
At = Annotated[
    str | None,
    typer.Option(
        help="The last observed moment: seconds, mm:ss or a percentage; the end by default.",
        show_default=False,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        help="Frames a second, exactly; by default about the model's: the clip's own rate divided "
        "by a whole number.",
        show_default=False,
    ),
]
FitMode = Annotated[
    Literal["crop", "pad", "stretch"] | None,
    typer.Option(
        "--fit", help="How a clip becomes a square; as trained by default.", show_default=False
    ),
]
Device = Annotated[str, typer.Option(envvar="DRSVG_DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")]
Format = Annotated[
    Literal["mp4", "gif", "webp", "png"], typer.Option("--format", help="Of the clips written.")
]
Size = Annotated[int, typer.Option(help="Height and width of the frames written, in pixels.")]
AnySize = Annotated[
    str | None,
    typer.Option(
        metavar="PIXELS|source",
        help="Height and width of the frames written, 256 by default, or the longer side of whole "
        "frames, at most 1280 by default; source: the clip's own size.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Folder for the results; CLIP_drsvg by default.", show_default=False
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Model folder to write; NAME-model by default.", show_default=False
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", "-y", help="Replace earlier results.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="Clips, folders of clips, or the folder of a data set; its cache by default.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where an earlier run stopped, with its settings.")
]
Held = Annotated[
    list[Path] | None,
    typer.Option(
        "--validation",
        help="Clips or folders to validate on; a share of the clips by default.",
        show_default=False,
    ),
]
Share = Annotated[float, typer.Option(help="Share of the clips kept for validation.")]


def read_size(text: str | None) -> int | Literal["source"] | None:
    """Read `--size`: pixels, or the word for the clip's own size; none if it is left out.

    Raises:
        ConfigError: the text is neither.
    """
    if text is None:
        return None
    if text == "source":
        return "source"
    try:
        size = int(text)
    except ValueError:
        raise ConfigError(f"--size is {text}; choose 16 to 4096, or source") from None
    check_range("--size", size, 16, 4096)
    return size


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
