# `make demo` and `make test` need nothing but Python 3.11 or newer, make, and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Real data for tests, where it lies beside the checkout; tests that need it skip with the reason elsewhere.
ifneq ($(wildcard ../shared/data),)
export GANDIST_TEST_DATA ?= $(abspath ../shared/data)
endif
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all test-rest lint format bench gpu-check install clean

install: $(VENV)/installed

# torch first and by itself: its pinned version is the same for CPU and CUDA builds, whichever the index offers.
$(VENV)/installed: pyproject.toml constraints.txt plugins/example/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[onnx]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable plugins/example
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[report,dashboard]' --group test --group lint
	touch $@

# Trains the embedded digits on two workers into runs/digits, and ends with the figures and the path of the last grid.
demo: install
	$(BIN)/gandist train configs/digits.yaml

test: install
	$(BIN)/python -m pytest -m "not slow and not gpu" --numprocesses 2 --dist loadfile

# What `make test` leaves out: minutes, hosts, killed processes.
test-rest: install
	$(BIN)/python -m pytest -m "slow and arithmetic and not gpu" --numprocesses 2 --durations 10
	$(BIN)/python -m pytest -m "slow and not arithmetic and not gpu" --durations 60

test-all: test test-rest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/submit.py

gpu-check: install
	$(BIN)/python -m pytest -m gpu

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
