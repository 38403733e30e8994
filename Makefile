# Two commands: `make reproduce` and `make test`. Each does its own set-up and can be run again.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export PATH := $(abspath $(VENV))/bin:$(PATH)
ARGS ?=

.PHONY: help setup data reproduce experiments test browser-test lab workshop slides docs site lock clean
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## create the virtual environment from requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is required, got $$($(PYTHON) --version); use: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "1/3 Creating $(VENV)"
	@[ -x $(VENV)/bin/pip ] || $(PYTHON) -m venv $(VENV)
	@echo "2/3 Installing $$(wc -l < requirements.lock) packages; the default PyTorch for Linux takes several minutes"
	@$(RUN) -m pip install --requirement requirements.lock
	@echo "3/3 Installing xblcore"
	@$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(RUN) -m jupyter labextension disable @jupyterlab/apputils-extension:announcements # no popups
	@touch $@

data: setup ## download, verify and build the data
	dvc repro fetch

reproduce: setup ## rerun the paper on all cores and write results/paper/index.html
	@git rev-parse --git-dir > /dev/null 2>&1 || { echo "DVC needs a Git repository; run: git init" >&2; exit 1; }
	dvc repro
	@echo "Open results/paper/index.html"

experiments: setup ## rerun the experiments around the paper, and the page with their claims
	@echo "About seven hours on two cores, without what build/runs has; it can be interrupted"
	dvc repro experiments/dvc.yaml
	dvc repro --force --single-item paper

test: setup ## tests, notebooks, linter, types and layers
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	$(RUN) -m pytest --numprocesses 2 --dist loadfile
	$(RUN) -m pytest --numprocesses 2 --dist loadfile --nbval-lax notebooks/workshop notebooks/*.ipynb

browser-test: setup ## tests that drive JupyterLab in Chromium
	$(RUN) -m pytest -m browser tests/browser

lab: setup ## open JupyterLab at the start page; options: make lab ARGS="--port 9000"
	jupyter lab --LabApp.default_url=/lab/tree/notebooks/start.ipynb \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

lock: setup ## renew requirements.lock from pyproject.toml
	$(RUN) -m pip install --quiet uv
	printf 'torch==2.13.0\ntorchvision==0.28.0\n' \
	| $(RUN) -m uv pip compile pyproject.toml --universal --python-version 3.11 \
		--extra study --extra notebooks --extra lab --extra test --extra docs --constraint - --no-header \
		--no-annotate --no-emit-index-url --no-emit-find-links --quiet \
	| grep -vE '^(nvidia-|cuda-|triton)' > requirements.lock.new
	mv requirements.lock.new requirements.lock

WORKSHOP := $(patsubst notebooks/%,build/%,$(wildcard notebooks/workshop/[0-9]_*.ipynb notebooks/workshop/*/*.ipynb))

workshop: setup $(WORKSHOP) ## write the learners' notebooks, without solutions, to build/workshop
	cp -r notebooks/workshop/course notebooks/workshop/README.md build/workshop/

build/workshop/%.ipynb: | notebooks/workshop/%.ipynb setup # keeps what a learner has changed
	jupyter nbconvert --to notebook --log-level WARN --output-dir $(@D) \
		--TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_cell_tags=solution \
		notebooks/workshop/$*.ipynb

slides: setup ## write the instructor's slides to build/workshop/slides.html
	cd notebooks/workshop && jupyter nbconvert --to html --execute --no-input --template basic \
		--template-file slides.html.j2 --output-dir ../../build/workshop slides.ipynb

docs: setup ## write the API reference and the recipes as pages to build/docs
	$(RUN) -m pdoc --docformat google --output-directory build/docs \
		xblcore xblcore.data.folder xblcore.lab.refine docs/recipes.py

SITE := build/site
site: docs ## write results, notebooks and API reference to build/site, for any static host
	rm -rf $(SITE)
	$(RUN) docs/site.py $(SITE)
	cp -r build/docs $(SITE)/api
	@echo "Open $(SITE)/index.html"

clean: ## remove what was built; data/raw, results and finished runs stay
	rm -rf data/built .pytest_cache .mypy_cache .ruff_cache
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name runs ! -name workshop -exec rm -rf {} +
