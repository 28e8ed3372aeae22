# `make demo` and `make test` each start from a bare clone: create .venv, install, run.
# Once installed, nothing here runs pip or needs the network.

# Not to be set from outside: it is deleted and made anew when needed.
override VENV := .venv
STAMP := $(VENV)/installed
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY = $(VENV)/bin/python
SETUP = $(if $(filter command%,$(origin PY)),,$(STAMP))

# Written last, the stamp holds the folder of the installation: without it an installation was
# interrupted, with another folder in it .venv was moved, and either way .venv is made anew.
READY := $(shell [ "$$(cat $(STAMP) 2>/dev/null)" = "$(CURDIR)" ] && $(VENV)/bin/python -c '' 2>/dev/null && echo yes)

.PHONY: help demo test lint bench docs clean FORCE

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile
	@echo "PYTHON=python3.12  after any of these: the Python (3.11 or later) that $(VENV) is made from"
	@echo "PY=/path/python    after any of these: your own environment instead of $(VENV), with"
	@echo "                   Detectron2 and \`pip install -e '.[dev]'\` in it; nothing is installed"
	@echo "For a quick look while you edit: $(VENV)/bin/python -m pytest -n 2 -m 'not slow'"

demo: $(SETUP)  ## set up if needed, then train and evaluate on phantoms: results in output/demo
	$(PY) -m ctmasknet demo

test: lint  ## set up if needed, then lint and run all tests
	$(PY) -m pytest -n 2 --dist loadfile

lint: $(SETUP)  ## set up if needed, then ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(SETUP)  ## set up if needed, then time the models beside their peers: under 5 minutes
	$(PY) tools/benchmark.py

docs: $(SETUP)  ## set up if needed, then write docs/inputs.md from tests/inputs_table.py
	$(PY) tests/inputs_table.py

clean:  ## remove .venv, the demo's phantoms and results, and caches; other results in output/ stay
	rm -rf $(VENV) output/demo output/demo_quick datasets/phantom build dist *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find ctmasknet ctmasknet_detectron2 datasets tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
	@rmdir output 2>/dev/null || true

$(STAMP): pyproject.toml setup.py $(wildcard ctmasknet_detectron2/*.*) $(if $(READY),,FORCE)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: '$(PYTHON)' is not Python 3.11 or later; name one: make PYTHON=/path/python3.11" >&2; \
		exit 2; }
	@echo "$(if $(READY),Updating,Setting up) $(VENV): the first time about 6 GB and a few minutes"
	@$(if $(READY),,rm -rf $(VENV) && "$(PYTHON)" -m venv $(VENV))
	$(VENV)/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	$(VENV)/bin/python tools/install_detectron2.py
	@echo "$(CURDIR)" > $@
