# One command each; every one creates the environment it needs. Python 3.11 or newer and make are enough.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WANTED := python3.13 python3.12 python3.11 python3
RUNS := import sys; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help env run test test-all lint docs bench clean
.DELETE_ON_ERROR:

help:
	@echo "make run       create the environment and run the quickstart study on real data"
	@echo "make test      the test suite"
	@echo "make test-all  the same with the slow proofs and every example of the documentation"
	@echo "make lint      ruff, pyright, import-linter"
	@echo "make docs      run every example of the documentation and build the site into site/"
	@echo "make bench     speed against other libraries"
	@echo "make env       create .venv only; make PYTHON=... chooses the interpreter"
	@echo "make clean     remove the environment, caches and built pages (never runs/)"

env: $(READY)

# The stamp is written last. Without it a half-made environment is found out by its pip not starting, and
# made anew; an interrupted installation is taken up where it stopped.
$(READY): pyproject.toml constraints.txt
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  for candidate in $(or $(PYTHON),$(WANTED)); do \
	    if $$candidate -c '$(RUNS)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "thetadot needs Python 3.11 or newer; tried: $(or $(PYTHON),$(WANTED)). Install one, or name yours: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  echo "Creating $(VENV) with $$($$found --version) ..."; \
	  $$found -m venv --clear $(VENV); \
	fi
	@echo "Installing thetadot and what it needs into $(VENV) (once; a few minutes on a slow line) ..."
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input -c constraints.txt -e '.[dev]'
	@touch $(READY)

run: env
	$(BIN)/thetadot run quickstart

test: env
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: env
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: env
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input -c constraints.txt -e '.[bench]' \
	  || echo 'PyTorch could not be installed: torchdiffeq is left out of the comparison' >&2
	$(BIN)/python -m benchmarks.flow

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis .cache site dist build
	find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
