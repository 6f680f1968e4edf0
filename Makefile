# Shortcuts only: README.md gives each one as plain commands.
PYTHON ?= python3
BIN := .venv/bin
TORCH_INDEX ?=
NB ?=
REPO ?=

.PHONY: help setup course run lab test test-quick outputs data claims publish lint clean
help:            ## this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed 's/: .*##/\t/' | expand -t 14

setup: .venv/ready ## .venv, packages, bundled model (once; repeat it after an interruption)
.venv/ready: requirements.txt .constraints.txt
	@$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), f'Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11'"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet torch==2.13.0 --index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c .constraints.txt
	$(BIN)/python -m helpers.models
	@touch .venv/ready

course: setup    ## every notebook in order, an HTML site in build/
	$(BIN)/python -m helpers.course run

run: setup       ## one notebook: make run NB=05
	$(BIN)/python -m helpers.course run $(NB)

lab: setup       ## JupyterLab at 00_start_here
	$(BIN)/python -m jupyterlab notebooks/00_start_here.ipynb

test: setup      ## everything: units, forms, every notebook
	$(BIN)/python -m pytest
	COURSE_BARS=0 $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=900 -p no:cacheprovider notebooks

test-quick: setup ## units, forms, and 00 with two steps: at most 3 minutes
	$(BIN)/python -m pytest -m "not slow"
	COURSE_BARS=0 COURSE_STEPS=0.05 $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 -p no:cacheprovider notebooks/00_start_here.ipynb

outputs: setup   ## for authors: run the notebooks and commit their outputs, cleaned
	$(BIN)/python -m helpers.course run --in-place $(NB)

data:            ## rebuild data/*.jsonl from the wording
	$(PYTHON) -m data.make_data

claims: setup    ## write data/claims.md from the records and the rules
	$(BIN)/python -m helpers.claims

publish: setup   ## write the repository's address into badges and Colab cells: make publish REPO=owner/name
	$(BIN)/python -m helpers.course publish $(REPO)

lint: setup      ## ruff, as CI runs it
	$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check .

clean:           ## remove what was made: build/, .cache/, .venv/
	rm -rf build .cache .venv .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
