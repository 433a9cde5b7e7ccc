# Each target makes what it needs: on a machine with only Python, git and make, `make demo` and `make test` both work.
PYTHON ?= $(firstword $(foreach python,python3.12 python3.11 python3.13 python3,$(if $(shell $(python) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo yes),$(python))))
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install demo test test-slow lint bench bench-gpu clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "glint-label needs Python 3.11 or newer; none was found on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $(INSTALLED)

demo: install
	$(BIN)/glint-label demo

test: install
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: install
	$(BIN)/python -m pytest -m slow

# mypy sees the command line under its installed name, glint_cli.
lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p .types && ln -sfn ../cli .types/glint_cli
	$(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/distortions.py
	$(BIN)/python benchmarks/train.py

bench-gpu: install
	$(BIN)/python benchmarks/build.py --device cuda --parts embed,paper
	$(BIN)/python benchmarks/distortions.py --device cuda
	$(BIN)/python benchmarks/train.py --device cuda

clean:
	rm -rf .venv .types .mypy_cache .ruff_cache .pytest_cache *.egg-info manifests/demo-input
