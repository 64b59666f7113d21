//! Ways out.
//!
//! What it is: one [`adit_net::Dialer`] per protocol (direct, reject, socks5, http, vless, wireguard), the options each is built
//! from, and the [`Book`] that finds them by name and follows groups to their current choice.
//!
//! What it is not: it knows no inbound, no rule and no YAML.
//!
//! ```
//! use std::sync::Arc;
//!
//! use adit_net::{Dial, DialError, Resolve, SystemResolver, Target};
//! use adit_outbound::Book;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
//! let book = Book::build(Vec::new(), Vec::new(), Arc::clone(&resolver), resolver)?;
//! let target: Target = "example.com:443".parse()?;
//!
//! let way = book.find("GLOBAL").ok_or("no such outbound")?;
//! assert_eq!(way.chain.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(), ["DIRECT", "GLOBAL"]);
//!
//! book.select("GLOBAL", "REJECT")?;
//! let way = book.find("GLOBAL").ok_or("no such outbound")?;
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let refused = way.dialer.connect(Dial { target: &target, known: None, client: None }).await;
//! assert!(matches!(refused, Err(DialError::Denied(_))));
//! # });
//! # Ok(())
//! # }
//! ```
//!
//! Chaining is holding another dialer: an outbound with `dialer-proxy` reaches its server through the way of that name,
//! looked up when somebody dials. A new protocol is one more folder, an option type, and a line in `book/build.rs`; a new
//! kind of group is one more file in `group/` and a variant.
//!
//! The parsers of what proxy servers send are public, because they are fuzzed: [`socks5::wire::parse_reply`],
//! [`socks5::wire::parse_datagram`], [`http::wire::parse_head`], and those of [`vless`].

#![forbid(unsafe_code)]

pub mod http;
pub mod options;
pub mod socks5;
pub mod vless;

mod book;
mod carrier;
mod checks;
mod connector;
mod direct;
mod group;
mod health;
mod lineage;
mod names;
mod probe;
mod race;
mod reject;
mod server;
mod tls;
mod wireguard;

pub use book::{Book, BookError, GroupReport, NodeReport, Role, SelectError, Way};
pub use checks::{ProviderCheck, keep_testing};
pub use direct::Direct;
pub use health::{HealthReport, Measurement, UrlReport};
pub use probe::{Test, TestError};
pub use tls::TlsOptionsError;
