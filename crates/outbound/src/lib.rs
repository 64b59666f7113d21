//! Ways out.
//!
//! What it is: one [`adit_net::Dialer`] per protocol (direct, reject, socks5, http, vless), the options each is built
//! from, and the [`Book`] that finds them by name and follows groups to their current choice.
//!
//! What it is not: it knows no inbound, no rule and no YAML.

#![forbid(unsafe_code)]

pub mod http;
pub mod options;
pub mod socks5;
pub mod vless;

mod book;
mod carrier;
mod connector;
mod direct;
mod group;
mod race;
mod reject;
mod server;
mod tls;

pub use book::{Book, BookError, SelectError, Way};
pub use tls::TlsOptionsError;
