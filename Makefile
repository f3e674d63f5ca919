# Every target sets up what it needs; `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.complete
SHARED ?= ../shared
PYTEST_WORKERS ?= 2
UI_PORT ?= 3000
WHEEL_PYTHON ?= $(BIN)/python

export DAGSTER_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo dev ui test coverage test-fast check bench bench-short docs faults faults-short format lock wheel-check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(STAMP) ## the environment alone (.venv); fast when nothing changed

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed; '$(PYTHON)' is older. Try: make PYTHON=python3.12 setup"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -i '^pip==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev --editable ".[research]"
	@touch $(STAMP)

demo: $(STAMP) ## the whole pipeline on the emulated market, then a summary
	$(BIN)/smallcaps demo

dev: $(STAMP) ## Dagster's UI on localhost:3000, on the emulator and data/demo
	SMALLCAPS_SOURCE=emulator SMALLCAPS_DATA_DIR=$${SMALLCAPS_DATA_DIR:-data/demo} $(BIN)/smallcaps ui --port $(UI_PORT)

ui: $(STAMP) ## Dagster's UI on localhost:3000, on the vendor and data
	$(BIN)/smallcaps ui --port $(UI_PORT)

test: $(STAMP) ## the test suite
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder

coverage: $(STAMP) ## the same, a fifth slower: at least 95 % of the branches of core, polygon and lake
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=
	@$(BIN)/coverage report --fail-under 95 --skip-covered --include '*/core/*,*/polygon/*,*/lake/*'

test-fast: $(STAMP) ## the tests that take no more than a few seconds
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow and not browser"

check: $(STAMP) ## ruff, mypy, import contracts and budgets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy smallcaps_assets smallcaps_assets_tests campaigns
	$(BIN)/lint-imports
	@if test -f $(SHARED)/tools/measure_style.py; then \
	  $(BIN)/python $(SHARED)/tools/measure_style.py . --src smallcaps_assets --tests smallcaps_assets_tests \
	    --check $(SHARED)/tools/style_budgets.json; \
	else echo "budgets not measured: $(SHARED)/tools/measure_style.py is not here"; fi

bench: $(STAMP) ## benchmarks, as a table and as data/reports/benchmarks.json
	$(BIN)/python benchmarks/run.py $(BENCH)

bench-short: $(STAMP) ## their short form, for orientation: less of everything, a minute
	$(BIN)/python benchmarks/run.py --short $(BENCH)

docs: $(STAMP) ## write the pages made from the code: data dictionary, JSON, .env.example
	$(BIN)/python -m smallcaps_assets.cli.pages.generated

faults: $(STAMP) ## the fault campaign: kills, power failures, damage; about an hour on two idle cores
	$(BIN)/python -m campaigns.faults --report docs/reliability.md

faults-short: $(STAMP) ## its short form, which belongs to the gate
	$(BIN)/python -m campaigns.faults --short

audit-pins: $(STAMP) ## look the pinned versions up among known vulnerabilities, where the index has them
	@test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && \
	  $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check "pip-audit==2.10.1"; }
	@$(VENV)/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip \
	  --progress-spinner off --format json 2>/dev/null | $(BIN)/python -m campaigns.pins

format: $(STAMP) ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP) ## write constraints.txt from the environment
	{ echo "# Every version the project is tested with, for pip's -c; made anew by \`make lock\`."; \
	  $(BIN)/python -m pip freeze --all --exclude-editable; } | sort -f > constraints.txt

wheel-check: $(STAMP) ## build the wheel, install it into an empty environment, use it there
	$(BIN)/python -m smallcaps_assets_tests.packaging.wheels $(WHEEL_PYTHON)

clean: ## remove the environment and caches; data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
