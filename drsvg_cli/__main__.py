"""Run the command line as `python -m drsvg_cli`."""

from drsvg_cli.cli.app import main

if __name__ == "__main__":
    main()
