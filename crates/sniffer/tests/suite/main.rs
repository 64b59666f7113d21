//! What sniffers find in traffic: captured, published, made by a QUIC library, and damaged.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod http;
mod plan;
mod quic;
mod seal;
mod tls;
mod wire;
