# Everything sets itself up: a fresh clone needs Python 3.11 or later and nothing else.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
INSTALLED_FOR_TESTS := $(VENV)/.installed-for-tests
TEST_PROCESSES ?= 2

.PHONY: run test check venv

# The whole pipeline on the miniature preset. The last line printed is the report's path.
run: $(INSTALLED)
	@$(VENV)/bin/comat run miniature

# Files of tests are spread over processes; each takes one core, and several gigabytes with the Prefect server, the
# workers and the trainings that its tests start.
test: check
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

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
