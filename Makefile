# Two commands: `make reproduce` trains everything and builds the book, `make test` checks everything.
# Only Python and make have to be there; the rest goes into .venv, pinned by requirements.lock.

PYTHON   ?= python3
VENV     ?= .venv
CARS     ?=
SIZE     ?=
OUT      ?= gpu-results
STEPS    ?=
MINUTES  ?=
SMALL    ?=
FROM     ?=
COMMIT   ?=
JOBS     ?= $(shell $(PYTHON) -c 'import os; print(min(8, os.cpu_count() or 1))' 2>/dev/null || echo 1)

PY    := $(VENV)/bin/python
READY := $(VENV)/.ready
# Whatever was given as NAME=value on the command line, word by word: workflow/command_line.py knows the names.
# Of the environment only the short forms count: who exports CLUSTER may mean something else.
quoted = '$(subst ','\'',$(1))'
SHORT  = DATA DATA_DIR DATA_DIR_% WEIGHTS_DIR PROFILE RECIPES METHODS LABELS SEEDS SWEEP RUN RUNS JOBS DRY_RUN
origin_of = $(if $(filter $(SHORT),$(1)),command environment,command)
GIVEN  = $(foreach name,$(filter-out PYTHON VENV MAKEOVERRIDES MAKEFLAGS -%,$(.VARIABLES)),\
           $(if $(filter $(call origin_of,$(name)),$(firstword $(origin $(name)))),$(call quoted,$(name)=$($(name)))))

# A kernel registered elsewhere must not run our notebooks; parallel processes must not share threads.
export JUPYTER_PREFER_ENV_PATH := 1
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup reproduce runs sweep book test test-long test-slurm lint format bench gpu gpu-pack gpu-merge trust mutants studio notebooks links check-links lock clean

help: ## show this list
	@echo 'make <target> [DATA=studio|carparts|carvana|folder] [DATA_DIR=folder] [PROFILE=quick|full] [JOBS=2]'
	@echo "              [RUN='any parameter of a run, such as: seeds=0,1 labels=4,8 methods=mstl,oracle']"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## create .venv from the lock file (once; again when the lock file changes)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: Python 3.11 or later is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true);" \
	       "name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PY) -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "error: cannot create $(VENV); on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PY) -m pip install --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

reproduce: $(READY) ## train every run, draw the figures, build the book (some 20 minutes on two cores)
	@$(PY) workflow/run.py reproduce $(GIVEN)

runs: $(READY) ## only the training runs and their tables in results/
	@$(PY) workflow/run.py runs $(GIVEN)

sweep: $(READY) ## the grid of the results chapter: SWEEP=main DATA_DIR_CARPARTS=folder [DRY_RUN=1] (hours)
	@$(PY) workflow/run.py sweep $(GIVEN)

book: $(READY) ## the book from the results in the repository, without training
	@$(PY) workflow/run.py book $(GIVEN)

test: $(READY) ## every test, notebooks included, in parallel
	@$(ONE_THREAD) $(PY) -m pytest -n $(JOBS) --dist worksteal -m "not long and not slurm" --nbmake --nbmake-timeout=300 tests notebooks

test-long: $(READY) ## the tests that take minutes
	@$(ONE_THREAD) $(PY) -m pytest -n $(JOBS) --dist worksteal -m long tests

test-slurm: $(READY) ## the workflow through a SLURM controller on this machine (root, slurm-wlm and munge)
	@$(ONE_THREAD) $(PY) -m pytest -m slurm tests/test_slurm.py

gpu: $(READY) ## all that a GPU can tell in 8 minutes: OUT=folder [STEPS="tests full speed t4 sweep"] [SMALL=1]
	@$(PY) workflow/gpu --out "$(OUT)" $(if $(STEPS),--steps $(STEPS)) $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(DATA_DIR_CARPARTS),--carparts "$(DATA_DIR_CARPARTS)") $(if $(SMALL),--small) \
	  $(if $(SWEEP),--sweep "$(SWEEP)")

gpu-pack: $(READY) ## what a bare GPU machine without a network needs beside the checkout, into .gpu/
	@$(PY) workflow/gpu/pack.py $(if $(DATA_DIR_CARPARTS),--carparts "$(DATA_DIR_CARPARTS)")

gpu-merge: $(READY) ## take the tables of make gpu into results/gpu: FROM=folder [COMMIT=...]
	@$(PY) workflow/gpu/merge.py "$(FROM)" $(COMMIT)

trust: $(READY) ## every test that proves a claim, and the tables of the page "How we know it is right"
	@$(ONE_THREAD) $(PY) -m pytest -n $(JOBS) --dist worksteal -m trust --trust results/trust tests

lint: $(READY) ## style of code and notebooks
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(READY) ## let ruff correct the style
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(READY) ## measure what the speed claims say, and compare with benchmarks/baseline.json
	@$(ONE_THREAD) $(PY) benchmarks

mutants: $(READY) ## plant small faults and see whether the tests notice (half an hour on one core)
	@$(ONE_THREAD) $(PY) tools/mutants.py --jobs $(JOBS)

studio: $(READY) ## render studio cars with Mitsuba: CARS=300 SIZE=480x320
	@$(PY) -m mstl.render $(if $(CARS),--cars $(CARS)) $(if $(SIZE),--size $(SIZE)) --jobs $(JOBS)

notebooks: $(READY) ## write notebooks/*.ipynb from notebooks/*.py
	@$(PY) tools/pair.py notebooks/*.py

links: $(READY) ## write the repository's address, named in pyproject.toml, wherever it is needed
	@$(PY) tools/links.py

check-links: $(READY)
	@$(PY) tools/links.py --check

lock: ## pin the newest versions anew (needs uv)
	uv pip compile --upgrade --universal --generate-hashes --all-extras --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --python-version 3.11 pyproject.toml --output-file requirements.lock

clean: ## remove what can be made again, except .venv and finished runs
	rm -rf _build _staging .snakemake .pytest_cache .ruff_cache build dist *.egg-info
