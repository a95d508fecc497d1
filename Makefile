# Two commands for a newcomer: `make demo` and `make test`. `make help` lists them all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
EXTRAS := api,codecs,confluent,embedded-redis,mysql,otel,postgres
ARGS ?=
SECONDS ?= 60
# The tests start Python two thousand times: each would compile the same files again.
unexport PYTHONDONTWRITEBYTECODE
# Tests wait for servers more than they work. Each worker has servers of its own.
WORKERS ?= 5
# In the order of the folders: the end-to-end tests begin early, and the short ones fill the end.
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
MINUTES ?= 5
MODEL_MINUTES ?= 10
SEED ?=
DATABASE ?= mysql
REDIS ?= cluster
RECORDS ?= 200000
USERS ?= 100000
BURSTS ?= 1000
CHANGES ?= 10000000
REPORT ?= soak.jsonl

.DEFAULT_GOAL := help
.PHONY: help demo live test tests check end-to-end unit fuzz model faults soak bursts mutations bench memory replay-benchmark audit-benchmark stack record-demo record-wire record-scenarios schemas image compose-test dist audit-dependencies release format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --editable '.[$(EXTRAS)]' --group dev --constraint constraints.txt
	@touch $@

demo: $(READY) ## the main job on recorded topics: pip only, no Java, no Docker, no root
	@$(BIN)/python -m demo $(ARGS)

live: $(READY) ## the real servers, the consumer and a script of admin changes (ARGS=--exit to end after it)
	@$(BIN)/python -m demo.live $(ARGS)

# The type checker takes one core for most of a minute, so the tests begin beside it.
test: $(READY) ## lint, types, and every test on the real servers
	@$(MAKE) --no-print-directory --jobs=2 check tests

tests: $(READY)
	MAKEFLAGS= $(PYTEST) $(ARGS)

end-to-end: $(READY) ## the end-to-end tests on another kind of Redis (REDIS=cluster, sentinel or standalone)
	$(PYTEST) --redis $(REDIS) tests/e2e tests/integration/api $(ARGS)

unit: $(READY) ## only the tests that need no servers but Redis
	$(BIN)/pytest -m "not stack" $(ARGS)

check: $(READY) ## lint, format, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

schemas: $(READY) ## write schemas/ anew from the rules and the models
	$(BIN)/python -m schemas

dist: $(READY) ## sdist, wheel, bill of materials and licences into dist/, the same bytes for the same commit
	@$(BIN)/python -m release dist

audit-dependencies: $(READY) ## known vulnerabilities of the runtime dependencies; error 3: the data can't be had here
	@$(BIN)/python -m release audit

release: $(READY) ## every step of a release but publishing: clean tree, tests, dist, vulnerabilities, notes
	@$(BIN)/python -m release

image: $(READY) ## build the image of the Dockerfile, run it, and build it again, with Docker, or as root with Buildah and Podman
	$(BIN)/pytest --capture=no --databases mysql --twice tests/deploy/test_container.py tests/deploy/test_image_twice.py $(ARGS)

compose-test: $(READY) ## bring docker-compose.yml up on a Docker engine, kill and restart each container, take it down (as root on Debian without an engine)
	$(BIN)/pytest --capture=no --verbose --compose --durations=0 --durations-min=10 tests/deploy/test_compose.py $(ARGS)

fuzz: $(READY) ## damaged records, keys, headers, schemas, files, requests and cookies for SECONDS=60: no exception but this program's own, no value in an error (SEED=…, ARGS="--only avro,cookies --each --report fuzz.jsonl")
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

model: $(READY) ## random histories of database, connector, topic and members for MODEL_MINUTES=10: the guard's rule holds (ARGS="--rule lineage": that of version 0.1 does not)
	@$(BIN)/python -m tests.model --minutes $(MODEL_MINUTES) $(ARGS)

faults: $(READY) ## a live system under random faults for MINUTES=5 (SEED=… repeats a run, DATABASE=mysql|mariadb|postgres, REDIS=cluster, ARGS="--workers 3")
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --database $(DATABASE) $(if $(SEED),--seed $(SEED)) $(if $(filter-out file,$(origin REDIS)),--redis $(REDIS)) $(ARGS)

soak: $(READY) ## hours of random faults until CHANGES=10000000 rows of users were changed; a report that a later run goes on with (REPORT=soak.jsonl, SEED=…, REDIS=cluster, ARGS="--workers 3 --client confluent --streams")
	$(BIN)/python -m tests.chaos.soak --changes $(CHANGES) --report $(REPORT) $(if $(SEED),--seed $(SEED)) $(if $(filter-out file,$(origin REDIS)),--redis $(REDIS)) $(ARGS)

bursts: $(READY) ## BURSTS=1000 bursts of SIGTERM while servers are away: none hangs
	$(BIN)/python -m tests.chaos.signals --bursts $(BURSTS) $(ARGS)

mutations: $(READY) ## take each rule of the package away in turn: which tests notice
	$(BIN)/python -m tests.mutations $(ARGS)

bench: $(READY) ## everything measured side by side, on a quiet machine (ARGS=--quick, ARGS="--only latency")
	$(BIN)/python -m benchmarks $(ARGS)

memory: $(READY) ## resident memory over a backlog of RECORDS=200000
	$(BIN)/python -m benchmarks.memory --records $(RECORDS) $(ARGS)

replay-benchmark: $(READY) ## how fast a log is folded, with one worker and with two (ARGS=--kafka: from a broker)
	$(BIN)/python -m benchmarks.replay $(ARGS)

audit-benchmark: $(READY) ## 40 differences among USERS=100000 while updates go on: found, mended, and the memory that it took
	AUDIT_USERS=$(USERS) $(BIN)/pytest tests/e2e/test_audit.py -k forty -s --timeout 3600 --databases mysql $(ARGS)

format: $(READY) ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stack: $(READY) ## the real servers alone, until Ctrl-C
	$(BIN)/python -m tests.support.stack up $(ARGS)

record-demo: $(READY) ## record the demo's topics anew from the real servers
	$(BIN)/python -m demo.record $(ARGS)

record-wire: $(READY) ## record every wire format anew from the real servers
	$(BIN)/python -m tests.wire.record

record-scenarios: $(READY) ## record the scenarios anew, from every database in JSON and Avro
	$(BIN)/python -m tests.support.scenario_record $(ARGS)

clean: ## remove what the targets made here
	rm -rf $(VENV) .stack .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
