"""`drsvg evaluate`: measure models on the same sequences."""

from pathlib import Path
from typing import Annotated

import typer

from drsvg_cli.cli import options
from drsvg_cli.errors import ConfigError

EPILOG = options.examples(
    "evaluate general --data ./held-back",
    "evaluate general garden-model --data ./held-back --horizon 30",
    "evaluate moving-mnist moving-mnist-svg-lp",
    "evaluate sprites --swap",
)


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODELS...", help="Presets, baselines, folders, files or org/name[@revision]."
        ),
    ],
    data: options.Data = None,
    context: options.Context = None,
    horizon: Annotated[
        int | None, options.option("Frames to predict; the source's by default.", "--horizon", "-n")
    ] = None,
    swap: Annotated[
        bool, options.flag("--swap", help="Measure swaps of pairs of sequences, not predictions.")
    ] = False,
    samples: Annotated[
        int | None, options.option("10; of a data set 100; 1 with --swap.", "--samples", "-s")
    ] = None,
    sequences: Annotated[
        int | None, options.option("How many at most; the source's own by default.")
    ] = None,
    size: Annotated[
        int | None, options.option("Pixels of the shorter side of whole frames; 128 by default.")
    ] = None,
    seed: Annotated[int, options.option("Sample k depends on SEED + k alone.", show=True)] = 0,
    temperature: Annotated[
        float | None, options.option("1 is as learned; the models' own by default, 1 with --swap.")
    ] = None,
    offline: options.Offline = False,
    out: Annotated[
        Path | None, options.option("Folder: `evaluation` or `swaps` by default.", "--out", "-o")
    ] = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        bool, options.flag("--resume", help="Go on where the same evaluation stopped.")
    ] = False,
    device: options.Device = "auto",
    on: options.On = None,
    shard: options.Shard = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure models beside copying the last frame and beside measured motion that goes on.

    All predict the same sequences. PSNR, LPIPS and the energy score of the samples, paired
    differences with 95 % intervals over clips, and whether the latents are used; of a data set also
    SSIM, and whether content stays. Writes tables, curves (Fig. 3) and examples (Fig. 4). Ctrl-C
    writes what has been measured; --resume goes on.

    With --swap, sequences are swapped in pairs instead: whether the content of one and the pose of
    the other show, where that is known, how they move, and how sharp the frames are.
    """
    counts = {"context": context, "horizon": horizon, "sequences": sequences, "samples": samples}
    for name, value in counts.items():
        options.check_range(f"--{name}", value, 1, 10_000)
    options.check_range("--seed", seed, 0, options.LARGEST_SEED - 10_000)
    options.check_range("--temperature", temperature, 0, 100)
    options.check_range("--size", size, 32, 512)
    options.check_cluster(on)
    for name, given in (("size", size), ("on", on), ("resume", resume), ("shard", shard)):
        if swap and given:
            raise ConfigError(f"--{name} is for predictions; leave it out with --swap")
    from drsvg_cli.commands.models import find_predictor

    sources = [find_predictor(each, offline=offline, quiet=quiet or as_json) for each in models]
    from drsvg_cli.commands import evaluate as predictions
    from drsvg_cli.commands import evaluate_swap as swaps
    from drsvg_cli.commands.console import Reporter
    from drsvg_cli.commands.evaluation_setup import Request

    work = swaps if swap else predictions
    work.run(
        Request(
            models=list(zip(models, sources, strict=True)),
            data=data or [],
            **counts,
            size=size,
            seed=seed,
            temperature=temperature,
            out=out or Path("swaps" if swap else "evaluation"),
            overwrite=overwrite,
            resume=resume,
            device=device,
            on=on,
            shard=options.read_shard(shard),
        ),
        Reporter(as_json=as_json, quiet=quiet),
    )
