# The commands of daily work. `make help` lists them; docs and CI call these and nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

STEP := scripts/step
PYTHON := .cache/venv/bin/python
# The system tests run in as many processes.
TEST_WORKERS ?= 2
export PYTHONPATH := tests:clients/python
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup build demo test test-fast test-system trino-differences bench fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## tools, Python packages and the JDBC driver, into .cache/
	@$(STEP) setup scripts/setup

build: ## the binary: target/release/nunatak
	@$(STEP) setup scripts/setup build
	@$(STEP) build cargo build --release --locked

demo: ## a year of flights: ingest, five questions, time travel (KEEP=1 leaves the data)
	@$(STEP) setup scripts/setup build python
	@$(STEP) build cargo build --release --locked --quiet
	@KEEP=$(KEEP) $(PYTHON) demo/demo.py

test: ## everything: format, lints, unit tests, system tests with real clients
	@$(STEP) setup scripts/setup
	@$(STEP) format cargo fmt --check
	@$(STEP) lints cargo clippy --release --all-targets --locked -- -D warnings
	@$(STEP) unit-tests cargo test --release --locked
	@$(STEP) build cargo build --release --locked
	@printf '\n== system-tests\n'
	@$(PYTHON) -m pytest -n $(TEST_WORKERS) --dist loadfile

test-fast: ## the inner loop: format and unit tests, no servers
	@$(STEP) setup scripts/setup build
	@$(STEP) format cargo fmt --check
	@$(STEP) unit-tests cargo test --release --locked

test-system: ## system tests alone, against the binary that is there (ARGS='-k name')
	@$(PYTHON) -m pytest $(ARGS)

trino-differences: ## docs/trino-differences.md: the statements of tests/system/logic on the binary that is there and on a real Trino
	@$(STEP) setup scripts/setup python servers
	@$(PYTHON) -m nunatak_testing.differences

bench: ## TPC-H and scans beside DataFusion and DuckDB, writes beside Spark, results fetched beside Trino (TPCH_SCALE=1, FETCH_ROWS=10000000)
	@$(STEP) setup scripts/setup build python java spark servers
	@$(STEP) build cargo build --release --locked
	@$(PYTHON) benchmarks/tpch.py
	@$(PYTHON) benchmarks/scan.py
	@$(PYTHON) benchmarks/writes.py
	@$(PYTHON) benchmarks/fetch.py

fuzz: ## fuzzes what reads metadata, manifests, Puffin files and deletion vectors (FUZZ_SECONDS=60 each; needs a nightly toolchain)
	@$(STEP) setup scripts/setup build fuzz
	@cp Cargo.lock fuzz/Cargo.lock
	@for target in metadata manifest_list manifest puffin deletion_vector; do \
		$(STEP) fuzz-$$target env ASAN_OPTIONS=detect_odr_violation=0 cargo +nightly fuzz run --fuzz-dir fuzz --release $$target -- -max_total_time=$${FUZZ_SECONDS:-60} -rss_limit_mb=4096 -malloc_limit_mb=2048; \
	done

clean: ## removes target/ and .cache/
	rm -rf target .cache
