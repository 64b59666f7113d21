//! One nameserver as a configuration writes it, understood.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use adit_net::{Host, Secret, Target};
use http::uri::PathAndQuery;
use ipnet::IpNet;

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{BadNameserver, Flaw};

/// One server to ask: how, where, through what, and what to change about questions and answers.
///
/// Read with [`Nameserver::parse`]; equal values are the same server, so that a list can be cleared of duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// How it is reached.
    pub transport: Transport,
    /// The way out that the text names (`#name`). A [`Servers`](crate::Servers) is told its way out and ignores this.
    pub via: Option<Via>,
    /// What is changed about questions and answers.
    pub changes: Changes,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP, and TCP for answers that do not fit. Port 53 unless written.
    Udp(Target),
    /// TCP (RFC 7766). Port 53 unless written.
    Tcp(Target),
    /// DNS over TLS (RFC 7858). Port 853 unless written.
    Tls {
        /// Where it listens.
        server: Target,
        /// Whose certificate it must show.
        certificate: Certificate,
        /// `disable-reuse=true`: one connection for each question.
        one_shot: bool,
    },
    /// DNS over QUIC (RFC 9250). Port 853 unless written.
    Quic {
        /// Where it listens.
        server: Target,
        /// Whose certificate it must show.
        certificate: Certificate,
    },
    /// DNS over HTTPS (RFC 8484), by HTTP/2. Port 443 unless written.
    Https(Box<Https>),
    /// Whatever servers `/etc/resolv.conf` names.
    System,
    /// Nobody is asked: every question gets this answer, and at once.
    Rcode(Rcode),
}

/// Where DNS over HTTPS is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Https {
    /// Where it listens.
    pub server: Target,
    /// The path, taken literally; `/` if none is written.
    pub path: PathAndQuery,
    /// The value of `authorization`, if the URL has a user in it.
    pub authorization: Option<Secret>,
    /// Whose certificate it must show.
    pub certificate: Certificate,
}

/// Whose certificate a server must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// One for the host that is dialled.
    OfServer,
    /// One for this host (`name-cert-verify`).
    Of(Host),
    /// Any (`skip-cert-verify=true`).
    Unchecked,
}

/// The way out that a nameserver names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// `RULES`: whatever the rules say.
    Rules,
    /// An outbound or group if there is one of that name, otherwise a network interface.
    Named(String),
}

/// What is changed about questions to a server, and about its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Types that are answered with nothing, and whose records are taken out of answers (`disable-ipv4`,
    /// `disable-ipv6`, `disable-qtype-<n>`). Sorted, no duplicates.
    pub disabled: Vec<u16>,
    /// The client subnet that the server is told (RFC 7871).
    pub subnet: Option<Subnet>,
}

/// A client subnet to tell a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The network; bits past the prefix are zero.
    pub network: IpNet,
    /// Whether it replaces one that the client sent (`ecs-override=true`).
    pub replaces: bool,
}

/// A fixed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rcode {
    /// No error, and no records.
    Success,
    /// FORMERR.
    FormatError,
    /// SERVFAIL.
    ServerFailure,
    /// NXDOMAIN.
    NameError,
    /// NOTIMP.
    NotImplemented,
    /// REFUSED.
    Refused,
}

impl Rcode {
    /// Every one of them, with its name in a configuration.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("success", Self::Success),
        ("format_error", Self::FormatError),
        ("server_failure", Self::ServerFailure),
        ("name_error", Self::NameError),
        ("not_implemented", Self::NotImplemented),
        ("refused", Self::Refused),
    ];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, code)| *code == self).map_or("", |(name, _)| name)
    }
}

impl Nameserver {
    /// Reads one nameserver: `[scheme://]host[:port][/path][#fragment]`, a bare address being UDP.
    ///
    /// # Errors
    /// Says what is wrong and where in `text`; see [`Flaw`].
    pub fn parse(text: &str) -> Result<Self, BadNameserver> {
        parse::nameserver(text)
    }

    /// Where the server is; `None` for those without a place.
    #[must_use]
    pub fn server(&self) -> Option<&Target> {
        match &self.transport {
            Transport::Udp(server)
            | Transport::Tcp(server)
            | Transport::Tls { server, .. }
            | Transport::Quic { server, .. } => Some(server),
            Transport::Https(https) => Some(&https.server),
            Transport::System | Transport::Rcode(_) => None,
        }
    }
}

impl FromStr for Nameserver {
    type Err = BadNameserver;

    fn from_str(text: &str) -> Result<Self, BadNameserver> {
        Self::parse(text)
    }
}

impl From<IpAddr> for Nameserver {
    /// Plain UDP, port 53.
    fn from(address: IpAddr) -> Self {
        Self { transport: Transport::Udp(Target::new(address, 53)), via: None, changes: Changes::default() }
    }
}

impl fmt::Display for Nameserver {
    /// The server in a few words, for logs and errors: no user, no fragment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Udp(server) => write!(f, "udp://{server}"),
            Transport::Tcp(server) => write!(f, "tcp://{server}"),
            Transport::Tls { server, .. } => write!(f, "tls://{server}"),
            Transport::Quic { server, .. } => write!(f, "quic://{server}"),
            // The path may be a customer's secret.
            Transport::Https(https) => write!(f, "https://{}", https.server),
            Transport::System => f.write_str("system"),
            Transport::Rcode(code) => write!(f, "rcode://{}", code.name()),
        }
    }
}
