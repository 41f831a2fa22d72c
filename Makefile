# The only commands anyone needs. Each sets up what it depends on: a virtual environment in .venv/.
#
#   make serve   run the service on this machine      make test    run the tests
#   make check   format, lint, types, imports, tests  make bench   measure, as ratios within one run (ONLY=latency)

PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test check lint bench install check-containers format

serve: install
	@$(BIN)/doppel serve

test: install
	@$(BIN)/pytest -n 2 --dist loadfile

check: lint test

lint: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: install
	@$(BIN)/python -m bench $(ONLY)

format: install
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

check-containers:
	@bin/check-containers

install: .venv/installed

# The stamp is written last: a set-up that broke off is begun again.
.venv/installed: pyproject.toml
	@$(PYTHON) bin/check-python.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[worker,dev]'
	@touch $@
