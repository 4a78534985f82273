# make demo, make test ... set up what they need themselves: Python 3.11 or newer and make are enough.
#
# PYTHON=python3.13    work with that Python, in an environment of its own (.venv-3.13)
# TEST_ARGS=...        for pytest          DEMO_ARGS=...  for papertape demo          BENCH_ARGS=...  for the benchmark
# RIG=required         test-tape fails where it would be skipped because a package is missing
# SERVERS=required     so do the tests on database servers
# ON_MARIADB=...       what test-servers runs there, all that have a ledger if left out          ON_POSTGRESQL=...
# LEDGER=mariadb       the tests have their ledgers on that server; or postgresql

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHONS := 3.11 3.12 3.13
DEMO_ARGS ?=
TEST_ARGS ?=
TAPE_ARGS ?=
RIG ?=
SERVERS ?=
LEDGER ?=
BENCH_ARGS ?=
MEASURE_ARGS ?=

VERSION_OF = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

# A Python named on the command line, or in the environment, has an environment of its own.
ifdef PYTHON
VENV := .venv-$(or $(call VERSION_OF,$(PYTHON)),none)
else
VENV := .venv
endif
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# An environment whose interpreter is missing is made again.
ifneq ($(shell test -x $(BIN)/python && echo yes),yes)
.PHONY: $(READY)
endif

export PAPERTAPE_SERVERS := $(SERVERS)
export PAPERTAPE_LEDGER := $(LEDGER)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# The first is what older pips read for the isolated build too, the second what newer ones do.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

define FIND_PYTHON
found=; \
for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
done; \
if [ -z "$$found" ]; then \
	echo "papertape needs Python 3.11 or newer; here $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>/dev/null || echo missing)." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
	exit 2; \
fi
endef

.PHONY: help
help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20
	@sed -n 's/^# \([A-Z].*=.*\)/  \1/p' Makefile

.PHONY: demo
demo: $(READY)  ## the whole story on a virtual library, in a folder to look at (DEMO_ARGS)
	$(BIN)/papertape demo $(DEMO_ARGS)

.PHONY: test
test: $(READY)  ## all tests (TEST_ARGS)
	$(BIN)/python -m pytest -n auto $(TEST_ARGS)

.PHONY: test-all
test-all:  ## all tests with every Python from 3.11 to 3.13 that is installed
	@tested=; missing=; \
	for version in $(PYTHONS); do \
		if python$$version -c '' >/dev/null 2>&1; then \
			$(MAKE) --no-print-directory test PYTHON=python$$version VENV=.venv-$$version || exit; \
			tested="$$tested $$version"; \
		else \
			missing="$$missing $$version"; \
		fi; \
	done; \
	echo "Tested with Python:$${tested:- none}. Not installed:$${missing:- none}."; \
	[ -n "$$tested" ]

.PHONY: test-tape
test-tape: $(READY)  ## the same contracts, and stories, on the kernel's tape driver in a guest (TAPE_ARGS)
	@missing=$$(cd tests && ../$(BIN)/python -m rig --check) || { \
		echo "$$missing" >&2; \
		if [ -n "$(RIG)" ]; then exit 1; fi; \
		echo "The tests on the kernel's tape driver are skipped." >&2; exit 0; }; \
	PAPERTAPE_RIG=$(RIG) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m rig tests/scsi $(TAPE_ARGS)

# Where labs have ledgers. The tests in tests/ledger are on every database by themselves, and so is the one left out.
WITH_LEDGERS := tests/jobs tests/cli tests/bridges
ON_MARIADB ?= $(WITH_LEDGERS)
ON_POSTGRESQL ?= $(WITH_LEDGERS)
ON_A_SERVER := $(BIN)/python -m pytest -n auto --ignore tests/jobs/test_ledger_server.py $(TEST_ARGS)

.PHONY: test-servers
test-servers: $(READY)  ## the tests that have a ledger, with it on MariaDB and then on PostgreSQL (TEST_ARGS)
	PAPERTAPE_LEDGER=mariadb $(ON_A_SERVER) $(ON_MARIADB)
	PAPERTAPE_LEDGER=postgresql $(ON_A_SERVER) $(ON_POSTGRESQL)

.PHONY: check
check: $(READY)  ## everything that CI runs: format, lint, types, layers, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto $(TEST_ARGS)

.PHONY: bench
bench: $(READY)  ## the benchmark, some minutes (BENCH_ARGS; see benchmarks/README.md)
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

.PHONY: bench-restore
bench-restore: $(READY)  ## getting data sets back out of a full volume, modelled (BENCH_ARGS)
	$(BIN)/python benchmarks/restoring.py $(BENCH_ARGS)

.PHONY: bench-bridge
bench-bridge: $(READY)  ## pulling from a table of a million files on a real server, some minutes (BENCH_ARGS)
	$(BIN)/python benchmarks/bridging.py $(BENCH_ARGS)

.PHONY: bench-ledger
bench-ledger: $(READY)  ## planning a dump from a ledger in which a million data sets wait (BENCH_ARGS)
	PYTHONPATH=tests $(BIN)/python benchmarks/planning.py $(BENCH_ARGS)

.PHONY: measure
measure: $(READY)  ## how the code is cut into functions, calls, classes and comments (MEASURE_ARGS; see tools/measure.py)
	$(BIN)/python tools/measure.py $(MEASURE_ARGS)

.PHONY: commands
commands: $(READY)  ## write docs/commands.md again, after a change to the help of a command
	$(BIN)/python tools/commandpage.py >docs/commands.md

.PHONY: clean
clean:  ## remove the environments and every cache; data that a demo left stays
	rm -rf .venv .venv-* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an environment without it was interrupted while it was made, and is made again.
$(READY): pyproject.toml constraints.txt
	@$(FIND_PYTHON); \
	echo "Setting up $(VENV) with $$("$$found" --version)"; \
	rm -rf $(VENV); \
	"$$found" -m venv $(VENV) || { \
		echo "That Python cannot make a virtual environment: install its venv package (Debian: python3-venv)." >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
