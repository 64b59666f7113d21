# A static binary from the lock file, in an image that holds nothing else.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools make \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /src
COPY Cargo.toml Cargo.lock rust-toolchain.toml* ./
COPY crates crates
COPY configs configs
# The C parts are compiled for musl; the linker stays rustc's own (musl-gcc as linker would make a dynamic binary).
RUN target="$(uname -m)-unknown-linux-musl" \
 && export "CC_$(uname -m)_unknown_linux_musl=musl-gcc" \
 && cargo build --locked --profile dist -p adit --target "$target" \
 && install -D "target/$target/dist/adit" /out/adit \
 && install -d -o 65532 -g 65532 /out/root/.config/mihomo

FROM scratch
COPY --from=build /out/adit /adit
# Mihomo's place and volume, so that an existing mount goes on working.
COPY --from=build --chown=65532:65532 /out/root/.config/mihomo /root/.config/mihomo
ENV CLASH_HOME_DIR=/root/.config/mihomo
VOLUME /root/.config/mihomo
USER 65532:65532
ENTRYPOINT ["/adit"]
