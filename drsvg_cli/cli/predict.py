"""`drsvg predict`: what could happen next in these clips?"""

from typing import Annotated

import typer

from drsvg_cli.cli import options

EPILOG = """Examples:

  $ drsvg predict clip.mp4

  $ drsvg predict clip.mp4 -n 20 --samples 10 --at 1:30 --format gif

  $ drsvg predict clips/ --compare --json
"""


def predict(
    clips: Annotated[list[str], typer.Argument(help="Video files, folders or patterns.")],
    model: options.Model = "general",
    offline: options.Offline = False,
    context: options.Context = None,
    horizon: options.Horizon = 10,
    samples: options.Samples = 5,
    seed: options.Seed = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="How far samples stray: 0 not at all, 1 as learned; the model's own by default.",
            show_default=False,
        ),
    ] = None,
    at: options.At = None,
    rate: options.Rate = None,
    fit: options.FitMode = None,
    device: options.Device = "auto",
    compare: Annotated[
        bool, typer.Option("--compare", help="Hold the last frames back and compare with them.")
    ] = False,
    format: options.Format = "mp4",
    size: options.AnySize = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    dry_run: options.DryRun = False,
) -> None:
    """Draw several futures of each clip.

    Writes a folder a clip: every sample, all of them side by side (grid), a contact sheet, a map
    of where they disagree, all of it as a page (index.html), and prediction.json.
    """
    options.check_range("--horizon", horizon, 1)
    options.check_range("--samples", samples, 1)
    if temperature is not None:
        options.check_range("--temperature", temperature, 0, 100)
    if context is not None:
        options.check_range("--context", context, options.SHORTEST_CONTEXT)
    if seed is not None:
        options.check_range("--seed", seed, 0, options.LARGEST_SEED)
    if rate is not None:
        options.check_range("--rate", rate, 0.01, 1000)
    from drsvg_cli.commands.models import find_predictor

    # Before the seconds that torch takes.
    source = find_predictor(model, offline=offline, quiet=quiet or as_json)
    from drsvg_cli.commands.clip_input import Settings
    from drsvg_cli.commands.predict import run

    settings = Settings(
        model=model,
        context=context,
        horizon=horizon,
        samples=samples,
        seed=seed,
        temperature=temperature,
        at=at,
        rate=rate,
        fit=fit,
        device=device,
        compare=compare,
        format=format,
        size=options.read_size(size),
    )
    run(
        clips,
        settings,
        out,
        source=source,
        overwrite=overwrite,
        as_json=as_json,
        quiet=quiet,
        dry_run=dry_run,
    )
