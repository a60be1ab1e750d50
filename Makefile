# Every target does its own set-up: on a fresh machine it makes .venv and installs what the lock names.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check nats faults faults-ci bench cluster clean

run: .venv/run.stamp          ## the whole service on http://127.0.0.1:8080
	@exec $(BIN)/notelog serve

test: .venv/dev.stamp         ## all tests, at most ten minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/dev.stamp        ## style, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

nats: .venv/dev.stamp         ## the distributed log: contract, models, histories and nodes; at most eight minutes
	NOTELOG_NATS=1 $(BIN)/python -m pytest tests/contract tests/events/test_jetstream_log.py \
		tests/properties/test_log_model.py tests/client/test_nodes.py tests/cluster
	NOTELOG_TEST_LOG="one server" $(BIN)/python -m pytest $(SERVED)
	NOTELOG_TEST_LOG="three servers" $(BIN)/python -m pytest $(SERVED)

SERVED := tests/properties/test_feeds.py tests/properties/test_rest_model.py tests/safety/test_history.py

faults-ci: .venv/dev.stamp    ## the fault tests in the counts of tests/sizes.py for CI, at most ten minutes on two cores
	NOTELOG_FAULTS=ci $(BIN)/python -m pytest -m faults tests/faults tests/safety tests/audit -rPs

faults: .venv/dev.stamp       ## the long form of the fault tests
	NOTELOG_FAULTS=long $(BIN)/python -m pytest -m faults

bench: .venv/bench.stamp      ## all measurements, into docs/BENCHMARKS.md; more than an hour; needs wrk, strace
	@for program in wrk strace; do command -v $$program >/dev/null || \
		{ echo "make bench needs $$program; install it, on Debian with apt install $$program" >&2; exit 1; }; done
	$(BIN)/python -m bench all

cluster: .venv/cluster.stamp  ## three NATS servers and three nodes on loopback, to try the distributed log
	$(BIN)/honcho -f Procfile.cluster start

clean:
	rm -rf .venv build *.egg-info

.venv/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "notelog needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/run.stamp: .venv/python.stamp pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

.venv/dev.stamp: .venv/python.stamp pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test,check]'
	@touch $@ .venv/run.stamp

.venv/bench.stamp: .venv/python.stamp pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test,check,bench]'
	@touch $@ .venv/run.stamp .venv/dev.stamp

.venv/cluster.stamp: .venv/python.stamp pyproject.toml requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[cluster]'
	@touch $@ .venv/run.stamp
