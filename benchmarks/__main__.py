"""Run every benchmark and write its table into docs/performance.md: `make bench`."""

from pathlib import Path

import torch

from benchmarks import breakdown, gpu, growth, rollout, startup, training

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PROGRAMS = {
    each.__name__.partition(".")[2]: each
    for each in (rollout, training, breakdown, startup, growth)
}


def filled(text, name, lines):
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    assert found and ended, f"{PAGE} has no place for {name}"
    return f"{before}{begin}\n{lines}\n{end}{after}"


def main():
    text = PAGE.read_text(encoding="utf-8")
    programs = PROGRAMS | ({"gpu": gpu} if torch.cuda.is_available() else {})
    for name, program in programs.items():
        lines = "\n".join(program.run())
        print(f"{name}\n\n{lines}\n", flush=True)
        text = filled(text, name, lines)
        PAGE.write_text(text, encoding="utf-8")


main()
