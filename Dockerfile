# syntax=docker/dockerfile:1
# One file, a target per program:
#
#   docker build --target ingress   -t tgw-ingress .
#   docker build --target worker    -t tgw-worker .
#   docker build --target tgw       -t tgw .
#   docker build --target simulator -t telegram-simulator .
#
# The images hold one binary, no shell and no package manager, and run as user 65532. For the same reason
# there is no HEALTHCHECK: it would need a program to run inside. Whoever runs the containers asks from
# outside: GET /health (alive) and GET /ready (may have traffic).

FROM rust:1.95-slim-bookworm AS build
# The image's own toolchain: rust-toolchain.toml would have rustup fetch rustfmt and clippy too.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
# The mounts keep compiled dependencies between builds; what leaves the step is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bins \
        -p tgw-ingress -p tgw-worker -p tgw-gateway -p telegram-simulator \
    && mkdir -p /out/data \
    && cp target/release/tgw-ingress target/release/tgw-worker target/release/tgw \
        target/release/telegram-simulator /out/

FROM gcr.io/distroless/cc-debian12:nonroot AS base
# A volume takes over the owner of the folder that it covers.
COPY --from=build --chown=65532:65532 /out/data /data
ENV DATA_DIR=/data
VOLUME /data
USER 65532:65532
# More than SHUTDOWN_GRACE (25 s) is needed between this and a kill: see stop_grace_period in compose.
STOPSIGNAL SIGTERM

FROM base AS ingress
COPY --from=build /out/tgw-ingress /usr/local/bin/tgw-ingress
EXPOSE 8000
ENTRYPOINT ["/usr/local/bin/tgw-ingress"]

FROM base AS worker
COPY --from=build /out/tgw-worker /usr/local/bin/tgw-worker
EXPOSE 8001
ENTRYPOINT ["/usr/local/bin/tgw-worker"]

FROM base AS simulator
COPY --from=build /out/telegram-simulator /usr/local/bin/telegram-simulator
ENTRYPOINT ["/usr/local/bin/telegram-simulator"]

# Last, so that a build without --target makes the whole gateway.
FROM base AS tgw
COPY --from=build /out/tgw /usr/local/bin/tgw
EXPOSE 8000
ENTRYPOINT ["/usr/local/bin/tgw"]
CMD ["run"]
