"""Which device computes."""

import torch

from drsvg_cli.errors import ConfigError


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
