# What you do with Countline, one word each. `make` lists it; CI does nothing else (.ci/run).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make
PIP := $(BIN)/python -m pip --disable-pip-version-check
PROTOS := $(wildcard proto/countline/v1/*.proto)
STATIC := analytics/countline_analytics/static/index.html
DASHBOARD_SOURCES := $(shell find analytics/dashboard -type f -not -path '*/node_modules/*' 2>/dev/null)

NPM := analytics/dashboard/npm

# Some images forbid Python to keep byte code. Then each of the hundreds of processes of the tests compiles our modules
# again, and each process of a parallel run rewrites the assertions of every test again.
unexport PYTHONDONTWRITEBYTECODE

##@ Run
.PHONY: up
up: setup ## Install what is missing and start everything on this machine (Ctrl-C stops it)
	$(BIN)/countline up $(ARGS)

.PHONY: down
down: ## Stop what `make up` started
	$(BIN)/countline down $(ARGS)

##@ Develop
.PHONY: setup
setup: $(STAMPS)/setup $(STATIC) ## Install everything into .venv and build the dashboard

.PHONY: precheck
precheck: ## Check for missing system packages, and print how to install them
	@PYTHON="$(PYTHON)" sh common/precheck.sh >/dev/null

$(STAMPS)/setup: pyproject.toml constraints.txt | precheck
	@mkdir -p $(STAMPS)
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "installing into $(VENV) (some 600 MB; a minute or two the first time) ..."
	$(PIP) install --quiet --upgrade --constraint constraints.txt pip
	$(PIP) install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

$(STATIC): $(STAMPS)/setup $(DASHBOARD_SOURCES)
	@echo "building the dashboard ..."
	$(NPM) ci --no-audit --no-fund --loglevel=error
	$(NPM) run --silent build
	@touch $@

.PHONY: dashboard
dashboard: $(STATIC) ## Build the dashboard

$(STAMPS)/dev: $(STAMPS)/setup
	$(PIP) install --quiet --constraint constraints.txt --group test --group lint
	@touch $@

.PHONY: test-deps
test-deps: $(STAMPS)/dev $(STATIC) $(STAMPS)/oidc ## Install what the tests need (Debian packages too, as root)
	@sh tests/debian-packages.sh

# The identity provider against which the tests log in.
$(STAMPS)/oidc: tests/fixtures/oidc/package-lock.json $(STAMPS)/setup
	$(NPM) ci --prefix "$(CURDIR)/tests/fixtures/oidc" --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: test
test: test-deps ## Run all tests that can run here
	$(NPM) run --silent test
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),$(PARALLEL) tests/e2e tests/integration tests/unit)

# Most tests wait more than they compute: twice as many processes as CI has cores. With three times as many, whole
# systems that start together pass their time limits on slow cores. Each file is the work of one process.
# Whole systems (tests/e2e) start first, since they wait most, then the files marked `early`; the short files of
# tests/unit fill the end.
PARALLEL := --numprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: acceptance
acceptance: test-deps ## Compare the running system with true counts (needs an idle machine)
	$(BIN)/python -m pytest -m acceptance tests/e2e $(ARGS)

.PHONY: unit
unit: $(STAMPS)/dev ## Run only the unit tests
	$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: fuzz
fuzz: test-deps ## Run property and leak tests with full budgets and new examples (an hour or more)
	COUNTLINE_TEST_FUZZ=1 $(BIN)/python -m pytest --numprocesses 2 --timeout=3600 -m "hypothesis or leaks or fuzz" tests/unit tests/integration $(ARGS)

.PHONY: check
check: lint types imports proto-lint dashboard-lint compose-check ## Run all checks that need no server: lint, types, import contracts, contracts of the API

.PHONY: lint
lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(STAMPS)/dev
	$(BIN)/mypy

.PHONY: imports
imports: $(STAMPS)/dev
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/test_layout.py

.PHONY: dashboard-lint
dashboard-lint: $(STATIC)
	$(NPM) run --silent check

.PHONY: format
format: $(STAMPS)/dev ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(NPM) run --silent format

##@ Images
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
DOCKERFILES := $(wildcard docker/*/Dockerfile)

.PHONY: images
images: ## Build the images of docker/compose.yaml (ARGS='--profile gpu' adds the GPU images)
	cd docker && COUNTLINE_REVISION=$$(git rev-parse --short HEAD) $(COMPOSE) $(ARGS) build

.PHONY: compose-check
compose-check: $(STAMPS)/dev ## Lint the Dockerfiles and check the compose files
	$(BIN)/hadolint $(DOCKERFILES)
	$(BIN)/python -m pytest -q tests/unit/docker

##@ Contracts
.PHONY: proto
proto: $(STAMPS)/dev ## Generate the stubs of proto/countline/v1
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto -I "$$($(GOOGLEAPIS))" \
	  --python_out=proto --grpc_python_out=proto --mypy_out=quiet:proto --mypy_grpc_out=quiet:proto $(PROTOS)

# buf cannot fetch google/api behind every firewall; the same files come with a Python package that we need anyway.
GOOGLEAPIS := $(BIN)/python -c 'import google.api, pathlib; print(pathlib.Path(list(google.api.__path__)[0]).parents[1])'

.PHONY: proto-lint
proto-lint: $(STAMPS)/dev $(STAMPS)/buf ## Lint the contracts and check that the stubs are current
	mkdir -p proto/third_party/google/api
	cp "$$($(GOOGLEAPIS))"/google/api/{annotations,http}.proto proto/third_party/google/api/
	cd proto && ../$(STAMPS)/node/node_modules/.bin/buf lint
	rm -rf $(STAMPS)/stubs && mkdir -p $(STAMPS)/stubs
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto -I "$$($(GOOGLEAPIS))" \
	  --python_out=$(STAMPS)/stubs --grpc_python_out=$(STAMPS)/stubs \
	  --mypy_out=quiet:$(STAMPS)/stubs --mypy_grpc_out=quiet:$(STAMPS)/stubs $(PROTOS)
	@for stub in $(STAMPS)/stubs/countline/v1/*; do \
	  cmp -s "$$stub" "proto/countline/v1/$${stub##*/}" || { echo "$${stub##*/} is stale: run make proto" >&2; exit 1; }; done

$(STAMPS)/buf: proto/package.json $(STAMPS)/setup
	mkdir -p $(STAMPS)/node && cp proto/package.json $(STAMPS)/node/
	$(NPM) install --prefix "$(CURDIR)/$(STAMPS)/node" --no-audit --no-fund --no-package-lock --loglevel=error
	@touch $@

.PHONY: permissions
permissions: $(STAMPS)/dev ## Write docs/permissions.md
	$(BIN)/python -m tests.fixtures.control.permissions_page

.PHONY: nats-users
nats-users: $(STAMPS)/dev ## Write docs/nats.md
	$(BIN)/python -m tests.fixtures.local.nats_page

.PHONY: routes
routes: $(STAMPS)/dev ## Write docker/gateway/routes.conf
	$(BIN)/python -m tests.fixtures.docker.gateway_routes

.PHONY: constants
constants: $(STAMPS)/dev ## Write docs/constants.md
	$(BIN)/python -m tests.benchmarks.mot.constants

##@ Measure
.PHONY: bench
bench: $(STAMPS)/dev ## Print ratios against a limit or a peer that is measured in the same run
	$(BIN)/python -m tests.benchmarks $(ARGS)

.PHONY: peers
peers: $(STAMPS)/peers ## Install the programs to compare with, into .venv-peers

.PHONY: bench-peers
bench-peers: $(STAMPS)/dev $(STAMPS)/peers ## Run the benchmarks with these programs
	$(BIN)/python -m tests.benchmarks --peers $(ARGS)

$(STAMPS)/peers: tests/benchmarks/peers-requirements.txt | $(STAMPS)/setup
	test -x .venv-peers/bin/python || "$(PYTHON)" -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

##@ Models
.PHONY: train-demo
train-demo: ## Train the demo detector, in .venv-train
	test -x .venv-train/bin/python || "$(PYTHON)" -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train]'
	.venv-train/bin/python -m countline_demo.training.train $(ARGS)

##@ Other
.PHONY: clean
clean: ## Remove everything that was built; data folders stay
	rm -rf $(STAMPS) $(VENV) .venv-peers .venv-train dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf analytics/dashboard/node_modules tests/fixtures/oidc/node_modules analytics/countline_analytics/static proto/third_party

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z][a-z-]*:.*## / {printf "  \033[36mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
