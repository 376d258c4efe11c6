"""`drsvg finetune`: teach a model the user's own clips."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options

EPILOG = options.examples(
    "finetune ./myvideos",
    "finetune ./myvideos -o garden --steps 4000 --validation ./held-back",
    "finetune ./myvideos -o garden --resume",
)


def finetune(
    clips: Annotated[list[str], typer.Argument(help="Folders or video files to learn from.")],
    model: options.Model = "general",
    offline: options.Offline = False,
    out: options.RunFolder = None,
    steps: Annotated[
        int, options.option("Steps of training at most.", show=True, between=(1, 10_000_000))
    ] = 2000,
    batch: Annotated[int, options.option("Sequences a step.", show=True, between=(2, 4096))] = 16,
    learning_rate: Annotated[
        float, options.option("At its highest.", show=True, between=(1e-8, 1))
    ] = 3e-4,
    patience: Annotated[
        int,
        options.option(
            "Validations without improvement before it stops; 0 never stops.",
            show=True,
            between=(0, options.LARGEST),
        ),
    ] = 8,
    validation: options.Held = None,
    share: options.Share = 0.15,
    rate: Annotated[
        float | None,
        options.option("Of pictures in a folder: how many are a second.", between=(0.01, 1000)),
    ] = None,
    seed: Annotated[
        int,
        options.option(
            "Of all that is drawn at random.", show=True, between=(0, options.LARGEST_SEED)
        ),
    ] = 0,
    resume: options.Resume = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fine-tune a model on your own clips.

    Writes a model folder to use with `drsvg predict --model FOLDER`. Ctrl-C saves and stops;
    --resume goes on.
    """
    from drsvg_cli.commands.models import find

    source = None if resume else find(model, offline=offline, quiet=quiet or as_json)
    from drsvg_cli.commands import train

    changes = {"steps": steps, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    often = max(1, min(100, steps // 5))
    changes |= {"validate_every": often, "checkpoint_every": often}
    train.run(
        train.Request(
            clips=clips,
            held=validation or (),
            out=out or Path(f"{_title(Path(clips[0]).resolve())}-model"),
            source=source,
            start=source,
            base_model=model,
            changes=changes,
            own=True,
            share=share,
            patience=patience,
            resume=resume,
            device=device,
            picture_rate=rate,
        ),
        as_json=as_json,
        quiet=quiet,
    )


def _title(path: Path) -> str:
    """Name a model after its first clip, its folder of clips, or the folder of a pattern."""
    if path.is_dir():
        return path.name
    return path.stem if path.exists() else path.parent.name
