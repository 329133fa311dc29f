# `make demo` and `make test` do all of the set-up in .venv; nothing is installed outside this folder.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint clean

demo: $(STAMP)
	$(BIN)/python -m experiments.single_site --dataset=ct34lc --run_dir=runs/demo

test: $(STAMP) lint
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadscope

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

NATIVE := $(wildcard third_party/pyronn_layers/setup.py third_party/pyronn_layers/src/* third_party/pyronn_layers/src/*/* \
	fedsim_tf/shape/native/*)

$(STAMP): requirements.lock setup.py $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable third_party/pyronn_layers
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/pip check
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info
