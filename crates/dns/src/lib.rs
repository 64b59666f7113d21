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
mod encoded;
mod fake;
mod group;
mod mapping;
mod message;
mod nameserver;
mod plan;
mod query;
mod recent;
mod reply;
mod resolver;
mod resolvers;
mod response;
mod servers;
mod service;
mod system;
mod tls;
mod upstream;
mod wire;

pub use fake::{BadRange, Fake, FakeIp, FakeRanges, Held};
pub use hickory_proto;
pub use message::{BadQuestion, Question};
pub use nameserver::{BadNameserver, Certificate, Changes, Flaw, Https, Nameserver, Rcode, Subnet, Transport, Via};
pub use plan::{AddressMatch, Choose, NameMatch};
pub use query::{BadQuery, Query};
pub use reply::Limit;
pub use resolver::{AskError, Habits, Resolver};
pub use resolvers::{Fallback, Policy, Resolvers, Upstreams, Ways};
pub use response::{BadResponse, Response, read_response};
pub use servers::{Options, Servers, ServersError};
pub use service::{
    DnsServer, FakeAction, FakeFilter, FakeOptions, Later, Mode, Now, Original, Service, ServiceOptions,
};
pub use system::{HostsFile, read_hosts, read_resolv_conf};
