# The targets of the project. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: help demo test serve check soak bench oracle lock clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

.venv/runtime: requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	touch $@

.venv/dev: requirements-dev.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.lock
	touch $@ .venv/runtime

demo: .venv/runtime ## Set up and run the main job on an embedded database
	@$(BIN)/python -m cli demo

serve: .venv/runtime ## Keep a sandbox ledger running under var/
	@$(BIN)/python -m cli serve

test: .venv/dev ## Set up and run every test
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/dev ## What CI runs: lint, types, contract, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist loadfile

soak: .venv/dev ## Try every invariant on a million random histories
	PYTHONPATH=.:tests $(BIN)/python tests/soak.py

bench: .venv/dev ## Measure, and print ratios
	PYTHONPATH=.:tests:bench $(BIN)/python bench/query.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/report.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/batch.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/score.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/graph.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/justice.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/evidence.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/evidence_search.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/evidence_sql.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/evidence_robustness.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/log.py
	PYTHONPATH=.:tests:bench $(BIN)/python bench/linking.py

oracle: .venv/dev ## Build the reference of the perceptual hash, where there is a compiler
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-oracle.lock

# Tools of others that verify our log, in an environment of their own (tests/test_judges.py).
JUDGE_PYTHON ?= python3.12
.judges:
	$(JUDGE_PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: aics-tlog==0.2.1 sigstore==4.5.1

lock: .venv/dev ## Pin every dependency with its hashes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra dev --extra analysis --extra evidence -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove what the other targets made
	rm -rf .venv .judges var
