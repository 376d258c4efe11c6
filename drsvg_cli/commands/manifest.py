"""What became of every clip of a batch: a line a clip, so that the batch can be stopped."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drsvg_cli.errors import ConfigError
from drsvg_cli.storage import read_own, writable

MANIFEST = "manifest.jsonl"
LARGEST = 2**30
"""Bytes of a manifest; a line has some hundreds."""
ENDS = 2**20
"""Bytes of a clip's beginning and end that its digest is made of."""


class Manifest:
    """The lines of `manifest.jsonl` in a folder; of a clip's lines the last one counts."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Read what is there.

        Raises:
            ConfigError: it is of other settings, or it is no manifest.
        """
        self.path = folder / MANIFEST
        self._settings = json.loads(json.dumps(settings))
        self._lines: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for line in self._read():
                self._lines[line["clip"]] = line

    def check(self) -> None:
        """Refuse to go on with other settings than before.

        Raises:
            ConfigError: they differ.
        """
        for line in self._lines.values():
            for name, value in self._settings.items():
                before = line["settings"].get(name)
                if before != value:
                    raise ConfigError(
                        f"{self.path} is of other settings ({name}: {before}, now {value}); do all "
                        "clips anew with --redo, or choose another folder with --out"
                    )

    @property
    def seed(self) -> int | None:
        """The seed of what is done."""
        return next((line["seed"] for line in self._lines.values()), None)

    def is_done(self, clip: Path, record: Path) -> bool:
        """Tell whether a clip, as it is now, has been predicted, and the result is there.

        Where there is no line of it, the record of its result says so, which is the last thing of a
        run that was killed right after.
        """
        if line := self._lines.get(str(clip)):
            known = line["outcome"] == "done" and line["digest"] == digest(clip)
            return known and Path(str(line.get("folder"))).is_dir()
        try:
            made = json.loads(read_own(record))
            return bool(made["clip"] == str(clip) and made["settings"] == self._settings)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return False

    def add(self, clip: Path, *, digest: str, seed: int, seconds: float, **outcome: str) -> None:
        """Write a clip's line; other processes may write theirs meanwhile.

        Args:
            clip: as it was named.
            digest: of the clip that was predicted.
            seed: of its samples.
            seconds: that it took.
            outcome: `done` or `failed`, and the folder or the error.

        Raises:
            ResourceError: it cannot be written.
        """
        line: dict[str, Any] = {"clip": str(clip), "digest": digest, **outcome}
        line |= {"seed": seed, "seconds": round(seconds, 2), "settings": self._settings}
        self._lines[str(clip)] = line
        text = json.dumps(line) + "\n"
        with writable(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:  # one write: others write here, too
                file.write(text.encode("utf-8", "surrogateescape"))

    def _read(self) -> list[dict[str, Any]]:
        """Read all lines but a last one that was torn off.

        Raises:
            ConfigError: it is no manifest.
        """
        lines = []
        try:
            for text in read_own(self.path, limit=LARGEST).decode("utf-8", "replace").splitlines():
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                kinds = {"clip": str, "digest": str, "outcome": str, "seed": int, "settings": dict}
                if not isinstance(line, dict) or any(
                    not isinstance(line.get(name), kind) for name, kind in kinds.items()
                ):
                    raise ConfigError(
                        f"{self.path} is no manifest of drsvg; choose another folder with --out"
                    )
                lines.append(line)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror or error}") from None
        return lines


def digest(clip: Path) -> str:
    """Return the SHA-256 of a file's size, first and last megabyte; empty if it cannot be read."""
    found = hashlib.sha256()
    if not clip.is_file():  # nobody may write to a pipe
        return ""
    try:
        with clip.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            found.update(str(size).encode() + b"\n" + file.read(ENDS))
            file.seek(max(0, size - ENDS))
            found.update(file.read(ENDS))
    except OSError:
        return ""
    return found.hexdigest()


def take_shard(clips: Sequence[Path], shard: tuple[int, int]) -> list[bool]:
    """Tell which clips are of part `shard[0]` of `shard[1]`, by a stable hash of their paths."""
    part, count = shard
    hashes = (hashlib.sha256(os.fsencode(clip)).digest() for clip in clips)
    return [int.from_bytes(each[:8]) % count == part - 1 for each in hashes]
