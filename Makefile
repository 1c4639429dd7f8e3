# The gate. Needs Rust, a C compiler and git; `test-api` also Python 3.11, and the distributed tests PostgreSQL, RabbitMQ, Redis and
# promtool, which are installed where that is allowed. CI calls nothing else.

CARGO ?= cargo

.PHONY: all check fmt clippy doc test test-embedded test-distributed test-api chaos up down

all: check test test-api

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
