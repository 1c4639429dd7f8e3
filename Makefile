# The gate. Needs Rust, a C compiler and git; `test-api` and `test-guide` also Python 3.11, the latter curl and Node, and the distributed
# tests PostgreSQL, RabbitMQ, Redis and promtool, which are installed where that is allowed. CI calls nothing else.

CARGO ?= cargo

.PHONY: all check fmt clippy doc test test-embedded test-distributed test-api test-guide chaos up down

all: check test test-api test-guide

check: fmt clippy doc

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

# Every test: the embedded engine's, which need nothing, then those beside real services.
test: test-embedded test-distributed

# A test needs a service, or a tool that comes with them, if its path names one of these.
SERVED := postgres rabbitmq redis distributed promtool

test-embedded:
	$(CARGO) test --workspace --locked -- $(addprefix --skip ,$(SERVED))

# PostgreSQL, RabbitMQ and Redis of their own, which end with the tests (tests/services.sh says which may be given instead).
test-distributed:
	$(CARGO) test --workspace --locked --no-run
	tests/services.sh run -- $(CARGO) test --workspace --locked -- $(SERVED)

# A running server, called from its own document by schemathesis for a minute (API_SECONDS=600 for longer, API_SEED=… for
# other calls). The packages that it needs go into an environment in the target directory.
PYTHON ?= python3

test-api:
	$(CARGO) build --locked --bin fairhook
	$(PYTHON) tests/api/drive.py

# docs/GUIDE.md from top to bottom, as it stands there, with the libraries that it names from PyPI and npm.
test-guide:
	$(CARGO) build --locked --bins --example receiver
	$(PYTHON) tests/guide/run.py

# Faults of every kind at random for two minutes; CHAOS_SEED=… runs the same ones again.
chaos:
	CHAOS_SECONDS=120 $(CARGO) test --locked --test distributed -- --nocapture chaos

# Services for working by hand, and the settings of an engine that is to use them: eval "$$(make -s up)". Those that are
# up already stay.
SERVICES := $(or $(TMPDIR),/tmp)/fairhook-services-$(shell id -u)

up:
	@[ -e $(SERVICES)/env ] || tests/services.sh up $(SERVICES)
	@tests/services.sh settings $(SERVICES)

down:
	@tests/services.sh down $(SERVICES)
