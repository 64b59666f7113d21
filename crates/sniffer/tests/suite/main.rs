//! What sniffers find in traffic: captured, published, made by a QUIC library, and damaged.

#![expect(clippy::unwrap_used, reason = "tests may stop")]

mod http;
mod plan;
mod quic;
mod seal;
mod tls;
mod wire;
