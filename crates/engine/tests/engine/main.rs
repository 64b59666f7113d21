//! The engine over real loopback sockets.

#![expect(clippy::unwrap_used, reason = "tests")]

mod dns;
mod flow;
mod flows;
mod names;
mod route;
mod scene;
mod serve;
mod translated;
