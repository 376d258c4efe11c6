"""Which device computes, with how many threads, and what happens when its memory is used up."""

import ctypes
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import numpy  # noqa: F401  (without it OpenCV prints advice on stdout)

# isort: split
import cv2
import torch

from drsvg_cli.errors import ConfigError, ResourceError

Item = TypeVar("Item")
_MALLOC_OPTIONS = ((-4, 0), (-1, 2**31 - 1), (-2, 2**28))
"""M_MMAP_MAX: no block is the system's own. M_TRIM_THRESHOLD: what is free stays. M_TOP_PAD: memory
is asked for 256 MB at a time. The numbers are those of malloc.h."""
_ROOM_FOR_THREADS = 2**31


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


def prepare(name: str) -> torch.device:
    """Return the device called `name`, as `choose`, with no more threads than there are cores.

    Raises:
        ConfigError: there is no such device here.
    """
    device = choose(name)
    limit_threads()
    return device


def limit_threads() -> None:
    """Use no more threads than this process may use cores: a container is given a share of them.

    PyTorch and OpenCV count the machine's cores. `OMP_NUM_THREADS` goes before. Where little memory
    is allowed there is one: a thread for which there is no room ends the process.
    """
    cores = 1 if _allowed_memory() < _ROOM_FOR_THREADS else usable_cores()
    if cores < torch.get_num_threads() and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores)
    if cores < cv2.getNumThreads():
        cv2.setNumThreads(cores)


def _allowed_memory() -> float:
    """Return the bytes of address space that this process may take, infinity where no limit is."""
    with suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        return math.inf if limit == resource.RLIM_INFINITY else limit
    return math.inf


def fast_in_half(device: torch.device) -> bool:
    """Tell whether bfloat16 is faster than float32 on this device.

    On a processor it takes tiles (AMX), or AVX-512's bfloat16 as AMD has it: convolutions were
    measured at twice the speed of float32 on a Zen 5, and at half of it on an Intel processor
    without tiles. It is asked what the processor is and not how fast it is today, so that a result
    does not depend on what else runs.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    known = torch.cpu.get_capabilities()
    is_amd = str(known.get("cpu_name", "")).startswith("AMD")
    return bool(known.get("amx_bf16") or (is_amd and known.get("avx512_bf16")))


def keep_memory() -> None:
    """Let this process keep memory that it has freed, for what it needs next.

    glibc gives large blocks back to the system at once, which fills their pages with zeros when
    they are asked for again. A training step asks for the same gigabytes every time. Elsewhere
    than under glibc nothing is changed.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if adjust is not None:
        for option, value in _MALLOC_OPTIONS:
            adjust(option, value)


@contextmanager
def tiny_as_zero() -> Iterator[None]:
    """Compute with numbers below 1e-38 as zeros: processors take very long for them.

    Gradients are that small in places, and change nothing there. PyTorch's threads take this over
    when they are started, so enter it before anything is computed.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def usable_cores(root: Path = Path("/")) -> int:
    """Count the cores that this process may use, by its affinity and its control groups.

    Args:
        root: where `proc` and `sys` lie.
    """
    known = getattr(os, "sched_getaffinity", None)
    cores = len(known(0)) if known else os.cpu_count() or 1
    shares = [share for share in _shares(root) if share > 0]
    return max(1, min([cores, *map(math.ceil, shares)]))


def _shares(root: Path) -> Iterator[float]:
    """Yield the limits on cores of this process's control group and of all above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        below = Path(group.lstrip("/"))
        for folder in (top / below, *[top / above for above in below.parents]):
            try:
                if controllers:
                    quota, period = (
                        (folder / f"cpu.cfs_{n}_us").read_text() for n in ("quota", "period")
                    )
                else:
                    quota, period = (folder / "cpu.max").read_text().split()
                yield float(quota) / float(period)
            except (OSError, ValueError):  # no limit: no file, or "max"
                continue


@contextmanager
def explained_memory(advice: str) -> Iterator[None]:
    """Report memory that is used up, the device's or the machine's, with an advice.

    Raises:
        ResourceError: it is.
    """
    try:
        yield
    except (MemoryError, RuntimeError, cv2.error) as error:
        if not is_used_up(error):
            raise
        raise ResourceError(f"memory is used up; {advice}") from None


def is_used_up(error: BaseException) -> bool:
    """Tell whether an error says that memory is used up, the device's or the machine's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, cv2.error):
        return error.code == cv2.Error.StsNoMem
    # On the CPU torch has no class for it.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
