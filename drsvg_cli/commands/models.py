"""The work behind `drsvg models`, and the download that any command may begin with.

Imports torch only where a model is loaded, and the Hub's library only where the Hub is asked: a
model that cannot be had is said so at once.
"""

import re
import shlex
from pathlib import Path
from typing import Any

from rich.filesize import decimal
from rich.table import Column, Table
from rich.text import Text

from drsvg_cli import __version__
from drsvg_cli.commands.console import Reporter, one_line
from drsvg_cli.config import REPO_PATTERN, Recipe
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.storage import read_own, write_atomically
from drsvg_cli.weights.model_folder import (
    CARD_FILE,
    PICTURE_FILE,
    check_endpoint,
    read_recipe,
    weights_path,
)
from drsvg_cli.weights.registry import BASELINES, WHOLE, describe, presets, resolve

LARGEST_FILE = 2 * 2**30
"""Bytes of a file that is pushed: twice the weights of the largest model."""


def find_predictor(model: str, *, offline: bool, quiet: bool) -> Path | None:
    """Return the source of a model as `find` does, and none for a baseline, which has no files."""
    return None if model in BASELINES else find(model, offline=offline, quiet=quiet)


def find(model: str, *, offline: bool, quiet: bool) -> Path:
    """Return the source of a model, downloaded with a progress bar if need be.

    Raises:
        WeightsError: there is no such model, or it cannot be downloaded.
    """
    with Reporter(as_json=False, quiet=quiet).downloads() as tick:
        return resolve(model, offline=offline, tick=tick)


def show_all(*, as_json: bool, quiet: bool) -> None:
    """List what is embedded and what is cached."""
    check_endpoint()
    from drsvg_cli.weights.hub import cached_models

    reporter = Reporter(as_json=as_json, quiet=quiet)
    records = [_record(name, folder) for name, folder in presets().items()]
    for address, folder in cached_models():
        try:
            records.append(_record(str(address), folder))
        except (ConfigError, WeightsError):
            continue  # a repo of somebody else's with files of the same names
    table = Table(box=None)
    for title in ("model", "where", "weights", "frames", "licence"):
        table.add_column(title, no_wrap=True)
    # Last: on a narrow terminal this column gives way, and is folded.
    table.add_column("trained on", overflow="fold")
    for each in records:
        cells = (each["model"], each["where"], _weights(each), each["sees"], each["license"])
        table.add_row(*(Text(one_line(cell)) for cell in (*cells, _trained_on(each))))
    reporter.table(table)
    if as_json:
        reporter.result({"models": records})


def show(model: str, *, offline: bool, as_json: bool, quiet: bool) -> None:
    """Say what one model is.

    Raises:
        WeightsError: there is no such model, or its description cannot be downloaded.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    record = _record(model, describe(model, offline=offline))
    table = Table("", Column(overflow="fold"), show_header=False, box=None)
    for label, value in (
        ("model", record["model"]),
        ("", record["summary"]),
        ("where", f"{record['where']}, {record['source']}"),
        ("weights", _weights(record)),
        ("frames", f"{record['sees']}, about {record['rate']:g} a second"),
        ("time", f"observes {record['context']}, trained to predict {record['horizon']}"),
        ("trained on", _trained_on(record)),
        ("licence", record["license"]),
    ):
        if value:
            table.add_row(label, Text(one_line(value)))
    reporter.table(table)
    if as_json:
        reporter.result(record)


def _record(model: str, source: Path) -> dict[str, Any]:
    recipe, weights = read_recipe(source), weights_path(source)
    commit = source.name if re.fullmatch(r"[0-9a-f]{40}", source.name) else None
    whole, where = weights.is_file(), "cached" if commit else "folder"
    if not whole and commit:
        where = "on the Hub"
    elif source == presets().get(model):
        where = "embedded" if whole else "recipe"
    elif source.is_file():
        where = "file"
    return {
        "model": model,
        "summary": recipe.summary,
        "where": where,
        "source": str(source),
        "commit": commit,
        "bytes": weights.stat().st_size if whole else None,
        "kind": recipe.model.kind,
        "sees": recipe.model.sight,
        "context": recipe.data.context,
        "horizon": recipe.data.horizon,
        "rate": recipe.data.frame_rate,
        "trained_on": recipe.training_data,
        "license": recipe.license,
    }


def _weights(record: dict[str, Any]) -> str:
    if record["bytes"] is not None:
        return decimal(record["bytes"])
    return "not downloaded" if record["where"] == "on the Hub" else "none"


def _trained_on(record: dict[str, Any]) -> str:
    if record["where"] == "recipe":
        return f"a recipe alone: drsvg train {record['model']}"
    return record["trained_on"] or "not said"


def pull(model: str, *, offline: bool, as_json: bool, quiet: bool) -> None:
    """Download a model and make sure that it loads.

    Raises:
        WeightsError: there is no such model, it cannot be downloaded, or it is damaged.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    source = find(model, offline=offline, quiet=quiet or as_json)
    _load(source)
    record = _record(model, source)
    reporter.result(
        record,
        f"{model}: {_weights(record)} in {source}",
        f"drsvg predict CLIP --model {shlex.quote(model)}",
    )


def _load(source: Path) -> Recipe:
    from drsvg_cli.weights.files import load_model

    return load_model(source)[1]


def push(folder: Path, repo: str, *, private: bool, as_json: bool, quiet: bool) -> None:
    """Upload a model folder, its card made to say where the model is.

    Raises:
        ConfigError: `repo` is no name of a repo.
        WeightsError: the folder is no whole model, or the Hub does not take it.
    """
    reporter = Reporter(as_json=as_json, quiet=quiet)
    if not re.fullmatch(REPO_PATTERN, repo, re.ASCII):
        raise ConfigError(f"{repo!r} is no name of a repo; give one as org/name")
    for name in WHOLE:
        if not (folder / name).is_file():
            raise WeightsError(f"{folder} is not a whole model folder: it has no {name}")
    check_endpoint()
    from drsvg_cli.weights import hub

    hub.check_login()
    recipe = _load(folder)
    try:
        card = _addressed(read_own(folder / CARD_FILE).decode(), repo)
    except UnicodeDecodeError:
        raise WeightsError(f"{folder / CARD_FILE} is not UTF-8; save it as UTF-8") from None
    names = [*WHOLE, *([PICTURE_FILE] if (folder / PICTURE_FILE).is_file() else [])]
    contents = {name: read_own(folder / name, limit=LARGEST_FILE) for name in names}
    contents[CARD_FILE] = card.encode()
    message = f"{recipe.name}, from drsvg {__version__}"
    with reporter.progress() as progress:
        progress.add_task(f"Uploading {len(names)} files", total=None, note="")
        page = hub.push(contents, repo, message=message, private=private)
    reporter.result({"address": page, "repo": repo, "files": names}, page)
    # The folder and the repo are the same files.
    write_atomically(folder / CARD_FILE, lambda part: part.write_bytes(contents[CARD_FILE]))


def _addressed(card: str, repo: str) -> str:
    """Let the card's line of use name the repo instead of a folder on one computer."""
    return re.sub(
        r"^(    drsvg predict \S+ --model ).*$", rf"\g<1>{repo}", card, count=1, flags=re.M
    )
