"""`drsvg predict`: what could happen next in these clips?"""

from typing import Annotated

import typer

from drsvg_cli.cli import options
from drsvg_cli.commands.console import Reporter
from drsvg_cli.config import SHORTEST_CONTEXT

EPILOG = options.examples(
    "predict clip.mp4",
    "predict clip.mp4 -n 2s --samples 10 --at 1:30 --open",
    "predict clip.mp4 -o next.mp4 --samples 1",
    "predict clips/ --compare -o results",
)
Compare = Annotated[
    bool,
    options.flag("--compare", help="Hold the last frames back and compare.", panel=options.INPUT),
]
Samples = Annotated[
    int | None,
    options.option(
        "How many samples to draw: 5 by default, and 1 for a single video.",
        "--samples",
        "-s",
        panel=options.SAMPLING,
        between=(1, options.LARGEST),
    ),
]
Overwrite = Annotated[
    bool,
    options.flag(
        "--overwrite",
        "-y",
        "--redo",
        help="Replace earlier results; of many clips, do all anew.",
        panel=options.OUTPUT,
    ),
]
Past = Annotated[
    float,
    options.option(
        "Seconds of the clip that each video begins with.",
        metavar="SECONDS",
        panel=options.OUTPUT,
        show=True,
        between=(0, 60),
    ),
]
OnlyFuture = Annotated[
    bool,
    options.flag(
        "--only-future",
        help="Write the predicted frames alone, at the model's rate.",
        panel=options.OUTPUT,
    ),
]
Mark = Annotated[
    bool,
    options.flag(
        "--mark/--no-mark",
        help="Mark predicted frames by a dot in their corner, or not.",
        panel=options.OUTPUT,
    ),
]
Grid = Annotated[
    bool,
    options.flag(
        "--grid", help="Write all samples side by side as a video, too.", panel=options.OUTPUT
    ),
]


def predict(
    clips: Annotated[list[str], typer.Argument(help="Video files, folders or patterns.")],
    model: options.Model = "general",
    offline: options.Offline = False,
    at: options.At = None,
    context: options.Context = None,
    rate: options.Rate = None,
    fit: options.FitMode = None,
    compare: Compare = False,
    shard: options.Shard = None,
    on: options.On = None,
    horizon: options.Horizon = "10",
    samples: Samples = None,
    seed: options.Seed = None,
    temperature: options.Temperature = None,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: Overwrite = False,
    past: Past = 2.0,
    only_future: OnlyFuture = False,
    mark: Mark = True,
    size: options.AnySize = None,
    format: options.Format = "mp4",
    grid: Grid = False,
    open_page: options.Open = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Go on with a clip: draw several samples of what could happen next.

    Writes a folder a clip: a video a sample (the clip's last seconds, then what was predicted), a
    page that plays them side by side (index.html), a contact sheet (sheet.png) and prediction.json.
    Of many clips, the same command again does those that are missing.
    """
    options.check_range("--context", context, SHORTEST_CONTEXT)
    asked, box = options.read_length(horizon), options.read_size(size)
    part = options.read_shard(shard)
    options.check_cluster(on)
    from drsvg_cli.commands.models import find_predictor

    # Before the seconds that torch takes.
    source = find_predictor(model, offline=offline, quiet=quiet or as_json)
    from drsvg_cli.commands.output_folder import is_video
    from drsvg_cli.commands.predict import Output, run
    from drsvg_cli.commands.session import Settings

    single = out is not None and is_video(out)
    settings = Settings(
        model=model,
        context=context,
        horizon=asked,
        samples=samples or (1 if single else 5),
        seed=seed,
        temperature=temperature,
        at=at,
        rate=rate,
        fit=fit,
        device=device,
        compare=compare,
        format=format,
        size=box,
        past=0.0 if only_future else past,
        mark=mark,
        grid=grid,
    )
    output = Output(out, overwrite, part, on, open_page, dry_run)
    reporter = Reporter(as_json=as_json, quiet=quiet)
    run(clips, settings, output, source=source, reporter=reporter)
