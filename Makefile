# Recompra's front door: `make` lists what it can do. Every variable can be set: `make run PAPER="--seed 7"`.

CARGO  ?= cargo
PYTHON ?= python3
# What `make run` shows.
PAPER  ?= --cycles 3 --speed 600 --seed 6
# What `make conformance` installs from PyPI.
PYBIT  ?= pybit==5.17.0
# How long `make fuzz` gives each target.
FUZZ_SECONDS ?= 60
# Which seed `make sim` replays.
SEED   ?= 1
# auto: the system's OpenSSL where its headers are, else built from source. Or: system, vendored.
OPENSSL ?= auto
# The oldest Rust that builds it.
OLDEST_RUST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ifeq ($(OPENSSL),auto)
OPENSSL_USED := $(shell if [ -n "$${OPENSSL_DIR:-}$${OPENSSL_LIB_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null; then echo system; else echo vendored; fi)
else
OPENSSL_USED := $(OPENSSL)
endif
FEATURES ?= $(if $(filter vendored,$(OPENSSL_USED)),--features vendored-openssl)
BUILD = --locked $(FEATURES)

MACHINES = x86_64 aarch64 armv7 armv6
DIST_EACH = $(MACHINES:%=dist-%)
# Which of them `make size`, `make dist-reproducible` and `make dist-test` are about.
MACHINE  ?= armv7
TESTED   ?= $(MACHINES)

.PHONY: dist $(DIST_EACH) dist-test dist-table dist-reproducible size machine-test cron-test board-test help preflight build run test torture sim coverage check msrv fmt architecture bench footprint instructions doc conformance fuzz clean

help: ## list the targets
	@echo "make run    builds the bot and lets it trade against the exchange inside it, with no real money"
	@echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

preflight: ## say what the build lacks, and the command that installs it
	@missing=0; \
	lacks() { echo "make: missing: $$1: $$2" >&2; missing=1; }; \
	command -v $(CARGO) >/dev/null || lacks "$(CARGO)" "install Rust $(OLDEST_RUST) or newer (that of your distribution may be older): https://rustup.rs"; \
	command -v cc >/dev/null || lacks "a C compiler (cc)" "apt-get install gcc libc6-dev"; \
	if [ "$(OPENSSL_USED)" = vendored ]; then \
	  command -v perl >/dev/null && perl -MIPC::Cmd -MFile::Compare -MFindBin -e1 2>/dev/null \
	    || lacks "perl with its modules, to build OpenSSL" "apt-get install perl (or use the system's OpenSSL: apt-get install libssl-dev pkg-config)"; \
	  [ $$missing = 1 ] || echo "make: OpenSSL's headers are not installed: it is built from source, once (minutes). Quicker: apt-get install libssl-dev pkg-config" >&2; \
	fi; \
	[ $$missing = 0 ]

build: preflight ## the release binary
	$(CARGO) build --release $(BUILD)

run: preflight ## several cycles of the whole bot against the exchange inside it
	$(CARGO) run --release $(BUILD) -- paper $(PAPER)

test: preflight ## all tests
	$(CARGO) test $(BUILD)

torture: preflight ## a million seeds of the simulation that makes everything fail, and a thousand real kills (RECOMPRA_SEEDS, RECOMPRA_KILLS)
	RECOMPRA_SEEDS=$${RECOMPRA_SEEDS:-1000000} $(CARGO) test --profile torture $(BUILD) --test torture -- --nocapture whatever
	RECOMPRA_KILLS=$${RECOMPRA_KILLS:-1000} $(CARGO) test --profile torture $(BUILD) --test kills -- --nocapture

sim: preflight ## one seed of that simulation, with everything that happens in it: make sim SEED=7
	RECOMPRA_SEED=$(SEED) $(CARGO) test $(BUILD) --test torture -- --nocapture whatever

check: preflight ## formatting, lints, documentation and architecture, all without a warning
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets $(BUILD) -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps $(BUILD)
	$(CARGO) test $(BUILD) --test architecture

# Its own target folder: two compilers in one would build everything anew each time.
msrv: preflight ## the oldest Rust that Cargo.toml and the README name builds it; needs exactly that one
	@grep -q 'Rust $(OLDEST_RUST) or newer' README.md || { echo "make: the README does not say: Rust $(OLDEST_RUST) or newer" >&2; exit 1; }
	@oldest=$(OLDEST_RUST).0; \
	if rustup run $$oldest cargo --version >/dev/null 2>&1; then cargo="rustup run $$oldest cargo"; \
	elif $(CARGO) --version | grep -q "^cargo $$oldest "; then cargo=$(CARGO); \
	else echo "make: missing: Rust $$oldest: rustup toolchain install --profile minimal $$oldest" >&2; exit 1; fi; \
	CARGO_TARGET_DIR=target/msrv $$cargo check --lib --bins $(BUILD)

# Their own tests and the simulation; what the rest of the suite would add is not needed to reach the goal.
coverage: preflight ## line coverage of the core, the engine and the journal: at least 95 %; needs cargo-tarpaulin
	@$(CARGO) tarpaulin --version >/dev/null 2>&1 || { echo "make: missing: cargo-tarpaulin: cargo install --locked cargo-tarpaulin" >&2; exit 1; }
	@code=0; $(CARGO) tarpaulin --engine llvm --skip-clean --target-dir target/coverage $(BUILD) \
	  --lib --test strategy_properties --test recovery_table --test absence_table --test contradictions --test upgrade --test torture \
	  --include-files 'src/core/*' --include-files 'src/engine/*' --include-files 'src/journal/*' \
	  --out Stdout --out Lcov --output-dir target/coverage --fail-under 95 || code=$$?; \
	rm -f build_rs_cov.profraw; exit $$code

architecture: preflight ## only the checks of the architecture
	$(CARGO) test $(BUILD) --test architecture

bench: preflight ## from fill to order beside a floor client, its parts, backtest and sweep beside a floor program; and the footprint
	$(CARGO) bench $(BUILD) --bench reaction --bench backtest
	@$(MAKE) --no-print-directory footprint

# The bench itself may be slow: what is measured is another process.
footprint: preflight ## start, memory, threads, disk and idle processor time of the static binary if it is built, else of the release build
	@static=$(CURDIR)/target/dist/recompra-$$(uname -m)-linux-musl; \
	if [ -z "$${RECOMPRA:-}" ] && [ -x "$$static" ]; then export RECOMPRA=$$static; fi; \
	if [ -z "$${RECOMPRA:-}" ]; then $(CARGO) build --release $(BUILD); export RECOMPRA=$(CURDIR)/target/release/recompra; fi; \
	$(CARGO) bench $(BUILD) --profile dev --bench footprint

# On the static binary, whose libraries are the same on every machine.
instructions: preflight ## processor instructions from fill to order, beside the known figure; needs valgrind and make dist-x86_64
	@command -v valgrind >/dev/null || { echo "make: missing: valgrind: apt-get install valgrind" >&2; exit 1; }
	@static=$(CURDIR)/target/dist/recompra-x86_64-linux-musl; \
	[ -x "$$static" ] || { echo "make: missing: $$static: make dist-x86_64" >&2; exit 1; }; \
	RECOMPRA=$$static $(CARGO) bench $(BUILD) --profile dev --bench reaction -- --instructions

fmt: ## format the sources
	$(CARGO) fmt

doc: preflight ## the documentation of the source, below target/doc
	$(CARGO) doc --no-deps $(BUILD)

# Somebody else's client against our exchange: what pybit accepts, and how it signs, is not ours to decide.
conformance: preflight ## the exchange inside the binary, as pybit (Bybit's own Python client) sees it
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: missing: Python's venv: apt-get install python3-venv" >&2; exit 1; }
	$(CARGO) build $(BUILD)
	@target=$$($(CARGO) metadata --no-deps --offline --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/'); \
	venv="$$target/conformance"; \
	[ -x "$$venv/bin/python" ] || $(PYTHON) -m venv "$$venv"; \
	"$$venv/bin/python" -c 'import pybit' 2>/dev/null || "$$venv/bin/python" -m pip install --quiet --disable-pip-version-check $(PYBIT); \
	shopt -s nullglob; tests=(tests/conformance/*.py); \
	[ $${#tests[@]} -gt 0 ] || { echo "make: there is no test in tests/conformance" >&2; exit 1; }; \
	for test in "$${tests[@]}"; do \
	  echo "conformance: $$test"; \
	  RECOMPRA="$$target/debug/recompra" "$$venv/bin/python" "$$test"; \
	done

# The corpus that it grows stays outside the source tree: what it finds is made a seed by hand.
fuzz: preflight ## every parser of outside bytes against the fuzzer, FUZZ_SECONDS each; needs a nightly Rust and cargo-fuzz
	@$(CARGO) +nightly fuzz --version >/dev/null 2>&1 \
	  || { echo "make: missing: cargo-fuzz or a nightly Rust: rustup toolchain install nightly; cargo install cargo-fuzz" >&2; exit 1; }
	@for target in $$(cd fuzz && $(CARGO) +nightly fuzz list); do \
	  mkdir -p "fuzz/target/corpus/$$target"; \
	  (cd fuzz && $(CARGO) +nightly fuzz run "$$target" "target/corpus/$$target" "corpus/$$target" -- -max_total_time=$(FUZZ_SECONDS)); \
	done

dist: ## static binaries for x86_64, aarch64, armv7 and armv6 with archives, in target/dist; one alone: make dist-armv7
	contrib/dist/build.sh $(MACHINES)

$(DIST_EACH): dist-%:
	contrib/dist/build.sh $*

dist-test: ## what make dist has built, on the smallest processors it is for: paper, and a cycle over TLS (TESTED="x86_64 armv7")
	contrib/dist/test.sh $(TESTED)

dist-table: ## sizes and start times of what make dist has built, as the README shows them
	@contrib/dist/table.sh

dist-reproducible: ## build the last commit twice, in two folders, and compare the bytes (MACHINE=armv7)
	contrib/dist/reproducible.sh $(MACHINE)

size: ## what is in a static binary, by crate (MACHINE=armv7)
	@contrib/dist/size.sh $(MACHINE)

machine-test: preflight ## what needs a machine: a full disk and a slow one, little memory, a clock of 1970, an upgrade, an exchange far away; as root
	$(CARGO) build $(BUILD)
	@for test in install units clock poor_board slow_disk sockets delay; do tests/machine/$$test.sh; done

cron-test: preflight ## Debian's cron starts the bot each minute while it is killed; as root, up to four minutes
	$(CARGO) build $(BUILD)
	tests/machine/cron.sh

board-test: ## the README's first hour on an emulated ARMv7 with BusyBox alone; as root, after make dist-armv7
	RECOMPRA=$(CURDIR)/target/dist/recompra-$$(uname -m)-linux-musl tests/machine/board.sh

clean: ## remove what was built
	$(CARGO) clean
