# Everything a developer or a CI job runs. The machine needs make, bash and any Node with npm: the Node that is used (24)
# comes with node_modules. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

MACHINE_PATH := $(subst $(CURDIR)/node_modules/.bin:,,$(PATH))
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

# What the image is built with and on; see the Dockerfile.
BASE_IMAGE ?=
BUILD_IMAGE ?=
# Name of the cluster for cluster-up and cluster-down.
CLUSTER_NAME ?= dev
READY := node_modules/.stamp

##@ Try it
demo: $(READY) ## A real cluster, a push, and the pods on the new digest (ACT=n: one act, KEEP=1: leave it running)
	@node scripts/demo.ts

##@ Check it
test: $(READY) ## Everything: lint, types, layers, generated files, unit, contract, integration, end to end
	@node scripts/test.ts

test-unit: $(READY) ## Unit, property and conformance tests
	@node scripts/test.ts unit

test-integration: $(READY) ## Against a real API server and real registries
	@node scripts/test.ts contract integration

test-e2e: $(READY) ## The chart on a real cluster
	@node scripts/test.ts e2e

test-faults: $(READY) ## Kill the operator at every write of every scenario, and more; prints trials and violations (LANES=4)
	@node scripts/test-faults.ts

lint: $(READY) ## Format, lint, types, layer rules, unused code
	@node scripts/test.ts format lint types layers unused

verify: $(READY) ## Generated files are in step with their sources
	@node --run verify

bench: $(READY) ## Measure, and print a table and JSON
	@node bench/main.ts

##@ Make it
generate: $(READY) ## Write CRDs, chart templates, field reference and metrics page from their sources
	@node --run generate

format: $(READY) ## Lay out all code
	@node --run format

build: $(READY) ## Bundle the operator and the command line into dist/
	@node --run build

image: $(READY) ## Build the container image from the Dockerfile, on bases made of Debian packages (BASE_IMAGE=, BUILD_IMAGE=)
	@node scripts/build-image.ts $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE)) $(if $(BUILD_IMAGE),--build-image $(BUILD_IMAGE))

chart: $(READY) ## Lint the chart and package it into dist/
	@mkdir -p dist
	@helm=$$(node test/cluster/cli.ts tools helm | cut -f2) && "$$helm" lint --strict charts/slipway && \
	  "$$helm" package charts/slipway --destination dist

##@ A cluster of your own
cluster-up: $(READY) ## Start a single-node Kubernetes on this machine (root, Linux)
	@node test/cluster/cli.ts up --name $(CLUSTER_NAME)

cluster-down: $(READY) ## Stop it and leave nothing behind
	@node test/cluster/cli.ts down --name $(CLUSTER_NAME)

##@ Housekeeping
clean: ## Remove what was built and cached here
	rm -rf dist coverage .state node_modules/.cache

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z0-9-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# npm runs with the machine's own Node, because it replaces the one in node_modules.
$(READY): package-lock.json
	@command -v npm >/dev/null || { echo 'Install Node.js with npm first, for example: apt-get install nodejs npm' >&2; exit 1; }
	@echo 'Installing the packages of package-lock.json (about a minute the first time)' >&2
	@PATH="$(MACHINE_PATH)" npm ci --no-audit --no-fund --loglevel=error --ignore-scripts=false
	@node -e 'process.exit(process.versions.node.startsWith("24.") ? 0 : 1)' || \
	  { echo "node_modules/.bin/node is not Node 24: the install script of the package 'node' did not run. Allow install scripts (npm config get ignore-scripts) and run make again." >&2; rm -rf node_modules; exit 1; }
	@touch $@

.PHONY: demo test test-faults test-unit test-integration test-e2e lint verify bench generate format build image chart cluster-up cluster-down clean help
.DELETE_ON_ERROR:
