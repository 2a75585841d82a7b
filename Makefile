# Two commands on a fresh machine: `make train` and `make test`. Everything lives in .venv.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
TORCH_CPU := --index-url https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help venv train test lab docs course lint install-dev install-cpu install-gpu check-gpu gpu-report clean

help:  ## show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 14

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found: install it, or name it with make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: settings.ini setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: settings.ini setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs]'
	@touch $@ .venv/installed

venv: .venv/installed  ## create .venv and install the package into it

install-dev: .venv/installed-dev  ## the same with everything that tests and docs need

train: .venv/installed  ## train a ViT on the built-in images and say where the results are
	$(BIN)/vit train --preset shapes

test: .venv/installed-dev lint  ## everything that CI checks: lint, lessons, docs, wheel, tests; BFLOAT16=yes or no: as on a CPU where that format pays, or not
	$(BIN)/python tests/run_lessons.py
	$(BIN)/python docs/build.py
	$(BIN)/python tests/check_wheel.py
	$(BIN)/python -m pytest -q tests

lab: .venv/installed-dev  ## open the first lesson in JupyterLab
	$(BIN)/jupyter lab nbs/01_patch_embedding.ipynb

docs: .venv/installed-dev  ## build the site into _build/site
	$(BIN)/python docs/build.py

course: .venv/installed-dev  ## the lessons for students and for teachers, into _build/course; LESSON=07: only that one
	$(BIN)/python docs/course.py $(LESSON)

lint: .venv/installed-dev  ## ruff over the library, the tests and the docs scripts
	$(BIN)/ruff check vit_from_scratch tests docs setup.py

install-cpu: $(BIN)/python  ## PyTorch without CUDA: a smaller download for machines without a GPU
	$(BIN)/python -m pip install --quiet $(TORCH_CPU) torch torchvision
	$(MAKE) venv

install-gpu: $(BIN)/python  ## PyTorch with CUDA from PyPI, in place of a CPU build
	$(BIN)/python -m pip uninstall --quiet --yes torch torchvision
	$(BIN)/python -m pip install --quiet torch torchvision
	$(MAKE) venv check-gpu

check-gpu: .venv/installed  ## what PyTorch sees here, and 20 training steps on it
	$(BIN)/vit info --check
	@if [ -x $(BIN)/pytest ]; then $(BIN)/python -m pytest -q -rs tests/test_cuda.py; else echo "make install-dev adds the GPU tests to this check"; fi

gpu-report: .venv/installed-dev  ## tests, speed and full runs on a CUDA GPU, into _build/gpu_report; ROOT=data holds cifar10/, cifar100/, gtsrb/
	$(BIN)/python nbs/results/gpu_report.py --root $(or $(ROOT),data)

clean:  ## remove what was built; runs and .venv stay
	rm -rf _build build dist *.egg-info .pytest_cache .ruff_cache .hypothesis docs/node_modules
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
