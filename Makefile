# Everything sets itself up: a fresh clone needs Python 3.11 or later and nothing else.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
INSTALLED_FOR_TESTS := $(VENV)/.installed-for-tests

.PHONY: run test check venv

# The whole pipeline on the miniature preset. The last line printed is the report's path.
run: $(INSTALLED)
	@$(VENV)/bin/comat run miniature

test: check
	$(VENV)/bin/python -m pytest

# What needs no model: style, types and the direction of imports.
check: $(INSTALLED_FOR_TESTS)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright
	$(VENV)/bin/python -m pytest -q tests/test_import_direction.py

venv: $(INSTALLED_FOR_TESTS)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "comat needs Python 3.11 or later: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(INSTALLED_FOR_TESTS): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(INSTALLED)
