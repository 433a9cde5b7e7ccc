# Each target makes what it needs: on a machine with only Python, git and make, `make demo` and `make test` both work.
first_python = $(firstword $(foreach python,$(1),$(if $(shell $(python) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo yes),$(python))))
PYTHON ?= $(call first_python,python3.12 python3.11 python3.13 python3)
BIN := .venv/bin
INSTALLED := .venv/installed
# The oldest versions have no wheels for the newest Pythons.
LOWEST_PYTHON ?= $(call first_python,python3.11 python3.12 python3)
LOWEST := .venv-lowest/bin

.PHONY: install demo docs test test-slow test-lowest lint audit bench bench-gpu clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "glint-label needs Python 3.11 or newer; none was found on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $(INSTALLED)

demo: install
	$(BIN)/glint-label demo

# A link that leads nowhere, a page that no menu lists, a name that is not in the code: each is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is in site/index.html; to search in it, run $(BIN)/mkdocs serve."

test: install
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: install
	$(BIN)/python -m pytest -m slow

# Left out: tests of the source tree, and two of a minute each that say nothing about versions. Old packages warn of what
# their newer dependencies will drop; any other warning is an error here too.
test-lowest: .venv-lowest/installed
	$(LOWEST)/python -m pytest -n 2 -m "not slow" -W ignore::DeprecationWarning -W ignore::FutureWarning \
		tests/test_bounds.py tests/glint_label tests/glint_model tests/glint_cli \
		--ignore tests/glint_label/transfer/test_packaged.py --ignore tests/glint_label/test_demo.py

.venv-lowest/installed: pyproject.toml .ci/lowest.txt
	@test -n "$(LOWEST_PYTHON)" || { echo "the oldest versions need Python 3.11 or 3.12; none was found on the PATH" >&2; exit 1; }
	$(LOWEST_PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet --upgrade pip
	$(LOWEST)/python -m pip install --quiet --constraint .ci/lowest.txt --editable ".[test,onnx,tensorboard]"
	@touch $@

# mypy sees the command line under its installed name, glint_cli.
lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p .types && ln -sfn ../cli .types/glint_cli
	$(BIN)/mypy

# What bandit asks beyond ruff's rules; known vulnerabilities of installed packages, where the network can be reached.
audit: install
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml cli glint_label glint_model
	$(BIN)/python .ci/audit.py

bench: install
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/distortions.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/faults.py

bench-gpu: install
	$(BIN)/python benchmarks/build.py --device cuda --parts embed,paper
	$(BIN)/python benchmarks/distortions.py --device cuda
	$(BIN)/python benchmarks/train.py --device cuda

clean:
	rm -rf .venv .venv-lowest .types .mypy_cache .ruff_cache .pytest_cache *.egg-info manifests/demo-photos site
