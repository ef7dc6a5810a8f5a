# `make demo` and `make test` need nothing beforehand but Python 3.11+ and make.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
READY_DEV := $(VENV)/.installed-dev
DEMO := runs/demo
# OpenMP's workers must not spin beside the simulation's threads
export OMP_WAIT_POLICY ?= passive
export GOMP_SPINCOUNT ?= 0

.PHONY: demo test test-slow lint check bench clean

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or run make PYTHON=python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, $(PYTHON) is older"; exit 2; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: $(PYTHON) cannot make a virtual environment; install its venv package"; exit 2; }

$(READY): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $(READY)

$(READY_DEV): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY_DEV)

demo: $(READY)
	@echo "== 1/3 training a half-cheetah under twelve named limits (CaT, MuJoCo; about two minutes)"
	@rm -rf $(DEMO)
	$(BIN)/saferl train cat/halfcheetah_limits --run-dir $(DEMO)
	@echo "== 2/3 violation report over 100 episodes"
	$(BIN)/saferl evaluate $(DEMO)
	@echo "== 3/3 rollout video with every constraint's trace"
	$(BIN)/saferl visualize $(DEMO)

test: $(READY_DEV)
	$(BIN)/python -m pytest -n auto --maxprocesses 4

test-slow: $(READY_DEV)
	$(BIN)/python -m pytest -m slow

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

bench: $(READY)
	$(BIN)/python scripts/benchmark.py speed

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
