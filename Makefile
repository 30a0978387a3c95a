# Set-up, demo and checks. Every target can be repeated; each sets up what it needs.

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PORT ?= 8000
MODEL ?= models/default

# The first interpreter that is new enough, unless PYTHON names one.
PYTHON_TEST := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11; do \
	$$p -c '$(PYTHON_TEST)' 2>/dev/null && echo $$p && break; done)

TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_CPU := --index-url $(TORCH_CPU_INDEX) --timeout 10 --retries 1
PIP := $(PY) -m pip install --constraint constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0

# A stamp without a working interpreter is invalid (Python was upgraded, the folder was moved).
$(shell $(PY) -c '' 2>/dev/null || rm -f $(READY))

.PHONY: help env demo docs test test-all test-endurance check gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

env: $(READY) ## create .venv with everything

# Without an NVIDIA GPU, torch comes from PyTorch's CPU index, which avoids gigabytes of CUDA; with --no-deps nothing else
# comes from there. If that index cannot be reached, the ordinary one has the same version.
# The stamp is removed first, so that an interrupted set-up is repeated.
$(READY): pyproject.toml constraints.txt
	@rm -f $(READY)
	@$(PY) -c 'import pip; $(PYTHON_TEST)' 2>/dev/null || \
		if "$(PYTHON)" -c '$(PYTHON_TEST)' 2>/dev/null; then "$(PYTHON)" -m venv --clear $(VENV); else \
			echo 'Python 3.11 or newer was not found: install it, or name it, as in make env PYTHON=python3.11' >&2; \
			exit 1; \
		fi
	@nvidia-smi -L >/dev/null 2>&1 || [ "$$(uname)" = Darwin ] || { \
		$(PY) -m pip index versions torch $(TORCH_CPU) >/dev/null 2>&1 && $(PIP) $(TORCH_CPU) --no-deps torch; } || \
		echo "PyTorch's CPU index cannot be reached: taking torch from the ordinary index"
	@$(PIP) --editable '.[dev]'
	@$(VENV)/bin/dialog-cvae backbone || echo "The recipe smollm2 cannot run without that file; everything else can"
	@touch $(READY)

demo: env ## serve the shipped model, or another: make demo MODEL=runs/mine/best PORT=8001
	@(while kill -0 $$$$ 2>/dev/null; do \
		if $(PY) -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:$(PORT)/health/ready", timeout=2)' \
			2>/dev/null; then \
			echo; echo "Ready; Ctrl-C stops. Ask it from another terminal:"; echo; \
			echo "  curl -s http://127.0.0.1:$(PORT)/respond -H 'Content-Type: application/json'" \
				"-d '{\"context\": [\"Do you have any pets?\"], \"topic\": \"PETS\", \"num_responses\": 5, \"seed\": 7}'"; echo; \
			break; \
		fi; \
		sleep 1; \
	done) & \
	exec $(VENV)/bin/dialog-cvae serve "$(MODEL)" --port $(PORT)

# NO_MKDOCS_2_WARNING leaves out an advertisement; the path has ruff, which lays out signatures.
docs: env ## build the documentation site in site/
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

# One process for each core, and one thread in each.
TEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(shell getconf _NPROCESSORS_ONLN) --dist worksteal

test: env ## run the fast tests
	@$(TEST) -m "not slow and not endurance"

test-all: env ## run the slow tests too, as CI does
	@$(TEST) -m "not endurance"

test-endurance: env ## run the tests that repeat one thing for minutes
	@$(TEST) -m endurance

check: env ## ruff's format and lint, mypy, import layers, the documentation site
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest tests/test_imports.py
	@$(MAKE) --no-print-directory docs

gpu: env ## on a machine with a GPU: its tests, benchmarks and Table 3 in 12 minutes; the same command continues
	@$(PY) -m benchmarks.gpu

clean: ## remove .venv, caches and the site; trained models stay in runs
	@rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
