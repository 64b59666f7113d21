//! From what a client asked for to the outbound that serves it.
//!
//! What it is: the rule lines of a Mihomo-style config compiled into [`Rules`], and the sets they refer to: domain
//! patterns ([`DomainSet`], [`DomainMap`], [`Hosts`]), addresses ([`IpSet`]), rule providers ([`RuleSet`]) and geo databases
//! ([`Geo`]). Everything is pure and synchronous: bytes and facts go in, values come out.
//!
//! What it is not: it opens no file and no socket, and it resolves no name. When a rule needs an address, [`Step`] says
//! so, and the decision is resumed with the answer. Groups, health and dialing belong to others.
//!
//! ```
//! use std::collections::HashMap;
//! use adit_net::{Entry, Network, Protocol, Session, Tag};
//! use adit_router::{Address, Geo, Query, Rules, Sources, Step};
//!
//! let rules = Rules::compile(Sources {
//!     rules: &[
//!         "DOMAIN-SUFFIX,example.com,Proxy".to_owned(),
//!         "IP-CIDR,10.0.0.0/8,DIRECT".to_owned(),
//!         "MATCH,Proxy".to_owned(),
//!     ],
//!     sub_rules: &[],
//!     providers: &HashMap::new(),
//!     geo: &Geo::default(),
//!     known_target: &|name| ["DIRECT", "Proxy"].contains(&name),
//!     no_resolve_all: false,
//!     processes: false,
//! })
//! .expect("three good rules");
//!
//! let entry = Entry {
//!     inbound: Tag::new("DEFAULT-MIXED"),
//!     protocol: Protocol::Socks5,
//!     local: "127.0.0.1:7890".parse()?,
//!     user: None,
//! };
//! let client: std::net::SocketAddr = "127.0.0.1:50000".parse()?;
//! let session = Session::new(Network::Tcp, entry, client.into(), "nas.lan:443".parse()?);
//!
//! let mut query = Query::new(&session);
//! let mut step = rules.decide(&query);
//! if let Step::NeedAddress(cursor) = step {
//!     query.address = Address::Known("10.1.2.3".parse()?); // whoever drives the router asks a resolver here
//!     step = rules.resume(cursor, &query);
//! }
//! let Step::Use(verdict) = step else { unreachable!("asked once") };
//! assert_eq!(&*verdict.outbound, "DIRECT");
//! assert_eq!(verdict.rule.map(|rule| rule.to_string()).as_deref(), Some("IPCIDR(10.0.0.0/8)"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod domain;
mod geo;
mod ip_set;
mod list;
mod membership;
mod mode;
mod provider;
mod query;
mod ranges;
mod rule;
mod rules;
mod tally;
#[cfg(test)]
mod tests;
mod trace;

pub use domain::{
    BadPattern, DamagedTrie, DomainMap, DomainPattern, DomainSet, DomainSetBuilder, Hosts, HostsError, Scope,
    parse_hosts_value,
};
pub use geo::{AsnDatabase, AsnRecord, Countries, Geo, GeoError, GeoIpDat, GeoSite, Mmdb};
pub use ip_set::{IpSet, IpSetBuilder, parse_prefix};
pub use membership::{BadMembership, Membership, MembershipCompiler};
pub use mode::Mode;
pub use provider::{Behavior, Format, ProviderError, ProviderHandle, ProviderWarning, RuleSet};
pub use query::{Address, Opener, Process, Query};
pub use ranges::{BadRanges, IntRanges};
pub use rule::{Reason, RuleError, RuleErrorKind, RuleKind, RuleWarning, RuleWarningKind};
pub use rules::{Cursor, RuleInfo, Rules, Sources, Step, Verdict};
pub use tally::RuleStats;
pub use trace::{Trace, TraceResult, TracedRule};

use rule::shown;
