"""What `--help` shows, and that `docs/cli.md` says the same."""

import re
from pathlib import Path

import pytest
from typer import rich_utils
from typer.testing import CliRunner

from drsvg_cli.cli.app import app

DOCUMENT = (Path(__file__).parents[1] / "docs" / "cli.md").read_text(encoding="utf-8")
GROUPS = {
    f"{info.typer_instance.info.name} ": info.typer_instance for info in app.registered_groups
}
COMMANDS = [
    f"{prefix}{command.name or command.callback.__name__}"
    for prefix, group in {"": app, **GROUPS}.items()
    for command in group.registered_commands
]
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def ask(*arguments, columns):
    """Return what a help page shows on a terminal of so many columns."""
    environment = {
        "COLUMNS": str(columns),
        "NO_COLOR": "1",
        "FORCE_COLOR": None,
        "DRSVG_DEVICE": "",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rich_utils, "FORCE_TERMINAL", None)  # on GitHub, Typer takes any for one
        done = CliRunner().invoke(app, arguments, env=environment, prog_name="drsvg")
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def pages():
    """The help pages of drsvg itself, named "", and of every command, one option a line."""
    wide = {"": ask("--help", columns=300)}
    return wide | {command: ask(*command.split(), "-h", columns=300) for command in COMMANDS}


def options(page):
    """Map every option of a help page to its line."""
    found = {}
    for line in page.splitlines():
        if match := re.match(r"│ \*?\s*((?:-[\w-]+[ ,]*)+)", line):
            found |= dict.fromkeys(OPTION.findall(match[1]), line)
    return found


def section(command):
    """Return what the document says of one command."""
    heading = rf"^## drsvg{' ' + command if command else ''}\n(.*?)(?=^## |\Z)"
    match = re.search(heading, DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match, f"docs/cli.md has no section on drsvg {command}"
    return match[1]


def rows(command):
    """Map every option in the table of a command's section to its cells."""
    found = {}
    for line in section(command).splitlines():
        if line.startswith("| `-"):
            names, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            found |= dict.fromkeys(OPTION.findall(names), cells)
    return found


@pytest.mark.parametrize("command", ["", *COMMANDS])
class TestDocument:
    def test_has_every_option_and_no_other(self, pages, command):
        assert set(options(pages[command])) >= {"--help", "-h"}
        assert set(rows(command)) == set(options(pages[command]))

    def test_has_the_defaults(self, pages, command):
        for option, line in options(pages[command]).items():
            if default := re.search(r"\[default: (.*?)\]", line):
                assert rows(command)[option][0] == default[1], option

    def test_names_only_options_that_exist(self, pages, command):
        known = {option for page in pages.values() for option in options(page)}
        assert set(OPTION.findall(section(command))) <= known

    def test_links_to_the_section(self, pages, command):
        if command:
            assert f"[`drsvg {command}`](#drsvg-{command.replace(' ', '-')})" in DOCUMENT


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_have_a_line_each(pages, command):
    page = pages[command]
    examples = page[page.index("Examples:") :].splitlines()[1:]
    lines = [line.strip() for line in examples if line.strip()]
    assert len(lines) >= 2
    for line in lines:
        assert f"{line} ".startswith(f"$ drsvg {command} "), line
        assert line.removeprefix("$ ") in section(command), "docs/cli.md has the same examples"


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_fit_on_a_terminal(command):
    page = ask(*command.split(), "--help", columns=80)
    examples = page[page.index("Examples:") :].splitlines()[1:]
    assert all(line.strip().startswith("$ drsvg") for line in examples if line.strip())


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_right_use(pages, command):
    """Every option in an example exists."""
    page = pages[command]
    examples = page[page.index("Examples:") :]
    assert set(OPTION.findall(examples)) <= set(options(page))


def test_exit_codes(pages):
    told = dict(
        re.findall(r"(\d+) ([a-z][^·.]*)", re.sub(r"\s+", " ", pages[""].split("Exit codes:")[1]))
    )
    documented = set(re.findall(r"^\| (\d+) \|", DOCUMENT, re.MULTILINE))
    assert documented == set(told) == {"0", "1", "2", "3", "4", "130"}


def test_the_page_of_promises_names_tests_that_there_are():
    text = (Path(__file__).parents[1] / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::([\w:]+)[`…]", text)
    assert len(named) > 40
    for file, name in named:
        tests = Path(__file__).with_name(file).read_text(encoding="utf-8")
        for part in name.split("::"):
            assert part in tests, (file, name)
