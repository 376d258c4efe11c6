"""The process that `drsvg` and `python -m drsvg_cli` are."""

import os
import sys
from contextlib import suppress


def process() -> None:
    """Run the command line, then end at once.

    To take PyTorch apart would take 0.4 s (measured), and what it holds ends with the process.
    By then every file is closed and every thread of ours has ended. Where what was printed cannot
    be written, the interpreter ends as usual and says so.
    """
    try:
        from drsvg_cli.cli.app import main  # Ctrl-C may come while it is imported

        main()
    except (MemoryError, ImportError) as error:
        from drsvg_cli.errors import NO_MEMORY, ResourceError, is_for_want_of_memory

        if not is_for_want_of_memory(error):
            raise
        sys.stderr.write(f"error: {NO_MEMORY}\n")
        sys.exit(ResourceError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        if "torch" in sys.modules and isinstance(end.code, int | None):
            with suppress(OSError, ValueError):
                for stream in (sys.stdout, sys.stderr):
                    print(end="", flush=True, file=stream)
                os._exit(end.code or 0)
        raise


if __name__ == "__main__":
    process()
