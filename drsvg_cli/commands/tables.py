"""Tables of measured values: a mean with its interval as text, as JSON, as Markdown, on screen."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table as RichTable
from rich.text import Text

from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.evaluation.prediction import Estimate


class Table(NamedTuple):
    """Heads, and rows of as many cells."""

    heads: list[str]
    rows: list[list[str]]


def shown(estimate: Estimate, digits: int) -> str:
    """Write a mean with its interval, if there is one."""
    if math.isnan(estimate.interval):  # a single sequence
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} ± {estimate.interval:.{digits}f}"


def percent(estimate: Estimate) -> str:
    """Write a share with its interval."""
    return f"{shown(Estimate(100 * estimate.value, 100 * estimate.interval), 1)} %"


def pair(estimate: Estimate) -> list[float | None]:
    """Turn an estimate into JSON, which has no NaN for the interval of a single sequence."""
    return [estimate.value, None if math.isnan(estimate.interval) else estimate.interval]


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
