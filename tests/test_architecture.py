"""The map of the package: who may import whom, and what must not exist."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from processes import context

from drsvg_cli.cli.app import main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "drsvg_cli"

# What each folder, or module beside them, imports of the others.
LAYERS = {
    "__main__": "cli errors",
    "cli": "web commands weights config errors",
    "web": "commands visualization weights video errors",
    "commands": "training evaluation inference visualization data weights model video frames "
    "recipe_file config device network storage errors",
    "training": "evaluation inference data weights motion_model model frames config device storage "
    "errors",
    "evaluation": "inference model frames optical_flow errors",
    "inference": "weights motion_model model frames optical_flow config device storage errors",
    "visualization": "",
    "data": "video frames optical_flow config network storage errors",
    "weights": "motion_model model recipe_file config network storage errors",
    "motion_model": "model config errors",
    "model": "config errors",
    "video": "errors",
    "frames": "config errors",
    "optical_flow": "errors",
    "recipe_file": "config errors",
    "config": "errors",
    "device": "errors",
    "network": "errors",
    "storage": "errors",
    "errors": "",
}

# Each of these libraries has one home, or two.
HOMES = {
    "av": "video.",
    "huggingface_hub": "weights.hub",
    "httpx2": "weights.hub data.download network",
    "filelock": "storage",
    "safetensors": "weights.files evaluation.",
    "typer": "cli.",
    "rich": "cli. commands.",
}
# The models do not know files, video/ does not know torch.
FORBIDDEN = {
    "model.": {"io", "os", "pathlib"},
    "motion_model.": {"io", "os", "pathlib"},
    "video.": {"torch"},
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
HEAVY = {"av", "cv2", "filelock", "huggingface_hub", "numpy", "safetensors", "torch"}


@cache
def modules() -> dict[str, Path]:
    """Map `model.gaussian` to its file, for every module but the `__init__` files."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "__init__.py"
    }


def imports(module: str, path: Path) -> Iterator[str]:
    """Yield the dotted name of everything a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ["drsvg_cli", *module.split(".")][: -node.level] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def target(name: str) -> str | None:
    """Return the module of ours that an imported name lies in, `None` if it lies in none."""
    parts = name.split(".")
    if parts[0] != "drsvg_cli":
        return None
    known = modules()
    return next((m for n in range(len(parts), 1, -1) if (m := ".".join(parts[1:n])) in known), None)


def matches(module: str, home: str) -> bool:
    """Tell whether a module is the one named, or lies in the folder named with a final dot."""
    return module.startswith(home) if home.endswith(".") else module == home


def internal_imports() -> set[tuple[str, str]]:
    """Return every pair of modules of ours of which the first imports the second."""
    return {
        (module, other)
        for module, path in modules().items()
        for name in imports(module, path)
        if (other := target(name)) is not None
    }


def test_a_folder_imports_only_from_lower_layers() -> None:
    crossing = {
        (module, other)
        for module, other in internal_imports()
        if (here := module.split(".")[0]) != (there := other.split(".")[0])
        and there not in LAYERS[here].split()
    }
    assert not crossing


def test_within_a_folder_imports_have_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module, other in internal_imports():
        if module.split(".")[0] == other.split(".")[0]:
            graph.setdefault(module, set()).add(other)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", modules())
def test_a_library_stays_in_its_home(module: str) -> None:
    for name in imports(module, modules()[module]):
        library = name.split(".")[0]
        home = HOMES.get(library)
        at_home = home is None or any(matches(module, name) for name in home.split())
        assert at_home, f"{library} belongs in {home}, not {module}"
        for scope, forbidden in FORBIDDEN.items():
            assert not (matches(module, scope) and library in forbidden), f"{module}: {library}"


@pytest.mark.parametrize(
    "path",
    [*PACKAGE.rglob("__init__.py"), ROOT / "presets" / "__init__.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_an_init_file_is_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    rest = [ast.unparse(node).split(" = ")[0] for node in tree.body[1:]]
    assert rest == (["__version__"] if path == PACKAGE / "__init__.py" else [])


def test_no_file_has_a_vague_name() -> None:
    folders = (PACKAGE, ROOT / "tests", ROOT / "benchmarks", ROOT / "examples")
    names = {path for folder in folders for path in folder.rglob("*")}
    assert not [path for path in names if path.stem.strip("_") in VAGUE]


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from drsvg_cli.cli.app import main\n"
        "sys.argv = ['drsvg', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"sys.exit(' '.join({HEAVY} & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.strip() == "", "drsvg --help imports these"
    assert "Usage" in done.stdout
    assert done.returncode == 0


def test_a_prediction_with_a_model_that_is_here_does_not_load_the_hub_s_library(
    model_folder: Path, make_clip: Callable[[Path], object], tmp_path: Path
) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4"), tmp_path / "out"
    words = ["predict", clip, "-n", 1, "-s", 1, "--model", model_folder, "-o", out]
    process = context().Process(target=_predict_without_the_hub, args=([*map(str, words)],))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (out / "prediction.json").is_file()


def _predict_without_the_hub(words: list[str]) -> None:
    sys.argv = ["drsvg", *words]
    with pytest.raises(SystemExit, match="0"):
        main()
    assert not {"huggingface_hub", "httpx2"} & set(sys.modules)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "drsvg_cli", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
