"""The `drsvg` command; the only home of Typer and rich."""
