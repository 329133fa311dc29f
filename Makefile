# `make demo` and `make test` do all of the set-up in .venv; nothing is installed outside this folder.
PYTHON ?= python3.11
CXX ?= g++
# TENSORFLOW=new: today's TensorFlow, in an environment of its own beside that of TensorFlow 2.15.
TENSORFLOW := 2.15
VENV := .venv
LOCK := requirements.lock
LINT := lint
AGAIN := make clean
ifeq ($(TENSORFLOW),new)
VENV := .venv-new
LOCK := requirements-new.lock
# The sources are the same, and the types of NumPy 1 and 2 are not.
LINT :=
AGAIN := make clean TENSORFLOW=new
else ifneq ($(TENSORFLOW),2.15)
$(error TENSORFLOW is "$(TENSORFLOW)"; it must be new, or left out for 2.15)
endif
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/pip --disable-pip-version-check install --no-deps

DIST := build/dist
CHECK := build/check
# A whole run in a minute: every stage, a few steps of each.
TINY := --pretraining_steps=2 --gan_steps=2 --semi_steps=2 --plus_steps=2 --synthesis_volumes=2 --plus_volumes=3 \
	--segmentation_pretraining_steps=2 --segmentation_finetuning_steps=2 --segmentation_validation_every=2

.PHONY: demo test lint docs wheels check-wheels clean

demo: $(STAMP)
	$(BIN)/python -m experiments.single_site --dataset=ct34lc --run_dir=runs/demo

# Modules go to the workers one by one, those with the longest tests first (tests/conftest.py). A worker more than there
# are cores: tests of FLARE's deployments wait most of the time. Coverage never removes its probes, which cost
# nanoseconds each: to look for them among all functions takes half a second each time.
test: $(STAMP) $(LINT)
	$(BIN)/python -m slipcover --threshold=1000000000 -m pytest --numprocesses=3 --dist=loadscope --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in build/site; open build/site/index.html"

# A source distribution (sdist) and a wheel of each of the two packages. The wheels are built from the sdists, so that
# these hold all that a build takes.
wheels: $(STAMP)
	@rm -rf $(DIST) && mkdir -p $(DIST)
	@for project in third_party/pyronn_layers .; do \
	(cd $$project && $(abspath $(BIN))/python -c "from setuptools import build_meta; build_meta.build_sdist('$(abspath $(DIST))')" \
	> /dev/null) || exit 1; done
	@$(BIN)/pip --disable-pip-version-check --quiet wheel --no-deps --no-build-isolation --wheel-dir $(DIST) $(DIST)/*.tar.gz
	@ls -sh $(DIST)

# What a user gets: the wheels in an environment of their own, and a whole run in a folder outside the sources.
check-wheels: wheels
	@rm -rf $(CHECK) && $(PYTHON) -m venv $(CHECK)/venv
	$(CHECK)/venv/bin/pip --disable-pip-version-check --quiet install $(DIST)/*.whl
	cd $(CHECK) && mkdir empty && cd empty && ../venv/bin/fedsim single_site --dataset=ct34lc --run_dir=run --cache_dir=cache $(TINY)
	cd $(CHECK)/empty && ../venv/bin/python -m experiments.sample --generator=run/fold_0/generators/ours_full --count=1 --output=samples
	test -s $(CHECK)/empty/run/report.html

# Files alone, whose names have a dot: Python makes a __pycache__ there, and the next command would compile all anew.
NATIVE := $(wildcard third_party/pyronn_layers/setup.py third_party/pyronn_layers/src/*.* \
	third_party/pyronn_layers/src/*/*.* fedsim_tf/shape/native/*.*)

# A step of the set-up that fails says what to do, and the same command does it again.
fail = { echo "make: $(1)" >&2; exit 1; }

$(STAMP): $(LOCK) setup.py $(NATIVE)
	@command -v $(PYTHON) > /dev/null || $(call fail,$(PYTHON) is not there: install Python 3.11 with \
	its venv; on Debian: apt install python3.11-venv; elsewhere: make PYTHON=/path/to/python3.11)
	@command -v $(firstword $(CXX)) > /dev/null || $(call fail,$(CXX) is not there: install a C++17 compiler; on Debian: apt install g++)
	@echo "Set-up, 1 of 4: virtual environment in $(VENV) (seconds)"
	@$(PYTHON) -m venv $(VENV) || $(call fail,$(PYTHON) has no venv: on Debian: apt install python3.11-venv)
	@echo "Set-up, 2 of 4: packages of $(LOCK), about 1 GB (minutes; most of it is TensorFlow)"
	@$(PIP) --requirement $(LOCK) || $(call fail,packages are missing: see pip's message above; they come \
	from the network and are for Python 3.11 on x86-64 Linux)
	@echo "Set-up, 3 of 4: cone-beam operators are compiled (about a minute)"
	@$(PIP) --quiet --no-build-isolation --editable third_party/pyronn_layers || \
	$(call fail,the operators in third_party/pyronn_layers were not built: see the compiler's message above)
	@echo "Set-up, 4 of 4: voxelization operators are compiled (half a minute)"
	@$(PIP) --quiet --no-build-isolation --editable . || \
	$(call fail,the operators in fedsim_tf/shape/native were not built: see the compiler's message above)
	@$(BIN)/pip check || $(call fail,packages do not fit together: $(AGAIN) and start again)
	@touch $(STAMP)

# The environment of TENSORFLOW alone.
clean:
	rm -rf $(VENV) build *.egg-info
