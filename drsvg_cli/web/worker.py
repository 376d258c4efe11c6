"""The process that predicts: a request on stdin, what happens as lines of JSON on stdout.

It imports PyTorch before it is asked, so that one that waits begins at once, and ends after one
request. When stdin is closed, be it to cancel or since the server has ended, it stops as at Ctrl-C.
"""

import json
import os
import signal
import sys
import threading
from _thread import interrupt_main
from pathlib import Path
from typing import Any

from drsvg_cli.commands import predict, swap
from drsvg_cli.commands.clip_input import Settings
from drsvg_cli.commands.events import Events, Tell
from drsvg_cli.commands.models import find_predictor
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
        output = predict.Output(folder, False, (1, 1), False, False, False, False)
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
            as_json=False,
            quiet=False,
            reporter=reporter,
        )


def main() -> None:
    """Answer one request."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    threading.Thread(target=_stop_with_stdin, daemon=True).start()
    try:
        work(json.loads(line), _tell)
    except DrsvgError as error:
        _tell({"error": str(error)})
    except MemoryError:
        _tell({"error": NO_MEMORY})
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)
    os._exit(0)  # at once: to take PyTorch apart takes its time


def _tell(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _stop_with_stdin() -> None:
    if not os.read(0, 1):
        interrupt_main()


if __name__ == "__main__":
    main()
