"""The signatures of the `drsvg` command; the only home of Typer."""
