# Everything runs in .venv, which the first command makes. `make help` lists the commands.
# Another Python: make PYTHON=python3.12 train

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
BUILT := $(VENV)/.built
SOURCES := pyproject.toml setup.py $(shell find nncore/_kernels -name '*.p[yx][xd]' -o -name '*.[ch]')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train train-fashion train-cnn train-resnet train-vowels train-characters test bench lint types wheel clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 22

train: $(BUILT)  ## train on handwritten digits, save, reload, draw the curve
	$(RUN) examples/train_digits.py

train-fashion: $(BUILT)  ## the same on Fashion-MNIST
	@$(RUN) examples/train_fashion.py

train-cnn: $(BUILT)  ## a convolutional network on Fashion-MNIST: 92 %; EPOCHS=2 is shorter
	@$(RUN) examples/fashion_mnist_cnn.py $(EPOCHS)

train-resnet: $(BUILT)  ## a residual network on it; DEPTH=20 is deeper, EPOCHS=1 shorter
	@$(RUN) examples/resnet.py $(or $(DEPTH),8) $(EPOCHS)

train-vowels: $(BUILT)  ## a recurrent network on speech: nine speakers, 97 %
	@$(RUN) -c 'import importlib.util as u, sys; sys.exit(u.find_spec("aeon") is None)' || \
	  $(RUN) -m pip install --quiet --disable-pip-version-check --no-deps aeon  # its data
	@$(RUN) examples/japanese_vowels.py $(EPOCHS)

train-characters: $(BUILT)  ## a recurrent network that writes Python; MINUTES=10 is better
	@$(RUN) examples/character_model.py $(MINUTES)

test: $(BUILT)  ## all tests
	$(RUN) -m pytest -n 2

bench: $(BUILT) $(VENV)/.bench  ## nncore beside the libraries that .venv has: table, JSON, picture
	$(RUN) -m bench.compare $(BENCH)

lint: $(BUILT) $(VENV)/.lint  ## ruff and cython-lint
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint nncore

types: $(BUILT) $(VENV)/.lint  ## mypy, and the types against what is there at run time
	$(RUN) -m mypy nncore examples
	$(RUN) -m mypy.stubtest nncore --ignore-missing-stub --mypy-config-file pyproject.toml

wheel: $(BUILT) $(VENV)/.lint  ## the wheel and the source distribution, in dist/
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

# The tools of an extra, without building nncore once more.
EXTRA = import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
  print(*p["optional-dependencies"][sys.argv[1]], sep="\n")

$(VENV)/.bench $(VENV)/.lint: $(VENV)/.%: pyproject.toml | $(BUILT)
	@$(RUN) -c '$(EXTRA)' $* > $(VENV)/$*.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r $(VENV)/$*.txt
	@touch $@
