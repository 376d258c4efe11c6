# make demo goes on with a sample clip; make test is the one gate, here and in CI.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Both names: an older pip applies the first to the build backend too, a newer one the second.
CONSTRAINED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
INSTALL := $(CONSTRAINED) $(BIN)/python -m pip --disable-pip-version-check install -q

.PHONY: help demo test bench release format clean

help:
	@echo 'make demo     go on with the clip examples/bunny.mp4, into demo/'
	@echo 'make test     check the format, the lint rules and the types, then run the tests'
	@echo 'make bench    measure speed against the usual ways, into docs/performance.md'
	@echo 'make release  build the wheel and the source archive, and try each in an empty environment'
	@echo 'make format   format the code and mend what the lint rules can mend'
	@echo 'make clean    remove the environment, the demo and every cache'

demo: $(VENV)/.installed
	@$(BIN)/drsvg predict examples/bunny.mp4 --at 1.5 -y -o demo
	@echo 'Open demo/index.html; then try a clip of yours: $(BIN)/drsvg predict CLIP --open'

test: $(VENV)/.installed-test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist worksteal

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

release:
	rm -rf dist
	$(PYTHON) -m venv dist/.tools
	dist/.tools/bin/python -m pip --disable-pip-version-check install -q build twine
	dist/.tools/bin/python -m build
	dist/.tools/bin/twine check --strict dist/drsvg-*
	for archive in dist/drsvg-*; do tests/release.sh "$$archive" $(PYTHON); done

format: $(VENV)/.installed-test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Stamps: an environment is filled again only when what it is made of changed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing drsvg into $(VENV), once; PyTorch is large, this takes minutes.'
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing drsvg and its test tools into $(VENV), once; this takes minutes.'
	$(INSTALL) -e '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(INSTALL) -e '.[bench]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'drsvg needs Python 3.11 or newer, and $(PYTHON) is missing or older.' \
			'Name another one: make demo PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
