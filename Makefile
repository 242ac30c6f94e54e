# Everything sets itself up in .venv from Python 3.11+ alone, and reuses it the next time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# the versions this was developed with; CONSTRAINTS= takes the newest ones, CONSTRAINTS=build/lowest.txt those of `make lowest`
CONSTRAINTS ?= constraints.txt
# a thread each: processes of several threads that share cores wait for each other
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

SEED ?= 0
# every fifth mutant of a function
MUTANTS ?= *[16]

.DEFAULT_GOAL := help
.PHONY: help demo test test-all faults coverage mutation lint type format docs licences audit lowest wheel clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix --constraint ,$(CONSTRAINTS)) --editable '.[dev]'
	@touch $@

demo: $(READY) ## train SPG-plain, SPG and seeded SPG on toy birds (seven minutes), compare them, draw galleries
	$(BIN)/python experiments/compare.py --output runs/demo --recipe seeded experiment=toybirds_seeded \
		-- training_free.name=feature_pca training_free.image_side=224

test: $(READY) ## the tests (CPU, no network)
	$(PYTEST) -m "not slow"

test-all: $(READY) ## the slow tests, too
	$(PYTEST)

faults: $(READY) ## two thousand generated faults of every input (docs/reliability.md); SEED= draws others
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults --cases 2000 --seed $(SEED)

$(VENV)/.quality: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix --constraint ,$(CONSTRAINTS)) --editable '.[quality]'
	@touch $@

coverage: $(VENV)/.quality ## the lines of src that the tests run, twice: compiled functions as Python, too
	rm -rf build/coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow"
	OMP_NUM_THREADS=1 NUMBA_DISABLE_JIT=1 $(BIN)/python -m coverage run -m pytest tests/localization
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --show-missing

# in a copy without numba's decorator: mutmut leaves decorated functions out, and compiled ones cannot call mutants
mutation: $(VENV)/.quality ## mutants of spg/, localization/ and checkpoints/ against their tests (docs/reliability.md); MUTANTS= chooses
	rm -rf build/mutation
	mkdir -p build/mutation
	git archive HEAD | tar -x -C build/mutation
	ln -s ../../conf build/mutation/src/spg_lightning/conf
	sed -i.jit '/^@njit/d' build/mutation/src/spg_lightning/localization/*.py
	cd build/mutation && PYTHONPATH="$$PWD/src" OMP_NUM_THREADS=1 $(abspath $(BIN))/python -m mutmut run 'spg_lightning.$(MUTANTS)'

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(READY) ## check types
	$(BIN)/mypy

format: $(READY) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## build the site into build/site and check its links (no network)
	rm -rf build/site
	$(BIN)/python -m sphinx -E -q -W --keep-going -c docs -d build/doctrees . build/site
	$(BIN)/python docs/check_links.py build/site

licences: $(READY) ## list the licences of all dependencies; fails if one is not compatible with MIT
	$(BIN)/python docs/licences.py constraints.txt

audit: ## ask PyPI for known vulnerabilities of the pinned versions; fails if there is one, or a package cannot be checked
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

lowest: build/lowest.txt ## write the lowest versions that pyproject.toml allows into build/lowest.txt (needs uv)

build/lowest.txt: pyproject.toml
	@mkdir -p $(@D)
	uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --extra dev --no-annotate -o $@ $<

wheel: $(READY) ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove what was built, the environment included; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache src/*.egg-info
