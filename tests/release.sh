#!/usr/bin/env bash
# release.sh ARCHIVE [PYTHON]: install a wheel or a source archive with all that it needs into an
# empty environment, and use it there as somebody does who has nothing else of drsvg.
set -euo pipefail
archive=$(realpath "$1")
clip=$(realpath "$(dirname "$0")/../examples/bunny.mp4")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${2:-python3}" -m venv environment
bin=$folder/environment/bin
"$bin/python" -m pip install -q "$archive"
"$bin/python" -m pip check

"$bin/python" - <<'END'
import sys
from importlib.metadata import version
from importlib.resources import files

import drsvg_cli

assert drsvg_cli.__version__ == version("drsvg")
assert (files("drsvg_cli") / "py.typed").is_file()
print("Python", sys.version.split()[0], *(f"{name} {version(name)}" for name in ("torch", "av")))
END
"$bin/drsvg" --version
"$bin/drsvg" models list
completed=$(COMP_WORDS="drsvg pre" COMP_CWORD=1 _DRSVG_COMPLETE=complete_bash "$bin/drsvg")
test "$completed" = predict
"$bin/drsvg" --show-completion bash | grep -q complete_bash
"$bin/drsvg" predict "$clip" --at 1.5 -n 4 --samples 2 --seed 1 --compare -q -o out
for name in index.html sample_1.mp4 sample_2.mp4 sheet.png prediction.json; do
    test -s "out/$name"
done
echo "$(basename "$archive"): installed and used"
