"""Work that the machines of a cluster share: the one home of Ray (`drsvg[cluster]`)."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from drsvg_cli.errors import ConfigError, ResourceError

TRIES = 3
"""Workers that may die at an item before it is given up."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Worker(Generic[Item, Result]):
    """Begins once, and then does one item after the other."""

    def __init__(self, begin: Callable[[], Callable[[Item], Result]], folder: str) -> None:
        self._begin, self._folder = begin, folder

    @cached_property
    def _work(self) -> Callable[[Item], Result]:
        os.chdir(self._folder)  # names of files mean the same as where the command was given
        return self._begin()

    def ready(self) -> None:
        """Load what the work needs."""
        _ = self._work

    def do(self, item: Item) -> Result:
        """Do an item; where another worker died, this one begins first."""
        return self._work(item)


def spread(
    on: str,
    begin: Callable[[], Callable[[Item], Result]],
    items: Sequence[Item],
    *,
    gpus: bool,
) -> Generator[tuple[Item, Result | None], None, None]:
    """Do all items on the workers of a cluster; yield each with its result as soon as it is done.

    There is a worker a GPU, or a processor core. It does an item at a time; where a worker is
    killed, its item is begun again by another one.

    Args:
        on: `ray` for the cluster that `RAY_ADDRESS` names, or one made of this machine's cores
            for as long as this takes; or the address `ray://HOST:PORT` of another one.
        begin: called once by every worker, gives what does an item. All are sent by pickle.
        items: what to do.
        gpus: take GPUs, if the cluster has any.

    Yields:
        An item and its result, which is `None` where `TRIES` workers died at it.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached or has no cores.
        ResourceError: all workers died before they did anything.
        Exception: what `begin` or the work raised.
    """
    with _connected(on) as ray:
        resources = ray.cluster_resources()
        kind = "GPU" if gpus and resources.get("GPU") else "CPU"
        count = min(int(resources.get(kind, 0)), len(items))
        needs = {"num_cpus": 1, "num_gpus": int(kind == "GPU")}
        made = ray.remote(_Worker).options(**needs, max_restarts=-1, max_task_retries=TRIES - 1)
        workers = [made.remote(begin, str(Path.cwd())) for _ in range(count)]
        # A worker gets no item before it is there: others may use the cluster as well.
        at_work: dict[Any, tuple[Any, Item | None]]
        at_work = {worker.ready.remote(): (worker, None) for worker in workers}
        ahead, left = deque(items), len(items)
        while left:
            if not at_work:
                raise ResourceError(f"the {count} workers of {on} died before they did anything")
            [done], _ = ray.wait(list(at_work))
            worker, item = at_work.pop(done)
            result, died = None, False
            try:
                result = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayActorError:
                died = True
            if item is not None:
                left -= 1
                yield item, result
            elif died:
                continue
            if ahead:
                item = ahead.popleft()
                at_work[worker.do.remote(item)] = worker, item


@contextmanager
def _connected(on: str) -> Iterator[Any]:
    """Connect to a cluster, or make one; give the library."""
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise ConfigError(
            "--on needs Ray, which is not installed: pip install 'drsvg[cluster]'"
        ) from None
    before = signal.getsignal(signal.SIGTERM)  # it sets one of its own
    try:
        # Never what the machine remembers by itself: a cluster that has ended is waited for.
        address = os.environ.get("RAY_ADDRESS", "local") if on == "ray" else on
        ray.init(address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ImportError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"no cluster can be reached with --on {on} ({reason})") from None
    finally:
        signal.signal(signal.SIGTERM, before)
    try:
        yield ray
    finally:
        ray.shutdown()
