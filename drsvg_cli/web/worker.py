"""The process that predicts: a request on stdin, what happens as lines of JSON on stdout.

It imports PyTorch before it is asked, so that one that waits begins at once, and ends after one
request, or when stdin is closed: the server is no longer there.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from drsvg_cli.commands import predict, swap
from drsvg_cli.commands.console import Events, Tell
from drsvg_cli.commands.models import find_predictor
from drsvg_cli.commands.session import Settings
from drsvg_cli.errors import NO_MEMORY, DrsvgError


def work(asked: dict[str, Any], tell: Tell) -> None:
    """Do what a request asks for, by the command's own functions.

    Args:
        asked: `clip`, `second` (the clip that another one moves as, or None), `at_second`,
            `settings` and `folder`.
        tell: takes the records of `Events`.

    Raises:
        DrsvgError: as the command does.
    """
    settings, reporter = Settings(**asked["settings"]), Events(tell)
    source = find_predictor(settings.model, offline=True, quiet=True)
    folder = Path(asked["folder"])
    if asked["second"] is None:
        output = predict.Output(folder)
        predict.run([asked["clip"]], settings, output, source=source, reporter=reporter)
    else:
        swap.run(
            Path(asked["clip"]),
            Path(asked["second"]),
            settings,
            folder,
            source=source,
            at_b=asked["at_second"],
            both=False,
            overwrite=False,
            open_page=False,
            reporter=reporter,
        )


def main() -> None:
    """Answer one request."""
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        if line:
            work(json.loads(line), _tell)
    except DrsvgError as error:
        _tell({"error": str(error)})
    except MemoryError:
        _tell({"error": NO_MEMORY})
    os._exit(0)  # at once: to take PyTorch apart takes its time


def _tell(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _end_with_stdin() -> None:
    if not os.read(0, 1):
        os._exit(1)


if __name__ == "__main__":
    main()
