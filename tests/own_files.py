"""What may lie where drsvg looks for a file of its own."""

import os


def not_a_file(kind, path):
    """Put something at `path` that can be read without an end, or not at all."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind == "deep":
        path.write_bytes(b"[" * 900_000)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
