//! The labs themselves: what tests of WireGuard and of transparent proxying stand on. Needs root, `/dev/net/tun` and `scripts/setup`.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "these are tests: a panic is how they fail")]

mod gateway;
mod kernel;
mod proxies;
mod relay;
