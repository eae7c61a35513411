# Everything runs in a virtual environment of its own, which the first target that needs it creates.
# Where the package index serves CUDA builds of torch, point PIP_EXTRA_INDEX_URL at one with CPU builds.
VENV    ?= .venv
PYTHON  ?= python3
# Of the benchmarks: one thread gives steady times.
THREADS ?= 1
# Of the tests and the zoo: how many processes, with one thread each.
WORKERS ?= 2
# Of the fuzzing: how many files.
INPUTS  ?= 2000
# Of the paper's reproduction: quick or full, and how many processes.
SCALE   ?= quick
JOBS    ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ZOO := $(VENV)/zoo
READERS := tests/readers/node_modules/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo paper test fuzz zoo lint bench bench-smoke clean

help:  ## show this list
	@printf 'usage: make TARGET [VENV=%s] [PYTHON=%s]\n\n' '$(VENV)' '$(PYTHON)'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch first and alone: the pin decides its build before anything else can ask for another.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("dnn2graph needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=...")'
	@echo 'Installing dnn2graph and its tools into $(VENV) (a few minutes: torch is large)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq -c constraints.txt torch
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## from a trained network to its graph, measures and files
	@$(BIN)/python examples/demo.py

paper: $(INSTALLED)  ## train the paper's populations and write what holds into docs/reproduction.md (SCALE=full: hours)
	@$(BIN)/dnn2graph population reproduce --scale $(SCALE) --jobs $(JOBS) -o docs/reproduction.md

test: $(INSTALLED) $(READERS)  ## run the tests and the examples in docstrings
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# Graphology's parsers, which Gephi Lite uses; without Node.js, or a registry, the tests that need them are skipped.
$(READERS): tests/readers/package.json tests/readers/package-lock.json
	@if command -v node >/dev/null && command -v npm >/dev/null && npm ci --silent --prefix tests/readers; then touch $@; \
	else echo 'Node.js or the packages of tests/readers are not at hand: the tests with graphology are skipped'; fi

fuzz: $(INSTALLED)  ## read thousands of damaged files: each ends in a result or in one sentence; two minutes
	@DNN2GRAPH_FUZZ=$(INPUTS) $(BIN)/python -m pytest -q tests/test_fuzz.py

# Torchvision and timm without what they require, in a folder of their own: where torchvision is installed, transformers
# wants its compiled parts, which need CUDA libraries.
$(ZOO)/.installed: zoo/constraints.txt $(INSTALLED)
	@$(BIN)/python -m pip install -qq --no-deps --upgrade --target $(ZOO) -c zoo/constraints.txt torchvision timm
	@touch $@

zoo: $(ZOO)/.installed  ## try 217 published architectures and write docs/coverage.md; half an hour or more
	@PYTHONPATH=$(ZOO) HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 $(BIN)/python -m zoo --jobs $(WORKERS) --gigabytes 10

lint: $(INSTALLED)  ## check style (ruff) and types (mypy)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench bench-smoke: export OMP_NUM_THREADS := $(THREADS)
bench bench-smoke: export OPENBLAS_NUM_THREADS := $(THREADS)
bench bench-smoke: export NUMBA_NUM_THREADS := $(THREADS)

bench: $(INSTALLED)  ## run all benchmarks
	@$(BIN)/python -m benchmarks

bench-smoke: $(INSTALLED)  ## run the benchmarks in small, about a minute
	@$(BIN)/python -m benchmarks --smoke

clean:  ## remove caches, build products and out/ (the environment stays)
	@rm -rf build dist *.egg-info out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find dnn2graph tests examples benchmarks zoo -type d -name __pycache__ -prune -exec rm -rf {} +
