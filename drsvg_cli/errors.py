"""Everything that can go wrong for a user, drawn once.

    DrsvgError
    ├── ConfigError      a recipe, an option or a combination of options is wrong
    ├── VideoError       a clip cannot be read or written
    ├── WeightsError     a model cannot be found, downloaded or trusted
    ├── DataError        a data set cannot be found, downloaded or trusted
    ├── TrainingError    a run cannot start, go on or be resumed
    └── ResourceError    memory or disk space is used up

A message says what happened, with the value, and what to do about it. Each class carries the
exit code with which the command line ends.
"""

import re
from typing import Any


def without_credentials(text: str) -> str:
    """Leave out what stands before the @ of an address, `http://user:password@host`."""
    return re.sub(r"(?<=://)(?:[^/\s]*|\S*:\S*)@", "", text)


class DrsvgError(Exception):
    """Report a mistake that the user can mend; a password in an address is left out."""

    exit_code = 1

    def __init__(self, message: str = "", *, record: dict[str, Any] | None = None) -> None:
        super().__init__(without_credentials(message))
        self.record = record or {}
        """What a program should know of it (`--json`)."""


class ConfigError(DrsvgError):
    """Report a wrong recipe or option."""

    exit_code = 2


class VideoError(DrsvgError):
    """Report a clip that cannot be read or written."""


class WeightsError(DrsvgError):
    """Report a model that cannot be found, downloaded or trusted."""

    exit_code = 3


class DataError(DrsvgError):
    """Report a data set that cannot be found, downloaded or trusted."""

    exit_code = 3


class TrainingError(DrsvgError):
    """Report a training run that cannot start, go on or be resumed."""


class ResourceError(DrsvgError):
    """Report that memory or disk space is used up."""

    exit_code = 4


NO_MEMORY = "memory is used up before there was any work; close other programs, or allow more"


def is_for_want_of_memory(error: MemoryError | ImportError) -> bool:
    """Tell whether an error that ends an import says that memory is used up."""
    said = f"{error} {error.__cause__}"  # NumPy puts words of its own before the system's
    return isinstance(error, MemoryError) or "failed to map segment" in said
