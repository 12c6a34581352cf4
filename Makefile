# Everything that is done with this tree, each by one word. `make up` first.
SHELL := /bin/bash
SAMPAN := target/release/sampan

.PHONY: help up down test test-cgroup2 stress fuzz check bench image-kit build deps fmt

help: ## Say what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

up: ## Build, start a cluster here, and run the guestbook on it
	@scripts/up.sh

down: ## End the cluster: processes, mounts, links, rules, cgroups
	@$(SAMPAN) down

test: deps ## Run the tests: pure ones, those of the kernel, whole clusters
	@scripts/test.sh

test-cgroup2: deps ## Run the node's tests on control groups of version 2 alone and with AppArmor, in an emulated machine (x86_64)
	@tests/cgroup2/run.sh

stress: deps ## Start and delete 200 Pods five times over: nothing may be left of them
	@STRESS_PODS=200 STRESS_ROUNDS=5 scripts/test.sh stress

fuzz: deps ## Look for inputs that break a decoder, each for FUZZ_SECONDS
	@scripts/fuzz.sh $(TARGETS)

check: deps ## Format, lints as errors, layering, docs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test -q --locked -p sampan-testkit --test layers --test map
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --no-deps --document-private-items --locked --quiet

bench: deps build ## Measure, each figure beside a peer where there is one
	@scripts/bench.sh

image-kit: build ## Make the image busybox and bring it into the running cluster
	@images/busybox.sh | $(SAMPAN) image import - --rootfs --name docker.io/library/busybox:latest --cmd sh

build: deps ## Build the program
	cargo build --release --locked -p sampan

deps: ## Install what building and running need
	@scripts/deps.sh
