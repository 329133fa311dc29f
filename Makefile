# `make demo` and `make test` do all of the set-up in .venv; nothing is installed outside this folder.
PYTHON ?= python3.11
CXX ?= g++
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/pip --disable-pip-version-check install --no-deps

.PHONY: demo test lint docs clean

demo: $(STAMP)
	$(BIN)/python -m experiments.single_site --dataset=ct34lc --run_dir=runs/demo

# Modules go to the workers one by one, those with the longest tests first (tests/conftest.py). A worker more than there
# are cores: tests of FLARE's deployments wait most of the time. Coverage removes its probes only from the hottest lines,
# as with its threshold of 50 that alone takes a fifth of the time.
test: $(STAMP) lint
	$(BIN)/python -m slipcover --threshold=20000 -m pytest --numprocesses=3 --dist=loadscope --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in build/site; open build/site/index.html"

NATIVE := $(wildcard third_party/pyronn_layers/setup.py third_party/pyronn_layers/src/* third_party/pyronn_layers/src/*/* \
	fedsim_tf/shape/native/*)

# A step of the set-up that fails says what to do, and the same command does it again.
fail = { echo "make: $(1)" >&2; exit 1; }

$(STAMP): requirements.lock setup.py $(NATIVE)
	@command -v $(PYTHON) > /dev/null || $(call fail,$(PYTHON) is not there: install Python 3.11 with \
	its venv; on Debian: apt install python3.11-venv; elsewhere: make PYTHON=/path/to/python3.11)
	@command -v $(firstword $(CXX)) > /dev/null || $(call fail,$(CXX) is not there: install a C++17 compiler; on Debian: apt install g++)
	@echo "Set-up, 1 of 4: virtual environment in $(VENV) (seconds)"
	@$(PYTHON) -m venv $(VENV) || $(call fail,$(PYTHON) has no venv: on Debian: apt install python3.11-venv)
	@echo "Set-up, 2 of 4: packages of requirements.lock, about 1 GB (minutes; most of it is TensorFlow)"
	@$(PIP) --requirement requirements.lock || $(call fail,packages are missing: see pip's message above; they come \
	from the network and are for Python 3.11 on x86-64 Linux)
	@echo "Set-up, 3 of 4: cone-beam operators are compiled (about a minute)"
	@$(PIP) --quiet --no-build-isolation --editable third_party/pyronn_layers || \
	$(call fail,the operators in third_party/pyronn_layers were not built: see the compiler's message above)
	@echo "Set-up, 4 of 4: voxelization operators are compiled (half a minute)"
	@$(PIP) --quiet --no-build-isolation --editable . || \
	$(call fail,the operators in fedsim_tf/shape/native were not built: see the compiler's message above)
	@$(BIN)/pip check || $(call fail,packages do not fit together: make clean and start again)
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info
