# Thin: everything happens in the command line `paper-lib` and in pytest. `make` alone lists the targets.
SCALE ?= laptop
# The first Python 3.11 or 3.12 that really runs (a shim on the path may not).
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -I -c '$(IN_RANGE)' 2>/dev/null && echo $$p && break; done)
IN_RANGE = import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
HAS_VENV = import ensurepip, venv
VENV_PACKAGE = import sys; print("python%d.%d-venv" % sys.version_info[:2])

# The environment of .venv and nothing else, whatever the shell has set.
unexport PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_HASHES PIP_CONSTRAINT PIP_BUILD_CONSTRAINT
export PYTHONNOUSERSITE = 1
export PIP_USER = 0
export JUPYTER_PREFER_ENV_PATH = 1
PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check

.PHONY: help figures html verify smoke test test-cluster browser lab lint lock cluster clean outdated
help:
	@echo 'make figures [SCALE=laptop]   draw every figure; trains the runs that are missing'
	@echo 'make html [SCALE=laptop]      draw figures and pages again from the data in figures/ alone'
	@echo 'make verify [SCALE=laptop]    check that the files in figures/ are what that draws, byte by byte'
	@echo 'make smoke                    train and draw everything from nothing at scale smoke, in build/nothing'
	@echo 'make test                     run the tests'
	@echo 'make browser                  click through the pages in a headless Chromium, which must be installed'
	@echo 'make cluster                  install Snakemake into .venv-cluster, for `paper-lib cluster`'
	@echo 'make test-cluster [LONG=yes]  train on a Slurm of its own while its parts are killed (root, Debian)'
	@echo 'make lab                      open the notebooks in JupyterLab'
	@echo 'make lint                     check style and that notebooks are stored without outputs'
	@echo 'make lock                     resolve requirements.lock again (needs uv)'
	@echo 'make clean                    remove .venv, .venv-cluster and caches; runs and figures stay'

figures: .venv/installed
	.venv/bin/paper-lib notebooks --scale $(SCALE)

html: .venv/installed
	.venv/bin/paper-lib html --scale $(SCALE)

verify: .venv/installed
	.venv/bin/paper-lib verify --scale $(SCALE)

NOTHING = PAPER_LIB_RUNS='$(CURDIR)/build/nothing/runs' PAPER_LIB_FIGURES='$(CURDIR)/build/nothing/figures'
smoke: .venv/installed
	rm -rf build/nothing
	$(NOTHING) .venv/bin/paper-lib notebooks --scale smoke

# Without fusion emitters XLA compiles faster: a quarter of the time less. `pytest` alone and `make smoke` have them.
test: .venv/installed
	@XLA_FLAGS=--xla_cpu_use_fusion_emitters=false .venv/bin/python -m pytest --numprocesses 2 --dist loadfile

browser: .venv/installed
	.venv/bin/python -m pytest -m slow tests/pages

# With LONG=yes also 20 faults at random moments and a disk that hangs, for a night.
test-cluster: .venv/installed cluster
	@.venv/bin/python -m pytest tests/cluster -m 'cluster$(if $(LONG),, and not slow)'

cluster: .venv-cluster/locked

lab: .venv/installed
	.venv/bin/python -m jupyterlab --allow-root notebooks

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/nbstripout --verify notebooks/*.ipynb

lock:
	uv pip compile pyproject.toml --extra all --group build --universal --fork-strategy fewest --generate-hashes \
		--no-emit-index-url --no-annotate --custom-compile-command 'make lock' --output-file requirements.lock
	uv pip compile workflow/requirements.in --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --custom-compile-command 'make lock' --output-file workflow/requirements.lock

clean:
	rm -rf .venv .venv-cluster .pytest_cache .ruff_cache build paper_lib.egg-info
	find paper_lib tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A checkout that was moved, or whose Python is gone, needs its .venv anew.
USABLE = $(shell test "$$(cat .venv/locked 2>/dev/null)" = "$$(pwd -P)" && .venv/bin/python -I -c '' 2>/dev/null && echo yes)

.venv/locked: requirements.lock $(if $(USABLE),,outdated)
	@test -n '$(PYTHON)' || { echo 'error: no Python 3.11 or 3.12 found; install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12' >&2; exit 1; }
	@'$(PYTHON)' -I -c '$(IN_RANGE)' 2>/dev/null || { echo 'error: PYTHON=$(PYTHON) is not a working Python 3.11 or 3.12' >&2; exit 1; }
	@'$(PYTHON)' -I -c '$(HAS_VENV)' 2>/dev/null || { echo "error: $(PYTHON) lacks venv; on Debian or Ubuntu: apt-get install $$('$(PYTHON)' -I -c '$(VENV_PACKAGE)')" >&2; exit 1; }
	@echo 'Installing the locked packages into .venv with $(PYTHON): once, a minute or more'
	@rm -f .venv/locked .venv/installed
	@'$(PYTHON)' -m venv --clear .venv
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	@pwd -P > .venv/locked

.venv/installed: .venv/locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch .venv/installed

# One package of Snakemake has no wheel; setuptools, of the same lock, builds it.
IN_CLUSTER = .venv-cluster/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --only-binary :all:
.venv-cluster/locked: workflow/requirements.lock .venv/locked
	@echo 'Installing Snakemake into .venv-cluster: once, a minute or more'
	@rm -f $@
	@.venv/bin/python -m venv --clear .venv-cluster
	@sed -n '/^setuptools==/,/[^\\]$$/p' $< > .venv-cluster/build.lock
	@$(IN_CLUSTER) -r .venv-cluster/build.lock
	@$(IN_CLUSTER) --no-binary connection-pool --no-build-isolation -r $<
	@touch $@
