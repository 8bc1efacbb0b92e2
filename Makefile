# `make demo` writes from the bundled model, `make test` proves the rest; `make setup` comes before both by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
# The stamp holds what the environment was made from: unchanged, setup does nothing and needs no network.
# It is written last: an environment that was only half made has none and is made anew; one that was made from
# other versions is brought up to date in place.
WANTED := $(shell (pwd; cat pyproject.toml constraints.txt CMakeLists.txt src/headway/engine/native/*) | cksum)
# Two test processes with one thread each: more threads than cores slow torch down.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo page test soak check bench bench-engine attack sanitize clean

help:
	@echo "make demo    set up, then write from the bundled model (needs no network once set up)"
	@echo "make page    set up, then serve the bundled models and the page"
	@echo "make test    run the tests (all but the marks soak, night and gpu)"
	@echo "make soak    run the tests under load alone (the mark soak)"
	@echo "make check   formatting, lint, types and the import rules"
	@echo "make bench   run every benchmark, one after another"
	@echo "make bench-engine  run the CPU engine beside other libraries, which are installed into $(PEERS)"
	@echo "make attack  start servers and try to bring them down, on this machine alone (about an hour)"
	@echo "make sanitize  run the engine's tests over a build that checks memory and arithmetic"
	@echo "make setup   make $(VENV) and install headway into it"
	@echo "make clean   remove $(VENV), $(PEERS) and everything that was built"

setup:
	@test "$$(cat $(VENV)/.stamp 2>/dev/null)" = "$(WANTED)" || $(MAKE) --no-print-directory $(VENV)/install

.PHONY: $(VENV)/install
$(VENV)/install:
	@command -v $(PYTHON) >/dev/null || { echo "error: headway needs Python 3.11 or newer, but there is no $(PYTHON);" \
	  "install it or name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: headway needs Python 3.11 or newer, but" \
	  "$(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $$(test -e $(VENV)/.stamp || echo --clear) $(VENV)
	@rm -f $(VENV)/.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@echo "$(WANTED)" > $(VENV)/.stamp

demo: setup
	@$(BIN)/python -m headway demo

page: setup
	@$(BIN)/python -m headway serve

test: setup
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not soak and not night and not gpu"

soak: setup
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m soak

check: setup
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy --strict src
	$(BIN)/python -m pytest -q tests/test_layering.py
	npm ci --silent --no-audit --no-fund
	npm run --silent check

bench: setup
	@for file in $(filter-out benchmarks/attack.py benchmarks/served.py,$(wildcard benchmarks/*.py)); do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

attack: setup
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/attack.py --full

bench-engine: setup $(PEERS)/.stamp
	$(BIN)/python benchmarks/engine.py --peers-python $(PEERS)/bin/python --work build/bench-engine

# The peers see torch, transformers and numpy of $(VENV) and bring the rest; $(VENV) itself is never changed.
$(PEERS)/.stamp: benchmarks/engine-peers.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$($(PEERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/of-headway.pth"
	CMAKE_ARGS="-DGGML_NATIVE=ON" $(PEERS)/bin/python -m pip install --quiet -r benchmarks/engine-peers.txt
	@touch $(PEERS)/.stamp

# Leaks are not looked for: the interpreter itself keeps what it has to its end.
sanitize: setup
	@$(BIN)/python -m pip install --quiet -c constraints.txt nanobind cmake ninja
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/sanitize -G Ninja -DHEADWAY_SANITIZE=ON -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/sanitize
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 HEADWAY_NATIVE="$$(echo build/sanitize/_native*.so)" \
	  $(BIN)/python -m pytest -q tests/engine -m "not night" -p no:cacheprovider

clean:
	rm -rf $(VENV) $(PEERS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
