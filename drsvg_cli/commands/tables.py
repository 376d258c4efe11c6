"""Tables of measured values: a mean with its interval as text, as JSON, as Markdown, on screen."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table as RichTable
from rich.text import Text

from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.commands.output_folder import write_picture
from drsvg_cli.evaluation.latents import LatentUse
from drsvg_cli.evaluation.scores import Estimate
from drsvg_cli.frames import Frames

TABLE_FILE = "table.md"


class Table(NamedTuple):
    """Heads, and rows of as many cells."""

    heads: list[str]
    rows: list[list[str]]


def shown(estimate: Estimate, digits: int) -> str:
    """Write a mean with the half-width of its interval; nothing where there is none to measure."""
    if math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):  # a single clip
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} ± {(estimate.high - estimate.low) / 2:.{digits}f}"


def percent(estimate: Estimate) -> str:
    """Write a share with its interval."""
    return f"{shown(Estimate(*(100 * each for each in estimate)), 1)} %"


def difference(estimate: Estimate, digits: int) -> str:
    """Write a difference, with its sign, and its interval."""
    if math.isnan(estimate.value):
        return ""
    value, low, high = (f"{each:+.{digits}f}" for each in estimate)
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def triple(estimate: Estimate) -> list[float | None]:
    """Turn an estimate into JSON, which has no NaN: the value and its interval."""
    return [None if math.isnan(each) else each for each in estimate]


def latent_table(use: Mapping[str, Mapping[str, LatentUse]]) -> Table:
    """Lay out whether the latents of models are alive: what they cost and what they change."""
    heads = ["latents", "KL (nats a frame)", "zeros change frames by", "another clip's by"]
    found = [
        (f"{name}, {key}", *each) for name, latents in use.items() for key, each in latents.items()
    ]
    return Table(
        heads,
        [[name, f"{kl:.3f}", *(f"{n:.2f} levels" for n in rest)] for name, kl, *rest in found],
    )


def markdown(table: Table) -> str:
    """Write a table as Markdown."""
    lines: Sequence[Sequence[str]] = [table.heads, ["---"] * len(table.heads), *table.rows]
    escaped = ([cell.replace("|", r"\|") for cell in cells] for cells in lines)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


def show(table: Table, reporter: Reporter) -> None:
    """Print a table."""
    drawn = RichTable(*table.heads, box=None)
    for row in table.rows:  # as text: the name of a model is no markup
        drawn.add_row(*(Text(one_line(cell)) for cell in row))
    reporter.table(drawn)


def write_results(
    folder: Path, tables: Sequence[Table], pictures: Mapping[str, Frames], reporter: Reporter
) -> None:
    """Write tables and pictures into a folder, these under their names, and show the tables."""
    (folder / TABLE_FILE).write_text("\n".join(map(markdown, tables)), encoding="utf-8")
    for name, picture in pictures.items():
        write_picture(folder / name, picture)
    for table in tables:
        show(table, reporter)
