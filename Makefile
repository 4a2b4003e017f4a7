# Everything runs in .venv, which the first command makes. `make help` lists the commands.
# Another Python: make PYTHON=python3.12 train

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
BUILT := $(VENV)/.built
SOURCES := pyproject.toml setup.py $(shell find nncore/_kernels -name '*.p[yx][xd]' -o -name '*.[ch]')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train train-fashion test bench lint types wheel clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 22

train: $(BUILT)  ## train on handwritten digits, save, reload, draw the curve
	$(RUN) examples/train_digits.py

train-fashion: $(BUILT)  ## the same on Fashion-MNIST
	@$(RUN) examples/train_fashion.py

test: $(BUILT)  ## all tests
	$(RUN) -m pytest

bench: $(VENV)/.bench  ## nncore beside the libraries that .venv has: table, JSON, picture
	$(RUN) -m bench.compare $(BENCH)

lint: $(VENV)/.lint  ## ruff and cython-lint
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(VENV)/bin/cython-lint nncore

types: $(VENV)/.lint  ## mypy, and the stubs against the compiled modules
	$(RUN) -m mypy nncore
	$(RUN) -m mypy.stubtest nncore --ignore-missing-stub --mypy-config-file pyproject.toml

wheel: $(VENV)/.lint  ## the wheel and the source distribution, in dist/
	rm -rf dist
	$(RUN) -m build --quiet
	@ls -l dist

clean:  ## remove what was built, and .venv
	rm -rf $(VENV) build dist *.egg-info .*_cache .benchmarks
	find nncore tests bench -name '*.so' -delete
	find nncore tests bench -name __pycache__ -exec rm -rf {} +

# ---- the environment -----------------------------------------------------------------------

$(RUN):
	@command -v $(PYTHON) > /dev/null || \
	  { echo "nncore needs Python 3.11 or newer; there is no $(PYTHON)" >&2; exit 1; }
	@$(PYTHON) tools/check_machine.py
	$(PYTHON) -m venv --clear $(VENV)

$(BUILT): $(SOURCES) | $(RUN)
	@echo "building nncore in $(VENV); this takes a minute or two"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[examples,test]'
	@touch $@

$(VENV)/.bench: $(BUILT)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(VENV)/.lint: $(BUILT)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@
