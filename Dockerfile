# Built in one stage, run in another: the image holds the program, certificates, and nothing to build.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p app && strip target/release/smartline

FROM debian:bookworm-slim
# PostgreSQL's programs serve the embedded mode; with DATABASE_URL set they are not used.
RUN mkdir -p /etc/postgresql-common \
 && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
 && apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates postgresql \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 65532 --home-dir /data --create-home smartline
COPY --from=build /src/target/release/smartline /usr/local/bin/smartline
USER 65532
WORKDIR /data
ENV SMARTLINE_LISTEN=0.0.0.0:8080 \
    SMARTLINE_OPS_LISTEN=0.0.0.0:9464 \
    SMARTLINE_DATA_DIR=/data
EXPOSE 8080 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/smartline"]
CMD ["serve"]
