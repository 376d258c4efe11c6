"""Ctrl-C and SIGTERM where they must not tear something apart."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def collected() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list instead of raising, so that something can finish."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def postponed() -> Iterator[None]:
    """Let what is inside finish, and interrupt after it.

    Raises:
        KeyboardInterrupt: there was a Ctrl-C or a SIGTERM meanwhile.
    """
    with collected() as received:
        yield
    if received:
        raise KeyboardInterrupt
