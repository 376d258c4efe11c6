"""`drsvg surprise`: what nobody expected in these clips?"""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options
from drsvg_cli.commands.console import Reporter

EPILOG = options.examples(
    "surprise camera.mp4 --open",
    "surprise camera.mp4 --normal yesterday/ --once-in 8",
    "surprise clips/ --model garden-model -o watched --json",
)


def surprise(
    clips: Annotated[list[str], typer.Argument(help="Video files, folders or patterns.")],
    model: options.Model = "general",
    offline: options.Offline = False,
    normal: Annotated[
        list[str] | None,
        options.option(
            "Clips of the same camera in which all is as usual; may be given several times. By "
            "default the quiet parts of each clip itself.",
            panel=options.INPUT,
        ),
    ] = None,
    rate: options.Rate = None,
    every: Annotated[
        float,
        options.option(
            "From one moment that is predicted from to the next.",
            metavar="SECONDS",
            panel=options.SAMPLING,
            show=True,
            between=(0.01, 3600),
        ),
    ] = 0.5,
    horizon: options.Horizon = "0.5s",
    samples: options.Samples = 8,
    once_in: Annotated[
        float,
        options.option(
            "An event is what is expected less than once in so many hours.",
            metavar="HOURS",
            panel=options.SAMPLING,
            show=True,
            between=(0.001, 8000),
        ),
    ] = 1.0,
    seed: Annotated[
        int,
        options.option(
            "Sample k depends on SEED + k alone.",
            panel=options.SAMPLING,
            show=True,
            between=(0, options.LARGEST_SEED),
        ),
    ] = 0,
    device: options.Device = "auto",
    out: Annotated[
        Path | None,
        options.option(
            "Folder for the results, CLIP_drsvg by default.", "--out", "-o", panel=options.OUTPUT
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    open_page: options.Open = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find what nobody expected: moments of a clip that none of the predictions held possible.

    Predicts half a second from every moment, measures how far what happened lies outside of the
    samples, and says how rarely that is expected. Writes a folder a clip: a page (index.html), the
    curve over time, a table of events, a short clip of each and a video with its heat.
    """
    options.check_range("--samples", samples, 1, 1000)
    asked = options.read_length(horizon)
    from drsvg_cli.commands.models import find_predictor

    # Before the seconds that torch takes.
    source = find_predictor(model, offline=offline, quiet=quiet or as_json)
    from drsvg_cli.commands.session import Settings
    from drsvg_cli.commands.surprise import Watch, run

    settings = Settings(model, asked, samples, seed, rate=rate, device=device)
    watch = Watch(every, once_in, normal or [], out, overwrite, open_page)
    run(clips, settings, watch, source=source, reporter=Reporter(as_json=as_json, quiet=quiet))
