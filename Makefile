# Two environments: .venv holds the USE floor only (no torch), .venv-test everything that the tests need.
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
OUTPUT ?= demo-output
VENV := .venv
TEST_VENV := .venv-test
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
CONSTRAINTS := -c constraints.txt

# The tests use the data sets beside the repository, if they are there. The demo uses only what the user has named.
ifndef LEANSEG_DATA
ifneq ($(wildcard ../shared/data/.),)
test: export LEANSEG_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: help demo test lint clean

help:
	@echo "make demo    install what is needed to use a model, segment the built-in cases, write a page with pictures"
	@echo "make test    install what is needed to train and test, then run every check"
	@echo "make lint    the checks of make test, without the tests"
	@echo "make clean   remove the environments and everything that was made here"

demo: $(VENV)/.ready
	$(VENV)/$(BIN)/leanseg demo -o "$(OUTPUT)"

# Two processes of one thread each are faster than one of two; what a file's tests share is made once.
# The Slicer side runs in processes of its own: Slicer's libraries do not have to get along with torch.
test: lint
	OMP_NUM_THREADS=1 $(TEST_VENV)/$(BIN)/python -m pytest -n 2 --dist loadfile
	OMP_NUM_THREADS=1 $(TEST_VENV)/$(BIN)/python -m pytest -n 2 --dist loadfile Testing/host Testing/slicer

lint: $(TEST_VENV)/.ready
	$(TEST_VENV)/$(BIN)/ruff check
	$(TEST_VENV)/$(BIN)/ruff format --check
	$(TEST_VENV)/$(BIN)/codespell
	$(TEST_VENV)/$(BIN)/mypy
	$(TEST_VENV)/$(BIN)/lint-imports --no-logo

clean:
	rm -rf $(VENV) $(TEST_VENV) demo-output build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Installing what is needed to use a model, without torch. That takes a minute or two ..."
	$(call make_environment,$(VENV))
	$(VENV)/$(BIN)/python -m pip install $(PIP_QUIET) $(CONSTRAINTS) -e .
	$(call install_runtime,$(VENV))
	@touch $@

$(TEST_VENV)/.ready: pyproject.toml constraints.txt
	@echo "Installing what is needed to train and test, torch among it. That takes several minutes ..."
	$(call make_environment,$(TEST_VENV))
	$(TEST_VENV)/$(BIN)/python -m pip install $(PIP_QUIET) $(CONSTRAINTS) -e ".[train,dev,host]"
	$(call install_runtime,$(TEST_VENV))
	@touch $@

PIP_QUIET := --quiet --disable-pip-version-check

define make_environment
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
	  echo "LeanSeg needs Python 3.10 to 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)." \
	    "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(1) || { rm -rf $(1); \
	  echo "The environment $(1) could not be made. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
endef

# Without its dependencies: one of them reports usage (docs/adr/0002-openvino-without-telemetry.md).
define install_runtime
	@$(1)/$(BIN)/python -m pip install $(PIP_QUIET) $(CONSTRAINTS) --no-deps openvino || { \
	  echo "OpenVINO could not be installed; trying ONNX Runtime."; \
	  $(1)/$(BIN)/python -m pip install $(PIP_QUIET) $(CONSTRAINTS) onnxruntime; }
endef
