# Everything a fresh machine with Python >= 3.10 needs: `make demo` to see it, `make test` to trust it.
#
#   make demo      set up, and look into a sample checkpoint
#   make test      set up, and run everything that CI runs
#   make format    rewrite the sources as ruff wants them
#   make slow      the long tests: a thousand steps of every rule in every dtype, 50,000 mutants
#   make hostile   50,000 mutants of small files and the hostile pickles: nothing runs, nothing crashes
#   make bench     against the script one would write, on a 1.5 GB checkpoint
#   make corpus CORPUS=DIR   also the tests that need the corpus of real checkpoints

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints-dev.txt
SAMPLE := sample_checkpoints/gpt_step50.pt
WORKERS ?= 2
CORPUS ?=

.PHONY: demo test lint pytest format slow hostile bench corpus clean

demo: $(VENV)/.demo
	$(BIN)/optinspect show $(SAMPLE)

test: lint pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict optinspect
	$(BIN)/lint-imports --no-logo

pytest: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --timeout 1200 -m slow

hostile: $(VENV)/.dev
	$(BIN)/python -m pytest --timeout 1200 tests/hostile

bench: $(VENV)/.demo
	$(BIN)/python bench/run.py

corpus: $(VENV)/.dev
	@test -d "$(CORPUS)" || { echo "make corpus: say where it is: make corpus CORPUS=DIR" >&2; exit 2; }
	OPTINSPECT_CORPUS="$(abspath $(CORPUS))" $(BIN)/python -m tests.acceptance
	OPTINSPECT_CORPUS="$(abspath $(CORPUS))" $(BIN)/python -m pytest -n $(WORKERS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "make: $(PYTHON) is older than Python 3.10; name another: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch in the same command as all that depends on it: one resolution, one version. pip compiles what it installs, but
# not what it installs as editable: without the next line the first command would compile it, or, where Python may
# not write (PYTHONDONTWRITEBYTECODE, a read-only disk), every command would.
$(VENV)/.demo: pyproject.toml constraints-dev.txt | $(BIN)/python
	$(PIP) torch -e .
	$(BIN)/python -m compileall -q optinspect
	@touch $@

$(VENV)/.dev: pyproject.toml constraints-dev.txt | $(BIN)/python
	$(PIP) torch -e '.[dev]'
	$(BIN)/python -m compileall -q optinspect
	@touch $@ $(VENV)/.demo
