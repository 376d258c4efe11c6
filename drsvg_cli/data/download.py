"""Data sets from their public mirrors: fetched once into a cache, and checked.

A file is what it should be if the SHA-256 of its content is: files that end in .gz are unpacked to
compare, since the same content may be packed in many ways. Of archives that others have published
a SHA-1 of, that one is compared.
"""

import gzip
import hashlib
import os
import tomllib
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from httpx2 import HTTPError, InvalidURL

from drsvg_cli.errors import DataError, ResourceError
from drsvg_cli.network import Tick, connect
from drsvg_cli.storage import locked, writable

PATIENCE = 20.0
"""Seconds to wait for a mirror's next bytes."""
PIECE = 2**20
SHA1_DIGITS = 40


class Publication(NamedTuple):
    """Where a data set is published."""

    mirrors: Sequence[str]
    """Addresses of folders."""
    files: Mapping[str, str]
    """What each file should hold: its SHA-256, or an archive's SHA-1."""


def publication(name: str) -> Publication:
    """Look up where the data set called `name` is published."""
    text = Path(__file__).with_name("published.toml").read_text(encoding="utf-8")
    return Publication(**tomllib.loads(text)[name])


def cache_folder(name: str) -> Path:
    """Return where the data set called `name` is kept, whether or not it is there.

    Raises:
        ResourceError: nobody's home is known, and no other place is named.
    """
    if chosen := os.environ.get("DRSVG_CACHE"):
        return Path(chosen, name)
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise ResourceError("there is no home folder for a cache; set DRSVG_CACHE") from None
    return Path(cache, "drsvg", name)


def fetch(
    contents: Mapping[str, str],
    folder: Path,
    *,
    mirrors: Sequence[str],
    tick: Tick | None = None,
) -> list[str]:
    """Fetch the files that `folder` lacks; return their names.

    Args:
        contents: the SHA-256 of what each file holds, unpacked where its name ends in .gz; empty
            where none is known.
        folder: where to put them.
        mirrors: addresses of folders, tried in turn.
        tick: told of the progress.

    Raises:
        DataError: no mirror gives a file, or what they give is not what it should be.
        ResourceError: the folder cannot be written to.
    """
    with _alone(folder):
        lacking = [name for name, digest in contents.items() if not _holds(folder / name, digest)]
        for name in lacking:
            _fetch_one(name, folder, digest=contents[name], mirrors=mirrors, tick=tick)
    return lacking


def fetch_archive(
    name: str,
    folder: Path,
    *,
    digest: str,
    wanted: Collection[str],
    mirrors: Sequence[str],
    tick: Tick | None = None,
) -> bool:
    """Unpack the files that are wanted from a zip archive into `folder`, by their names alone.

    The archive is fetched and removed again, unless it is there: then it stays, and is fetched only
    if it is not what it should be. Return whether it was fetched.

    Raises:
        DataError: no mirror gives it, it is not what it should be, or it lacks a file.
        ResourceError: the folder cannot be written to.
    """
    with _alone(folder):
        archive = folder / name
        stays, whole = archive.exists(), _holds(archive, digest)
        if not whole:
            _fetch_one(name, folder, digest=digest, mirrors=mirrors, tick=tick)
        try:
            _unpack(archive, folder, set(wanted))
        finally:
            if not stays:
                archive.unlink(missing_ok=True)
    return not whole


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a folder if need be, and keep other runs from writing to it meanwhile."""
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, wait=True):
            yield


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """Name what is beside a file until it is whole; its last letters say whether it is packed."""
    part = target.with_name(f".{target.name}")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _unpack(archive: Path, folder: Path, wanted: set[str]) -> None:
    try:
        with zipfile.ZipFile(archive) as packed:
            members = {PurePosixPath(each.filename).name: each for each in packed.infolist()}
            if missing := sorted(wanted - members.keys()):
                raise DataError(f"{archive.name} lacks {len(missing)} files: {missing[0]} …")
            for name in sorted(wanted):
                with _part(folder / name) as part:
                    part.write_bytes(packed.read(members[name]))  # checks the CRC
                    part.replace(folder / name)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(f"{archive.name} is damaged: {error}; fetch it again") from None


def _fetch_one(
    name: str, folder: Path, *, digest: str, mirrors: Sequence[str], tick: Tick | None
) -> None:
    target = folder / name
    reasons = [f"the one in {folder} is damaged or another file"] if target.exists() else []
    target.parent.mkdir(parents=True, exist_ok=True)
    for mirror in mirrors:
        try:
            with _part(target) as part:
                _download(f"{mirror.rstrip('/')}/{name}", part, name, tick)
                if _holds(part, digest):
                    part.replace(target)
                    return
            kind = "SHA-1" if len(digest) == SHA1_DIGITS else "SHA-256"
            reasons.append(f"{mirror} gives another file: its {kind} is not {digest[:12]}…")
        except (HTTPError, InvalidURL, UnicodeError) as error:
            said = str(error).partition("\n")[0] or type(error).__name__
            reasons.append(f"{mirror} cannot be had: {said}")
    raise DataError(
        f"{name} could not be fetched ({'; '.join(reasons)}); check the network, or put the file "
        f"into {folder} yourself"
    )


def _download(url: str, path: Path, name: str, tick: Tick | None) -> None:
    headers = {"Accept-Encoding": "identity"}  # what is packed stays packed, and only once
    with (
        connect(DataError, timeout=PATIENCE, headers=headers) as client,
        client.stream("GET", url) as answer,
        path.open("wb") as file,
    ):
        answer.raise_for_status()
        length = answer.headers.get("Content-Length", "")
        size, received = int(length) if length.isdecimal() else None, 0
        for piece in answer.iter_raw(PIECE):
            file.write(piece)
            received += len(piece)
            if tick is not None:
                tick(name, received, size)


def _holds(path: Path, digest: str) -> bool:
    """Tell whether a file is there, whole, and holds what it should."""
    summed = hashlib.sha1() if len(digest) == SHA1_DIGITS else hashlib.sha256()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while piece := file.read(PIECE):
                summed.update(piece)
    except (FileNotFoundError, gzip.BadGzipFile, EOFError, zlib.error):
        return False
    return not digest or summed.hexdigest() == digest
