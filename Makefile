# Two commands: `make reproduce` and `make test`. Each does its own set-up and is safe to run again.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help setup data reproduce experiments verify expected test coverage test-oldest test-newest browser-test lab workshop \
	explore explore-light lock clean
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## make the virtual environment from the lock file

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed, got $$($(PYTHON) --version); name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

data: setup ## fetch and verify the data
	$(RUN) -m xblcore.pipeline.fetch

reproduce: setup ## rerun what has changed of the paper, two stages at a time (JOBS=8: eight)
	$(RUN) -m xblcore.pipeline.reproduce $(if $(JOBS),--jobs $(JOBS))
	@echo "Open results/paper/index.html"

experiments: setup ## rerun what has changed of the experiments around the main grid, on all cores
	$(RUN) -m xblcore.pipeline.experiments

verify: setup ## compare your results with results/expected.json
	$(RUN) -m xblcore.pipeline.verify

expected: setup ## renew results/expected.json from your results, and from a smoke run in a copy
	$(RUN) -m xblcore.pipeline.expected
	$(RUN) -m xblcore.pipeline.expected --smoke

# The tests need Fashion-MNIST alone; the originals of the other tasks are large.
test: setup ## tests, doctests, notebooks, linter and types
	$(RUN) -m xblcore.pipeline.fetch --task decoy_fashion_mnist
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest --numprocesses 2 --dist loadfile
	$(RUN) -m pytest --numprocesses 2 --dist loadfile --nbval-lax \
		notebooks/workshop notebooks/your_own_data.ipynb notebooks/explore.ipynb notebooks/start.ipynb

# Not by what runs in processes of its own, where no line is counted.
COVERED_BY := --ignore tests/faults --ignore tests/pipeline/test_end_to_end.py \
	--ignore tests/test_benchmarks.py

coverage: setup ## how many lines and branches of xblcore the tests cover; fails below 95% of the lines
	$(RUN) -m xblcore.pipeline.fetch --task decoy_fashion_mnist
	mkdir -p build
	COVERAGE_FILE=build/.coverage $(RUN) -m pytest --numprocesses 2 --dist loadfile $(COVERED_BY) \
		--cov=xblcore --cov-branch --cov-report=json:build/coverage.json
	$(RUN) tests/covered.py build/coverage.json

# Beside the lock: all that pyproject.toml admits, at its oldest and at its newest.
test-oldest: RESOLUTION := lowest-direct
test-newest: RESOLUTION := highest
test-oldest: setup ## the tests on the oldest releases that pyproject.toml admits
test-newest: setup ## the tests on the newest releases of all dependencies
test-oldest test-newest:
	$(RUN) -m pip install --quiet uv
	$(PYTHON) -m venv --clear .venv-$@
	$(RUN) -m uv pip install --python .venv-$@ --resolution $(RESOLUTION) --quiet --editable ".[test]"
	$(RUN) -m xblcore.pipeline.fetch --task decoy_fashion_mnist
	PATH="$(CURDIR)/.venv-$@/bin:$$PATH" .venv-$@/bin/python -m pytest --numprocesses 2 --dist loadfile

browser-test: setup ## tests that drive JupyterLab in a browser; needs Chromium
	$(RUN) -m xblcore.pipeline.fetch --task decoy_fashion_mnist
	$(RUN) -m pytest -m browser tests/browser

# Without JupyterLab's question about news, which a learner would meet first.
QUIET := --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate

# For this machine alone and behind a token, whatever a configuration of Jupyter says.
GUARD := identity_provider_class=xblcore.pipeline.always_token.AlwaysToken

lab: setup ## open JupyterLab at the start page
	$(VENV)/bin/jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.$(GUARD) --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks/start.ipynb $(QUIET)

workshop: setup ## the workshop's notebooks without solutions, to build/workshop
	$(RUN) -m xblcore.pipeline.learners build/workshop

# The page is for this machine alone: on loopback, behind a token that the address in the log has.
VOILA := notebooks/explore.ipynb --Voila.ip=127.0.0.1 --Voila.auto_token=True --Voila.$(GUARD) \
	--MappingKernelManager.cull_interval=60 --MappingKernelManager.cull_idle_timeout=600

explore: setup ## open the explorer as a page
	$(VENV)/bin/voila $(VOILA)

LIGHT := .venv-explore

explore-light: $(LIGHT)/.ready ## the same from an environment of its own without PyTorch
	$(LIGHT)/bin/voila $(VOILA)

$(LIGHT)/.ready: requirements-explore.txt pyproject.toml
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install --quiet --requirement requirements-explore.txt
	$(LIGHT)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lock: setup ## renew requirements.lock and requirements-explore.txt from pyproject.toml
	$(RUN) -m pip install --quiet uv
	printf 'torch==2.13.0\ntorchvision==0.28.0\n' \
	| $(RUN) -m uv pip compile pyproject.toml --universal --all-extras --python-version 3.11 \
		--constraint - --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet \
	| grep -vE '^(nvidia-|cuda-|triton)' > requirements.lock.new
	mv requirements.lock.new requirements.lock
	$(RUN) -m uv pip compile --group explore --universal --python-version 3.11 \
		--constraint requirements.lock --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --quiet > requirements-explore.txt.new
	mv requirements-explore.txt.new requirements-explore.txt

clean: ## remove what was built; data/raw, results, your marks and worked notebooks stay
	rm -rf data/decoy .pytest_cache .mypy_cache .ruff_cache
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name workshop ! -name your_own_data -exec rm -rf {} +
