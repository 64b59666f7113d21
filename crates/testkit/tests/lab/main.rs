//! The lab itself: what tests of WireGuard stand on. Needs root, `/dev/net/tun` and `scripts/setup`.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "these are tests: a panic is how they fail")]

mod kernel;
mod proxies;
mod relay;
