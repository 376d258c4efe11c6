"""The work behind `drsvg evaluate --swap`: swaps of pairs of sequences, read and measured."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.evaluation_setup import Request, gather, load, reader
from drsvg_cli.commands.output_folder import check_free, filled
from drsvg_cli.commands.swap_report import RESULT_FILES, STILL, TRUTH, SwapFindings, tables, write
from drsvg_cli.commands.tables import show
from drsvg_cli.device import explained_memory, keep_memory, prepare
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.evaluation.classifier import Known, Reading
from drsvg_cli.evaluation.disentanglement import partners, swap_all


@explained_memory("choose fewer --samples or --sequences")
def run(request: Request, *, as_json: bool, quiet: bool) -> None:
    """Swap the test sequences in pairs with every model, and leave a folder of results.

    Raises:
        DrsvgError: the models cannot be compared, or there is nothing to measure them on.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    check_free(request.out, overwrite=request.overwrite, names=RESULT_FILES)
    keep_memory()  # every batch wants as much
    device = prepare(request.device)
    subjects = load(request, device)
    networks = {each.name: each.network for each in subjects if each.network is not None}
    if len(networks) < len(subjects):
        raise ConfigError("--swap measures models that draw squares of their own size; name these")
    recipe = subjects[0].recipe
    request = replace(request, horizon=request.horizon or recipe.data.horizon)
    task = gather(request, recipe, reporter, whole=False)
    longest = max(len(clip) for clip in task.clips)
    chosen = [number for number, clip in enumerate(task.clips) if len(clip) == longest]
    if len(chosen) < 2:
        raise ConfigError("a swap takes two sequences of the same length, or more")
    stacked = np.stack([task.clips[number] for number in chosen])[..., : task.channels]
    frames = torch.from_numpy(np.ascontiguousarray(stacked)).movedim(-1, 2)
    groups = [task.groups[number] for number in chosen]
    known = reader(recipe, task, device)
    known = known if known and known.poses else None
    seeds = [request.seed + number for number in range(1, (request.samples or 1) + 1)]
    temperature = 1.0 if request.temperature is None else request.temperature
    swaps = {}
    with reporter.progress() as progress:
        bar = progress.add_task("Swapping", total=len(networks) * len(frames), note="")
        for name, network in networks.items():
            swaps[name] = swap_all(
                network,
                frames,
                seeds=seeds,
                temperature=temperature,
                known=known,
                tick=lambda count: progress.advance(bar, count),
            )
            if not bool(torch.isfinite(swaps[name]["swap"].sharpness).all()):
                raise WeightsError(f"{name} draws no numbers; its weights are broken")
    bounds = {} if known is None else _bounds(frames.to(device), known)
    found = SwapFindings(subjects, task, groups, frames, seeds, temperature, swaps, bounds)
    with filled(request.out, overwrite=request.overwrite) as part:
        record = write(found, part)
    for table in tables(found):
        show(table, reporter)
    reporter.result(record, one_line(f"{request.out}: {', '.join(record['files'])}"))


def _bounds(frames: Tensor, known: Known) -> dict[str, Reading]:
    """Read what needs no model: A standing still while B moves, and A as it is."""
    own, others = torch.arange(len(frames)), partners(len(frames))
    still = frames[:, None, :1].expand(-1, 1, frames.shape[1] - 1, -1, -1, -1)
    return {
        STILL: known.judge(still, content=own, poses=others),
        TRUTH: known.judge(frames[:, None, 1:], content=own, poses=own),
    }
