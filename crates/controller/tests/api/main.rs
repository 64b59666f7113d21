//! Plays what dashboards, browsers, scrapers and strangers send, over real sockets, against an engine and a daemon that
//! notes what it is asked for.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod auth;
mod connections;
mod errors;
mod files;
mod metrics;
mod proxies;
mod rest;
mod streams;
mod theatre;
