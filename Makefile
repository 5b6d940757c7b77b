# One name for each chore. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

WEB := gateway/web
WEB_SOURCES := $(shell find $(WEB)/src $(WEB)/public $(WEB)/scripts $(WEB)/index.html $(WEB)/vite.config.ts -type f 2>/dev/null)
VENV := target/venv

.PHONY: help
help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: run
run: web ## Build everything and serve a playable board on http://127.0.0.1:8080
	cargo run --release -p gateway --bin rookery -- serve

.PHONY: build
build: web ## Build the web client and the release binary target/release/rookery
	cargo build --release -p gateway --bin rookery

.PHONY: web
web: $(WEB)/dist/index.html ## Build the web client alone

$(WEB)/node_modules/.stamp: $(WEB)/package.json $(WEB)/package-lock.json
	@command -v npm >/dev/null || { echo 'npm is missing: install Node 20 or newer (Debian: apt-get install nodejs npm)' >&2; exit 1; }
	cd $(WEB) && npm ci --no-audit --no-fund
	@touch $@

$(WEB)/dist/index.html: $(WEB)/node_modules/.stamp $(WEB_SOURCES)
	cd $(WEB) && npm run build
	@touch $@

.PHONY: cluster
cluster: build ## Three gateways, Redis, Postgres and HAProxy as local processes on http://127.0.0.1:8080; Ctrl-C ends all
	deploy/cluster.py target/release/rookery $(ARGS)

.PHONY: test
test: web-test rust-test oracle conformance documents deploy rolling e2e ## All tests; installs what they need where it may

.PHONY: web-test
web-test: web
	cd $(WEB) && npm test

.PHONY: rust-test
rust-test: test-setup programs
	cargo test --workspace --no-fail-fast

.PHONY: e2e
e2e: test-setup programs web ## The web client in a real browser, on three gateways
	cd $(WEB) && npm run e2e

# Whatever tests start, built in one call with the tests themselves: each other choice of packages would have Cargo settle on
# other features of the dependencies and compile most of them again.
DEBUG := $(CURDIR)/target/debug
.PHONY: programs
programs:
	cargo test --workspace --no-run
programs rust-test e2e: export ROOKERY_BIN := $(DEBUG)/rookery

# The same in release, for measurements.
RELEASE := $(CURDIR)/target/release
.PHONY: release-programs
release-programs: test-setup
	cargo build --release --workspace --bins

.PHONY: test-setup
test-setup:
	@tests/setup.sh redis-server chromium haproxy nginx postgresql prometheus

.PHONY: oracle
oracle: $(VENV)/.stamp programs ## Compare the rules with python-chess on 20,000 random positions
	$(VENV)/bin/python tests/oracle/oracle.py $(DEBUG)/examples/oracle $(ARGS)

.PHONY: conformance
conformance: $(VENV)/.stamp programs ## RFC 6455 conformance of the socket code, against examples/echo
	tests/conformance/run.sh $(DEBUG)/examples/echo $(VENV)/bin/python

.PHONY: documents
documents: $(VENV)/.stamp tests/documents/node_modules/.stamp programs ## Validate the OpenAPI and AsyncAPI documents, and a live node against them
	$(VENV)/bin/python tests/documents/check.py $(DEBUG)/rookery

.PHONY: deploy
deploy: $(VENV)/.stamp test-setup programs ## Render, validate and cross-check what lies in deploy/
	$(VENV)/bin/python tests/deploy/check.py $(DEBUG)/rookery

.PHONY: rolling
rolling: $(VENV)/.stamp test-setup programs ## Restart three gateways one by one under load, behind HAProxy and behind nginx
	$(VENV)/bin/python tests/deploy/rolling.py $(DEBUG)/rookery

tests/documents/node_modules/.stamp: tests/documents/package.json tests/documents/package-lock.json
	cd tests/documents && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

$(VENV)/.stamp: tests/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

.PHONY: replay
replay: release-programs ## Play every game of tests/data/games.pgn through three gateways and a Redis
	$(RELEASE)/replay $(ARGS)

.PHONY: chaos
chaos: release-programs ## Break a cluster, one thing after the other, while real games are played on it
	$(RELEASE)/chaos $(ARGS)

.PHONY: hostile
hostile: release-programs ## Attack three gateways and a Redis with thousands of bad frames, handshakes, tokens and requests
	$(RELEASE)/hostile $(ARGS)

.PHONY: load
load: release-programs ## Put load on a cluster of its own and on the floor: make load ARGS='--spectators 10000 --rate 5'
	$(RELEASE)/load run --floor $(ARGS)

.PHONY: bench-fanout
bench-fanout: release-programs ## Rookery, the floor and four other stacks on the same fan-out (15 min)
	tests/load/peers/setup.sh
	$(RELEASE)/load fanout $(ARGS)

.PHONY: bench-million
bench-million: release-programs ## A million spectators in one room (15 min, 20 GB); ARGS='--spectators 100000' for less
	$(RELEASE)/load million $(ARGS)

.PHONY: bench-rooms
bench-rooms: release-programs ## 20,000 games with three members each on four gateways (3 min)
	$(RELEASE)/load rooms $(ARGS)

.PHONY: bench-one-node
bench-one-node: release-programs ## Where one gateway ends, beside two and four on the same work (8 min)
	$(RELEASE)/load one-node $(ARGS)

.PHONY: bench-tree
bench-tree: release-programs ## One room, 1,000 listening gateways, with and without replicas of Redis (2 min)
	$(RELEASE)/load tree $(ARGS)

.PHONY: fuzz
fuzz: ## Fuzz the protocol decoder, FEN, SAN and the fold, a minute each
	shared/fuzz/run.sh

.PHONY: bench
bench: ## Criterion benches: fold, decide, append
	cargo bench --workspace

.PHONY: bench-archive
bench-archive: release-programs ## What writing behind and through costs, rows a second, and the archive's lag, against PostgreSQL
	$(RELEASE)/bench-archive $(ARGS)

.PHONY: lint
lint: $(WEB)/node_modules/.stamp ## rustfmt, clippy with warnings denied, tsc, eslint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p gateway -- -D warnings # as people run it, without the features that tests need
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	cd $(WEB) && npm run lint

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: audit
audit: ## Licences, bans, sources and known advisories of all dependencies (cargo-deny)
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check licenses bans sources
	@cargo deny fetch db >/dev/null 2>&1 && cargo deny check advisories || echo 'advisories: the database cannot be reached; not checked'

.PHONY: screenshots
screenshots: build ## Take docs/*.png anew
	cd $(WEB) && npm run screenshots
