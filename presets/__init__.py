"""The model folders that the package embeds, installed as `drsvg_cli.presets`."""
