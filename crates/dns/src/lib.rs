//! Names to addresses, by the servers that a configuration names and by no others.
//!
//! What it is: nameservers as text ([`Nameserver`]), the protocols that ask them (UDP, TCP, TLS, HTTPS) over whatever
//! way out they are given, and the [`Resolver`] that asks several at once, follows CNAMEs and remembers answers.
//!
//! What it is not: a server, and no reader of configuration files; it never asks the operating system's resolver, and
//! opens no socket but through an [`adit_net::Dialer`].
//!
//! ```
//! use adit_dns::{Nameserver, Options, Servers};
//!
//! let list = ["1.1.1.1", "https://dns.google/dns-query#disable-ipv6=true"];
//! let list = list.into_iter().map(Nameserver::parse).collect::<Result<Vec<_>, _>>()?;
//! // `dns.google` is looked up at 1.1.1.1; given to a tunnel, both are asked inside it.
//! let servers = Servers::new(list, Options::default())?;
//!
//! let error = Nameserver::parse("quic://dns.example").unwrap_err();
//! assert_eq!(error.at, 0..4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod cache;
mod fake;
mod message;
mod nameserver;
mod resolver;
mod servers;
mod tls;
mod upstream;

pub use fake::{BadRange, Fake, FakeIp, FakeRanges, Held};
pub use hickory_proto;
pub use message::{BadQuestion, BadResponse, Question, Response, read_response};
pub use nameserver::{BadNameserver, Certificate, Changes, Flaw, Https, Nameserver, Rcode, Subnet, Transport, Via};
pub use resolver::{AskError, Resolver};
pub use servers::{Options, Servers, ServersError};
