# `make` on its own says what there is. Everything runs from .venv, which is made when it is first needed.

PYTHON ?= python3
WORKERS ?= 2
# More arguments for pytest: make test ARGS='-k workspace'
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Stamps: each is newer than the files that decide what is installed, or the installation is brought up to date.
MADE := $(VENV)/.made
TEST_READY := $(VENV)/.ready-to-test
DEV_READY := $(VENV)/.ready-to-develop
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint docs gpu soak emulator steadiness env clean

help: ## say what there is
	@grep -E '^[a-z]+:.*## ' Makefile | while IFS= read -r line; do \
		printf '  make %-7s %s\n' "$${line%%:*}" "$${line##*## }"; done

demo: $(TEST_READY) ## watch a stub, a wrong kernel and a right one being graded (no GPU needed)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh

test: $(TEST_READY) ## run the tests, all but the GPU's and the long ones
	$(BIN)/pytest -n $(WORKERS) $(ARGS)

check: lint ## lint, types, and the proof that every exercise holds
	$(BIN)/gpuprep dev check

lint: $(DEV_READY) ## lint and types alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(TEST_READY) ## write anew what is generated: the stubs, the README's table, docs/commands.md
	$(BIN)/gpuprep dev stubs
	GPUPREP_UPDATE_GOLDEN=1 $(BIN)/pytest -q tests/test_docs.py

gpu: $(TEST_READY) ## on a GPU: its tests, and the references' timings
	@$(BIN)/python -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else \
		"make gpu: torch finds no GPU here, so nothing was run; $(BIN)/gpuprep doctor says what is missing")'
	$(BIN)/pytest -m gpu $(ARGS)

soak: $(DEV_READY) ## the tests that take minutes
	$(INSTALL) -e '.[dev,ray,slurm]'
	$(BIN)/pytest -m soak $(ARGS)

emulator: $(TEST_READY) ## how long the CUDA emulator takes, beside numba's simulator
	$(INSTALL) -e '.[compare]'
	$(BIN)/python tests/cuda_emulator_speed.py

steadiness: $(TEST_READY) ## on a GPU: the references 20 times each, and solutions that are just too slow
	$(BIN)/python tests/steadiness.py

env: $(TEST_READY) ## make .venv, with gpuprep and pytest in it
	@echo "ready: source $(BIN)/activate"

clean: ## remove .venv, caches and builds
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"gpuprep needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# One pip call for everything, so that the constraints hold for every package that it chooses, torch first of all.
$(TEST_READY): $(MADE) pyproject.toml constraints.txt
	$(INSTALL) -e '.[test]'
	@touch $@

$(DEV_READY): $(MADE) pyproject.toml constraints.txt
	$(INSTALL) -e '.[dev]'
	@touch $@ $(TEST_READY)
