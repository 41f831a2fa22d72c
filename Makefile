# Every command sets up what it needs first: a virtual environment in .venv/ with the versions in constraints.txt.
#
#   make serve      run the service on this machine (LIGHT=1: on the CPU and without torch, which trains nothing)
#   make test       run all tests
#   make test-fast  run the tests that need no server and no Redis
#   make check      format, lint, types, imports, all tests
#   make format     fix formatting and what else can be fixed automatically
#   make bench      measure, as ratios within one run (ONLY=latency: one of them)
#   make audit      look for known vulnerabilities of the versions in constraints.txt, over the network
#   make lock       renew constraints.txt: the newest versions that pyproject.toml allows

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PACKAGES = --constraint constraints.txt --editable '.[$(EXTRAS)]'

# Sets up .venv/ with $(EXTRAS). uv takes a third of pip's time, and is told the index that pip was told; where it does not
# run, or pip knows another way to the packages, pip installs them.
define install
	@$(PYTHON) bin/check-python.py
	$(PYTHON) -m venv .venv
	@$(PIP) --only-binary :all: uv && \
		index=$$($(BIN)/python -m pip config list | sed -n "s/.*\.index-url='\(.*\)'/--default-index=\1/p" | tail -n 1) && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $$index $(PACKAGES) || \
		{ echo 'uv could not install it all; pip installs the rest'; $(PIP) $(PACKAGES); }
endef

# Tests that run within pytest's own process, apart from two of a command: no Redis, no server, no training run.
FAST := tests/test_errors.py tests/app/test_faces.py tests/app/test_images.py tests/app/test_negotiation.py \
	tests/worker/test_resident_models.py tests/models --ignore=tests/models/training

.PHONY: serve test test-fast check lint bench audit lock install check-containers check-machines check-chart format

serve: $(if $(LIGHT),.venv/installed-light,.venv/installed)
	@$(BIN)/doppel serve

# Five processes for two cores, because many tests wait for other processes.
test: install
	@$(BIN)/pytest -n 5 --dist loadfile --no-loadscope-reorder

test-fast: install
	@$(BIN)/pytest -n 2 $(FAST)

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

check-containers check-machines check-chart:
	@bin/$@

# One file for every supported Python and platform. It works before .venv/ does, since the old pins may not fit a new
# pyproject.toml.
lock:
	@$(PYTHON) bin/check-python.py
	@$(PYTHON) -m venv .venv/lock
	@.venv/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --no-annotate \
		--custom-compile-command 'make lock' --output-file constraints.txt pyproject.toml

# Strict, so that it fails where nothing can be looked up.
audit:
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@.venv/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

install: .venv/installed

# The stamp is written last: a set-up that broke off is begun again.
.venv/installed: EXTRAS := worker,dev
.venv/installed: pyproject.toml constraints.txt
	$(install)
	@touch $@ .venv/installed-light

# What serving on a CPU needs. Neither set-up takes away what the other has installed.
.venv/installed-light: EXTRAS := light
.venv/installed-light: pyproject.toml constraints.txt
	$(install)
	@touch $@
