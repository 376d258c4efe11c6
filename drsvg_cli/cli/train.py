"""`drsvg train`: learn a preset's model from random weights."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options

EPILOG = options.examples(
    "train general --data ./clips --data ./more-clips -o my-general",
    "train general --data ./clips --validation ./held-back -o my-general",
    "train general --data ./clips -o my-general --resume",
    "train moving-mnist -o my-mnist",
    "train moving-mnist --start my-mnist --steps 5000 -o my-mnist-2",
)


def train(
    recipe: Annotated[str, typer.Argument(help="A preset or a folder with a preset.toml.")],
    data: options.Data = None,
    out: options.RunFolder = None,
    steps: Annotated[
        int | None,
        options.option("Steps of training; the recipe's by default.", between=(1, 100_000_000)),
    ] = None,
    start: Annotated[
        str | None,
        options.option(
            "Model of the same network to start from; random weights by default.", metavar="MODEL"
        ),
    ] = None,
    offline: options.Offline = False,
    validation: options.Held = None,
    share: options.Share = 0.15,
    resume: options.Resume = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model by a preset's recipe.

    Writes a model folder to use with `drsvg predict --model FOLDER`. Ctrl-C saves and stops;
    --resume goes on.
    """
    from drsvg_cli.weights.model_folder import read_recipe
    from drsvg_cli.weights.registry import describe

    source = None if resume else describe(recipe, offline=offline)
    # What a recipe of others says of its clips is not true of these; what the user wrote is.
    own = source not in (None, Path(recipe)) and read_recipe(source).data.source == "clips"
    begin = None
    if start is not None and not resume:
        from drsvg_cli.commands.models import find

        begin = find(start, offline=offline, quiet=quiet or as_json)
    from drsvg_cli.commands import train as work

    work.run(
        work.Request(
            clips=data or [],
            held=validation or (),
            out=out or Path(f"{Path(recipe).resolve().name}-model"),
            source=source,
            start=begin,
            base_model=start or "",
            changes={} if steps is None else {"steps": steps},
            own=own,
            share=share,
            resume=resume,
            device=device,
        ),
        as_json=as_json,
        quiet=quiet,
    )
