"""The `drsvg` command: its commands, and the one place where errors become messages."""

import errno
import io
import json
import os
import platform
import signal
import sys
import threading
from contextlib import nullcontext, redirect_stdout, suppress
from itertools import pairwise, takewhile
from types import FrameType
from typing import Annotated, Any

import typer

from drsvg_cli import __version__
from drsvg_cli.cli import data, evaluate, finetune, models, predict, serve, surprise, swap, train
from drsvg_cli.commands.console import Reporter
from drsvg_cli.errors import (
    NO_MEMORY,
    ConfigError,
    DrsvgError,
    ResourceError,
    is_for_want_of_memory,
)

app = typer.Typer(
    name="drsvg",
    help="Draw what could happen next in a video clip.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 done · 1 an input failed · 2 wrong use · 3 no such model or data, or no "
    "download · 4 out of memory or disk · 130 interrupted.",
)
app.command(epilog=predict.EPILOG)(predict.predict)
app.command(epilog=swap.EPILOG)(swap.swap)
app.command(epilog=surprise.EPILOG)(surprise.surprise)
app.command(epilog=finetune.EPILOG)(finetune.finetune)
app.command(epilog=train.EPILOG)(train.train)
app.command(epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command(epilog=serve.EPILOG)(serve.serve)
app.command(epilog=data.EPILOG)(data.data)
app.add_typer(models.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"drsvg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Draw what could happen next in a video clip."""


def main() -> None:
    """Run the command line; every mistake a user can mend ends in one line and its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as of a job in the background
        signal.signal(signal.SIGINT, _interrupt)
    # Read when the library is imported: it would ask the Hub for a list to describe us to it.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # So too, where a value that is no whole number would be an error: for the Hub's own 10 seconds.
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        if not os.environ.get(name, "0").strip().isdecimal():
            del os.environ[name]
    # So too: NumPy's threads, which would end the process as Ctrl-C does where memory is short. It
    # multiplies no large matrices here, and PyTorch has a library of its own but on ARM.
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # So too: how long PyTorch's threads spin before they sleep. For 15 times this, as usual, they
    # would take a core from the thread that they wait for where other programs run as well.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal or a log without Unicode
    options = list(takewhile(lambda argument: argument != "--", sys.argv[1:]))
    as_json, printed = "--json" in options, io.StringIO()
    with redirect_stdout(printed) if as_json else nullcontext():
        code, said, record = _outcome(options)
    # stderr may lie on the disk that is full; the code tells it all the same.
    with suppress(OSError):
        if said:
            Reporter(as_json=False, quiet=False).error(said)
    text = printed.getvalue()  # with --json: one object, whatever happens
    if as_json and code and not text:
        failure = {"error": said or "interrupted", "exit_code": code}
        text = json.dumps((record or {}) | failure) + "\n"
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        code = code or 1  # nobody reads it any more, or
        if error.errno == errno.ENOSPC:
            code = ResourceError.exit_code
            with suppress(OSError):
                Reporter(as_json=False, quiet=False).error(f"stdout: {error.strerror}")
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; a moment later where FFmpeg asks for bytes, for PyAV drops it there.

    The clip would seem to end, and the command to be done.
    """
    while frame is not None:
        if frame.f_code.co_qualname.startswith("Source."):
            later = threading.Timer(0.01, signal.raise_signal, [number])
            later.daemon = True
            later.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _outcome(options: list[str]) -> tuple[int, str, dict[str, Any] | None]:
    """Run the command; return its exit code, what went wrong, and what was done all the same."""
    try:
        _check_values(options)
        return app(prog_name="drsvg", standalone_mode=False) or 0, "", None
    except DrsvgError as error:
        return error.exit_code, str(error), error.record
    except typer.TyperException as error:  # no such option, a value of the wrong type
        said = error.format_message()
        return error.exit_code, said and f"{said.rstrip('.')}; see --help", None
    except OSError as error:
        # A name that is too long, a folder that may not be read: the system's own words.
        where = "" if error.filename is None else f"{error.filename}: "
        if error.errno in (errno.ENOMEM, errno.EAGAIN):  # the second for a thread
            return ResourceError.exit_code, f"memory is used up ({error.strerror})", None
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return ResourceError.exit_code if full else 1, f"{where}{error.strerror or error}", None
    except (MemoryError, ImportError) as error:
        if not is_for_want_of_memory(error):
            raise
        return ResourceError.exit_code, NO_MEMORY, None
    except KeyboardInterrupt:
        return 130, "", None


def _check_values(options: list[str]) -> None:
    """Refuse an option without a value: a shell variable that is not set.

    A path of it would be the current folder.

    Raises:
        ConfigError: there is one.
    """
    for option, value in pairwise([*options, None]):
        name, equals, rest = option.partition("=") if option else ("", "", "")
        if name.strip("-") and name.startswith("-") and (value == "" or (equals and not rest)):
            raise ConfigError(f"{name} is ''; give it a value, or leave it out")
