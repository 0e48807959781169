# Two commands do all the set-up on a machine with Python 3.11+, make and pip: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FLOOR_TESTS := tests/certs tests/policy/test_decision.py tests/policy/test_shipped_bundles.py tests/adapters \
	tests/broker tests/integration/test_main_path.py
export PYTHONDONTWRITEBYTECODE :=
# One process more than there are cores: tests wait for other processes, too.
SPREAD := -n $(shell $(PYTHON) -c 'import os; print(min(8, 1 + (os.cpu_count() or 1)))') --dist loadgroup
ROOMS := certs audit policy links broker adapters gateway cli

.PHONY: demo test long brokers rotations patched-out lint types proto proto-check verifier floors campaign load rolled-back crash tamper fuzz bench lock clean help

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.done: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Comity needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.verifier/.done: requirements/verifier.txt $(VENV)/.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --ignore-requires-python --no-deps \
		--require-hashes --upgrade --target .verifier -r requirements/verifier.txt
	touch $@

.fuzzer/.done: requirements/fuzz.txt $(VENV)/.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--require-hashes --upgrade --target .fuzzer -r requirements/fuzz.txt \
		|| { mkdir -p .fuzzer; echo "no atheris for this machine: inputs are drawn without coverage"; }
	touch $@

.venv-proto/.done: requirements/proto.txt
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/proto.txt
	touch $@

demo: $(VENV)/.done  ## Run the demonstration federation, end to end.
	$(BIN)/comity demo

test: $(VENV)/.done .verifier/.done  ## Run all tests, on all cores.
	$(BIN)/pytest $(SPREAD)

long: $(VENV)/.done  ## Run the tests that take longest, which `make test` leaves out; some minutes.
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadgroup -m long $(if $(THIRD),--third $(THIRD))

rotations: $(VENV)/.done  ## Rotate and revoke every kind of key 20 times at 50 questions a second; 45 minutes.
	$(BIN)/python -m tests.rotations --rate $(or $(RATE),50) --times $(or $(TIMES),20)

brokers: $(VENV)/.done  ## Ask every case of the shipped bundles behind honest and lying brokers; minutes.
	EVERY=1 $(BIN)/pytest -n 0 -m "" -s tests/test_decisions_behind_brokers.py

patched-out: $(VENV)/.done .verifier/.done  ## Run the tests of each check again without it: they must fail.
	$(BIN)/python -m tests.patched_out $(if $(GREEN),--green) $(if $(FIFTH),--fifth $(FIFTH))

verifier: .verifier/.done  ## Install the log verifier that others wrote, for the tests.

lint: $(VENV)/.done  ## ruff, import rules, buf lint.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/buf lint

types: $(VENV)/.done  ## mypy, strict; the examples of the documentation too.
	$(BIN)/mypy $(addsuffix /comity,$(ROOMS))
	$(BIN)/mypy docs/examples

proto: .venv-proto/.done  ## Generate the contract's code beside each .proto.
	PROTO_PYTHON=.venv-proto/bin/python scripts/generate_proto.sh proto

proto-check: .venv-proto/.done  ## Fail if the committed code differs from what the contract generates.
	rm -rf .proto-check && PROTO_PYTHON=.venv-proto/bin/python scripts/generate_proto.sh .proto-check
	@for file in $$(cd .proto-check && find . -name '*_pb2*'); do \
		cmp "proto/$$file" ".proto-check/$$file" || { echo "run 'make proto' and commit the result"; exit 1; }; \
	done; rm -rf .proto-check; echo "generated code is as the contract says"

floors: $(VENV)/.done  ## Run the tests of the rooms and the main path on the lowest versions that are allowed.
	$(PYTHON) -m venv --clear .venv-floors
	$(BIN)/uv pip install --quiet --python .venv-floors/bin/python --resolution lowest-direct \
		-e '.[all]' --group dev
	.venv-floors/bin/python -m pytest -q $(SPREAD) $(FLOOR_TESTS)

campaign: $(VENV)/.done  ## 10,000 exchanges with a broker that lies at random; about an hour on two cores.
	$(BIN)/python -m tests.campaign --exchanges $(or $(EXCHANGES),10000) --jobs $(or $(JOBS),2)

load: $(VENV)/.done  ## 10,000 exchanges in flight: what broker, gateway and adapter hold; about five minutes.
	COMITY_LOAD=10000 $(BIN)/pytest tests/integration/test_load.py -s -n 0

rolled-back: $(VENV)/.done  ## An adapter comes back with an older log: refused, judged, pardoned; half a minute.
	$(BIN)/pytest tests/integration/test_rolled_back.py -m long -n 0

crash: $(VENV)/.done  ## Kill a process that appends 500 times, and take a machine's power 500 times.
	$(BIN)/python -m tests.crash --rounds $(or $(ROUNDS),500) --power $(or $(POWER),500)

tamper: $(VENV)/.done .verifier/.done  ## Change a log in every way, every byte of it; 10,000 trees; about 40 minutes.
	$(BIN)/python -m tests.tamper
	$(BIN)/python -m tests.trees --trees $(or $(TREES),10000)

fuzz: $(VENV)/.done .fuzzer/.done  ## 1,000,000 executions each of link decoder and envelope; 10 to 20 minutes.
	PYTHONPATH=.fuzzer $(BIN)/python -m tests.fuzz.run link --runs $(or $(RUNS),1000000)
	PYTHONPATH=.fuzzer $(BIN)/python -m tests.fuzz.run envelope --runs $(or $(RUNS),1000000)

bench: $(VENV)/.done  ## Measure the full path beside a bare gRPC fan-out, what hung providers and the log cost.
	$(BIN)/python -m benchmarks.fanout
	$(BIN)/python -m benchmarks.hung
	$(BIN)/python -m benchmarks.log
	$(BIN)/python -m benchmarks.decision

lock: $(VENV)/.done  ## Renew the lock files, with hashes and without an index URL.
	scripts/lock.sh

clean:  ## Remove what the targets above made.
	rm -rf $(VENV) .venv-proto .venv-floors .verifier .fuzzer .proto-check dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
