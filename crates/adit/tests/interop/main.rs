//! The whole program against real peers: stock Xray servers of two generations, real client programs, a live browser.
//!
//! `scripts/setup` installs the peers; `cargo build --release` makes the binary under test. `ADIT_SUBJECT=xray`, `mihomo` or
//! `sing-box` puts that program in adit's place, to see how others behave in the same scenes.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests: a panic is how they fail")]

mod clients;
mod control;
mod dashboard;
mod dns;
mod edges;
mod faults;
mod fingerprint;
mod http;
mod import;
mod leaving;
mod marks;
mod processes;
mod published;
mod reality;
mod redirect_cli;
mod scenes;
mod splice;
mod transparent;
mod vless;
mod wireguard;
