# The front door, for people and for CI alike.

.DEFAULT_GOAL := help
.PHONY: help dev dev-stop test lint bench-units bench-agents bench-management bench-agent advisories

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

dev: ## something to try: three machines as root, your own systemd otherwise, a fleet-server and an agent; with ENGINE=1 a search engine
	@scripts/dev up

dev-stop: ## end all of it
	@scripts/dev down

test: ## every test; those on real machines need root
	@scripts/install-tools
	@scripts/test

lint: ## formatting, clippy, documentation, licences and sources
	@scripts/install-tools build
	@scripts/lint

bench-units: ## how fast units start, stop, move and are listed, beside a real etcd
	@scripts/install-tools
	cargo run --locked --release -p fleet-benches --bin bench-units -- --json target/bench-units.json

bench-agents: ## how fast agents enrol, check in and get policies and actions, on both stores
	@scripts/install-tools
	cargo run --locked --release -p fleet-benches --bin bench-agents -- --json target/bench-agents.json

bench-management: ## how fast the management API lists, counts and changes very many agents
	@scripts/install-tools
	cargo run --locked --release -p fleet-benches --bin bench-management -- --json target/bench-management.json

bench-agent: ## what the agent needs idle and shipping, beside rsyslog and a collector of OpenTelemetry
	@scripts/install-tools build machines benches
	cargo run --locked --release -p fleet-benches --bin bench-agent -- --json target/bench-agent.json

advisories: ## known vulnerabilities of what we depend on; fetches the database
	@scripts/deny advisories
