# One command per chore, the same here and in CI. Needs only make and Python >= 3.11; everything else comes hashed from the locks.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
HOT_TESTS := $(addprefix tests/,protocols/postgres test_gate.py test_exchange.py limits masking evidence policy net \
	live/test_psql.py live/test_drivers.py live/test_lineage.py tools)

.PHONY: demo test test-compiled check compile bench bypass lock setup transparency

demo: setup  ## play the story on a real PostgreSQL; ARGS=--once ends after it
	$(BIN)/interlock demo $(ARGS)

test: setup  ## the whole suite; ARGS="tests/masking -k email" narrows it
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-compiled: compile  ## the suites that the hot modules answer to, against the compiled package; ARGS as for test
	PYTHONPATH=build/compiled:. $(BIN)/python -m pytest -n 2 --dist loadfile -o pythonpath="build/compiled ." $(or $(ARGS),$(HOT_TESTS))

compile: setup  ## the hot modules as C extensions, in build/compiled/; needs a C compiler, which nothing else does
	$(BIN)/python -m tools.compile

check: setup  ## all that a change must pass besides the tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## pgbench, direct, through pgbouncer and through the gateway; ARGS=--compiled adds its compiled form
	$(BIN)/python -m benchmarks.postgres $(ARGS)

bypass: setup  ## every case of the bypass corpus and the masking sweep; ARGS="lineage where-true" narrows it
	$(BIN)/python -m tests.live.bypass $(ARGS)

transparency: setup  ## third-party suites, direct and through the gateway; ARGS="asyncpg dump" names some of them
	$(BIN)/python -m tests.transparency.run $(ARGS)

lock: setup  ## resolve pyproject.toml anew (ARGS=--upgrade for newer versions)
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--custom-compile-command "make lock" pyproject.toml --extra demo --group dev $(ARGS) -o requirements.txt
	echo uv | $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--custom-compile-command "make lock" - $(ARGS) -o requirements-uv.txt

setup: .venv/.ready

# The stamp holds as long as the locks do. `sync` leaves nothing in the environment that the lock does not name; the
# package itself is linked without build isolation, so that nothing unhashed is ever downloaded.
.venv/.ready: requirements.txt requirements-uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("interlock needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync -q --require-hashes requirements.txt
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install -q --no-deps --no-build-isolation --offline -e .
	@touch $@
