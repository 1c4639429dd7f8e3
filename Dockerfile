# The image of every role: `fairhook serve`, `fairhook ingest`, `fairhook dispatcher`. The build is the README's own.

FROM rust:1-slim-bookworm AS build
WORKDIR /fairhook
COPY . .
RUN cargo build --release --locked --bins

FROM debian:bookworm-slim
# The certificates are for endpoints, brokers and databases that are spoken to over TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build \
    /fairhook/target/release/fairhook \
    /fairhook/target/release/fairhook-ingest \
    /fairhook/target/release/fairhook-dispatcher \
    /usr/local/bin/
# The embedded engine keeps its data here; on Postgres nothing is written to the disk.
RUN install --directory --mode 0700 --owner 10001 --group 10001 /var/lib/fairhook
USER 10001:10001
WORKDIR /var/lib/fairhook
ENV FAIRHOOK_LISTEN=0.0.0.0:3000 \
    FAIRHOOK_METRICS_LISTEN=0.0.0.0:3002 \
    FAIRHOOK_DATA_DIR=/var/lib/fairhook
EXPOSE 3000 3002
ENTRYPOINT ["fairhook"]
CMD ["serve"]
