SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Where `make run` keeps its data and where run and demo listen.
DATA ?= .data
HTTP ?= 127.0.0.1:8080
# What test and bench look at; PKG=./command narrows both.
PKG ?= ./...
# How long fuzz runs each target.
FUZZTIME ?= 60s
# How many faults chaos injects, and what they are chosen by; chaos-short has those that heal within seconds.
FAULTS ?= 200
SEED ?= 1
SHORT = kill,freeze,link,commit,consumers,connections,standby,party,endpoint
# How many sequences of faults simulate runs.
SEEDS ?= 100000
# Where bench writes its page and plots.
OUT ?= measured
# Test binaries at a time. Each may run a Postgres and a broker of its own, so more than four only get in each other's way.
P ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
LDFLAGS := -X main.version=$(VERSION)

# The linter takes minutes to build, so the binary is kept, under the versions it was made from and with.
LINT_VERSION := $(shell sed -n 's|^[[:space:]]*github.com/golangci/golangci-lint/v2 \(v[^ ]*\).*|\1|p' tools.mod)
LINT = .cache/bin/golangci-lint-$(LINT_VERSION)-$(shell go env GOVERSION 2>/dev/null | cut -d' ' -f1)
# Of npm.
SPECTRAL := 6.16.3
GOFUMPT = go tool -modfile=tools.mod gofumpt

.PHONY: help run demo setup build test lint lint-api lint-fix fmt bench chaos chaos-short chaos-bugs simulate fuzz security clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

run: build ## Start everything on DATA (.data) and HTTP (127.0.0.1:8080), send the sample orders through, keep serving
	@exec bin/orderstore dev --data "$(DATA)" --http "$(HTTP)" --demo

demo: build ## The same in a folder that is removed at the end, then exit
	@dir=$$(mktemp -d) && chmod 755 "$$dir" && trap 'rm -rf "$$dir"' EXIT && \
		bin/orderstore dev --data "$$dir/data" --http "$(HTTP)" --demo --exit-after-demo

setup: ## Install what is missing on this machine (Debian, Ubuntu, Homebrew)
	@scripts/setup

build: quiet-setup ## Build the programs into bin/
	@mkdir -p bin
	@go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

test: quiet-setup ## Run every test with the race detector, against real Postgres and JetStream
	go test -race -timeout 15m -p $(P) $(PKG)
	$(if $(filter ./...,$(PKG)),cd bench/peers && go test -race -timeout 5m ./...)

lint: $(LINT) ## Check style, import rules and formatting
	@unformatted=$$($(GOFUMPT) -l .); [ -z "$$unformatted" ] || { echo "make fmt would change:"; echo "$$unformatted"; exit 1; }
	$(LINT) run --timeout 10m
	cd bench/peers && $(abspath $(LINT)) run --timeout 10m

lint-api: ## Check the documents of API and events; needs Node.js
	npx --yes @stoplight/spectral-cli@$(SPECTRAL) lint --fail-severity=warn --ruleset web/.spectral.yaml web/openapi.yaml web/asyncapi.yaml

lint-fix: $(LINT) ## Mend what the linters can mend by themselves
	$(LINT) run --timeout 10m --fix

fmt: ## Format the Go files
	@$(GOFUMPT) -l -w .

bench: build ## Measure for under ten minutes, alone on the machine: the parts, the whole service, what others are built from
	go test -run '^$$' -bench . -benchmem -benchtime 200ms -timeout 5m -p 1 $(PKG)
	cd bench/peers && go build -o ../../bin/benchpeers .
	scripts/bench "$(OUT)"

chaos: build orderchaos ## Break a whole cluster FAULTS times (200) by SEED (1) while orders flow, kill single programs, and check that nothing is lost
	bin/orderchaos run --seed $(SEED) --faults $(FAULTS)
	ORDERSTORE_CHAOS_ORDERS=10000 go test -race -count 1 -timeout 30m -run Chaos ./cmd/...

chaos-short: build orderchaos ## Break a whole cluster 36 times, always the same: what a submission has to pass
	bin/orderchaos run --seed 7 --faults 36 --concurrency 6 --rate 200 --kinds $(SHORT)

.PHONY: orderchaos
orderchaos:
	@go build -o bin/orderchaos ./internal/chaos/orderchaos

chaos-bugs: quiet-setup ## Run a server with each seeded bug, and check that the checker catches it (BUGS="name …": those alone)
	@mkdir -p bin
	go build -tags seededbugs -o bin/orderstore-seeded ./cmd/orderstore
	go run ./internal/chaos/orderbugs -program bin/orderstore-seeded -page docs/reliability.md $(BUGS)

simulate: ## Run the committer, the relay and the projection under SEEDS (100000) sequences of faults, on stores in memory
	GOGC=800 go test -count 1 -timeout 2h -v -run 'TestSimulation$$' ./cmd/orderstore/simulation -seeds $(SEEDS)

fuzz: quiet-setup ## Run every fuzz target for FUZZTIME (60s) each
	@FUZZTIME="$(FUZZTIME)" scripts/fuzz

security: build $(LINT) ## Look for holes: gosec, govulncheck, sqlmap and slowhttptest (SQLMAP_MINUTES=0: all of it)
	@LINT="$(abspath $(LINT))" scripts/security

clean: ## Remove what was built; DATA stays
	rm -rf bin .cache coverage.out

.PHONY: quiet-setup
quiet-setup:
	@scripts/setup --quiet

$(LINT): tools.mod tools.sum
	@echo "building golangci-lint $(LINT_VERSION), once"
	@mkdir -p $(@D)
	@go build -modfile=tools.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@
