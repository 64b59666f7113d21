//! Ways out.
//!
//! What it is: one [`adit_net::Dialer`] per protocol (direct, reject, socks5, http, vless), the options each is built
//! from, and the [`Book`](options) that finds them by name.
//!
//! What it is not: it knows no inbound, no rule and no YAML.

#![forbid(unsafe_code)]

pub mod options;
pub mod vless;
