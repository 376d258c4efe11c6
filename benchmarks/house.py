"""How large the program is: lines, knobs, and what `drsvg predict` runs through.

    python -m benchmarks.house [FOLDER …]

prints a column for each checkout, this one by default.
"""

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parents[1]
PREDICT = """
import sys
found = set()
def seen(frame, event, _):
    name = frame.f_code.co_filename
    if event == "call" and "/drsvg_cli/" in name and frame.f_code.co_name != "<module>":
        found.add((name, frame.f_code.co_qualname))
import threading
threading.setprofile(seen); sys.setprofile(seen)
from drsvg_cli.cli.app import main
sys.argv = ["drsvg", "predict", "examples/bunny.mp4", "--seed", "1", "-q", "-y", "-o", sys.argv[1]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.setprofile(None)
print(len(found), len({name for name, _ in found}))
"""


def code_lines(path: Path) -> int:
    """Count lines that are neither blank nor comments nor docstrings."""
    text = path.read_text(encoding="utf-8")
    words: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            words |= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    with path.open("rb") as file:
        tokens = [t for t in tokenize.tokenize(file.readline) if t.type not in layout]
    return len({line for t in tokens[1:-1] for line in range(t.start[0], t.end[0] + 1)} - words)


def recipe_keys(package: Path) -> int:
    """Count the fields of the recipe's dataclasses."""
    tree = ast.parse((package / "config.py").read_text(encoding="utf-8"))
    return sum(
        isinstance(entry, ast.AnnAssign)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(mark) for mark in node.decorator_list)
        for entry in node.body
    )


def longest_function(files: list[Path]) -> int:
    """Return the lines of the longest function."""
    return max(
        (node.end_lineno or 0) - node.lineno + 1
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    )


def constants(files: list[Path]) -> int:
    """Count numbers that modules name."""
    return sum(
        isinstance(node, ast.Assign) and bool(re.match(r"[\d.(-]", ast.unparse(node.value)))
        for path in files
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


def measure(root: Path) -> Iterator[tuple[str, str]]:
    """Yield what is counted in a checkout."""
    package = root / "drsvg_cli"
    files = sorted(package.rglob("*.py"))
    sizes = {path: code_lines(path) for path in files}
    options = "\n".join(path.read_text("utf-8") for path in (package / "cli").glob("*.py"))
    yield "files", str(len(files))
    yield "lines of code", str(sum(sizes.values()))
    yield "longest file", str(max(len(path.read_text("utf-8").splitlines()) for path in files))
    yield "longest function", str(longest_function(files))
    yield "recipe keys", str(recipe_keys(package))
    yield "named options", str(len(set(re.findall(r"\"(--[a-z][a-z-]+)\"", options))))
    yield "numbers named by modules", str(constants(files))
    run = [sys.executable, "-c", PREDICT, "/tmp/house"]
    done = subprocess.run(run, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True)
    said = done.stdout.decode().split()
    yield "functions that predict runs", said[-2] if len(said) > 1 else "failed"
    yield "files that predict runs", said[-1] if len(said) > 1 else "failed"


def main() -> None:
    """Print the table."""
    columns = [dict(measure(Path(name).resolve())) for name in sys.argv[1:] or [str(HERE)]]
    for key in columns[0]:
        print(f"{key:30}" + "".join(f"{column[key]:>10}" for column in columns))


if __name__ == "__main__":
    main()
