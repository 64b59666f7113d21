//! The engine over real loopback sockets.

#![expect(clippy::unwrap_used, reason = "tests")]

mod flow;
mod route;
mod scene;
mod serve;
