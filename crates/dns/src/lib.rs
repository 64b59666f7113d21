//! Names to addresses, by the servers that a configuration names and by no others; and what clients are told of both.
//!
//! What it is:
//! - nameservers as text ([`Nameserver`]) and the protocols that ask them (UDP, TCP, TLS, QUIC, HTTPS) over whatever way out they
//!   are given; a list of them for one way out ([`Servers`]), or all of a configuration's with policy and fallback
//!   ([`Resolvers`]); each [`Resolver`] asks several at once, asks equal questions once, and remembers answers;
//! - addresses that stand for names and outlive the process ([`FakeIp`]);
//! - answers to clients ([`Service`]), at sockets of its own ([`DnsServer`]) or wherever questions were captured
//!   ([`Service::handle`]), and the way back from an address to a name ([`Service::original`]).
//!
//! What it is not: no reader of configuration files, and it knows no rules: who matches names is given to it. It never
//! asks the operating system's resolver, and opens no socket to a server but through an [`adit_net::Dialer`].
//!
//! ```
//! use adit_dns::{Nameserver, Options, Servers};
//!
//! let list = ["1.1.1.1", "https://dns.google/dns-query#disable-ipv6=true"];
//! let list = list.into_iter().map(Nameserver::parse).collect::<Result<Vec<_>, _>>()?;
//! // `dns.google` is looked up at 1.1.1.1; given to a tunnel, both are asked inside it.
//! let servers = Servers::new(list, Options::default())?;
//!
//! let error = Nameserver::parse("dhcp://eth0").unwrap_err();
//! assert_eq!(error.at, 0..4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A client's question, answered with a fake address by a service that asks nobody:
//!
//! ```
//! use std::sync::Arc;
//!
//! use adit_dns::{
//!     FakeFilter, FakeIp, FakeOptions, FakeRanges, Limit, Mode, Nameserver, Now, Original, Resolvers, Service, ServiceOptions,
//!     Upstreams, Via,
//! };
//! use adit_net::Dialer;
//!
//! # struct Nowhere;
//! # impl Dialer for Nowhere {
//! #     fn connect<'a>(
//! #         &'a self,
//! #         dial: adit_net::Dial<'a>,
//! #     ) -> adit_net::BoxFuture<'a, Result<adit_net::BoxStream, adit_net::DialError>> {
//! #         Box::pin(async move { Err(adit_net::DialError::Denied(dial.target.to_string())) })
//! #     }
//! # }
//! let upstreams = Upstreams { main: vec![Nameserver::parse("192.0.2.53#exit")?], ..Upstreams::default() };
//! let ways = |_via: Option<&Via>| Some(Arc::new(Nowhere) as Arc<dyn Dialer>);
//! let resolvers = Resolvers::new(&upstreams, &ways)?;
//!
//! let addresses = Arc::new(FakeIp::new(FakeRanges { v4: Some("198.18.0.1/16".parse()?), v6: None })?);
//! let filter = FakeFilter::Blacklist(Arc::new(|name: &str| name.ends_with(".lan")));
//! let service = Service::new(ServiceOptions {
//!     resolver: resolvers.main,
//!     hosts: Vec::new(),
//!     mode: Mode::FakeIp(FakeOptions { addresses, filter, ttl: 1 }),
//!     ipv6: false,
//! });
//!
//! let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01";
//! let mut answer = Vec::new();
//! assert!(matches!(service.answer_now(question, Limit::Datagram, &mut answer), Now::Answered));
//! assert!(answer.ends_with(&[198, 18, 0, 4]));
//! assert_eq!(service.original("198.18.0.4".parse()?), Original::Fake("www.example".parse()?));
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
