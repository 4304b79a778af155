# One command each; every one creates the environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help env run test test-all lint docs bench clean

help:
	@echo "make run       create the environment and run the quickstart study on real data"
	@echo "make test      the test suite (under 12 minutes on 2 cores)"
	@echo "make test-all  the same with the slow proofs"
	@echo "make lint      ruff, pyright, import-linter"
	@echo "make docs      build the documentation site into site/"
	@echo "make bench     speed against other libraries"
	@echo "make clean     remove the environment, caches and built pages (never runs/)"

env: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "thetadot needs Python 3.11 or newer: call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

run: env
	$(BIN)/thetadot run quickstart

test: env
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: env
	$(BIN)/python -m pytest -n 2

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: env
	$(BIN)/mkdocs build --strict

bench: env
	$(BIN)/python benchmarks/flow.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .cache site dist build
