"""Which device computes, and what happens when its memory is used up."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from drsvg_cli.errors import ConfigError, ResourceError


def choose(name: str) -> torch.device:
    """Return the device called `name`; `auto` takes an accelerator where there is one.

    Raises:
        ConfigError: there is no such device here. Nothing else is taken in its place.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"{name!r} is no device; choose auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cpu":
        return device
    if accelerator is None or accelerator.type != device.type:
        raise ConfigError(f"this machine has no device {name!r}; --device auto takes what there is")
    if (device.index or 0) >= torch.accelerator.device_count():
        raise ConfigError(f"there is no {name!r}: {torch.accelerator.device_count()} found")
    return device


@contextmanager
def explained_memory(advice: str) -> Iterator[None]:
    """Report memory that is used up, the device's or the machine's, with an advice.

    Raises:
        ResourceError: it is.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # On the CPU torch has no class for it.
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and "can't allocate memory" not in str(error):
            raise
        raise ResourceError(f"memory is used up; {advice}") from None
