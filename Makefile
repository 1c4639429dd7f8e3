# The gate. Needs Rust, a C compiler and git; CI calls nothing else.

CARGO ?= cargo

.PHONY: all check fmt clippy doc test

all: check test

check: fmt clippy doc

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

# Every test, the black-box suite (tests/black_box) among them: it starts the real binary.
test:
	$(CARGO) test --workspace --locked
