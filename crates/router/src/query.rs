//! What the router is asked, and the one place where a session's facts are put into the form rules compare.

use std::net::IpAddr;

use adit_net::{DnsMode, Host, Network, Protocol, Session};

/// What is known of the destination's address when the client gave a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// Nobody has asked yet; an IP rule will answer [`Step::NeedAddress`](crate::Step::NeedAddress).
    #[default]
    NotAsked,
    /// The address that `hosts` or a resolver gave.
    Known(IpAddr),
    /// A resolver was asked in vain: IP rules do not match, and nobody asks again.
    Unresolvable,
}

impl Address {
    /// The address, if there is one.
    #[must_use]
    pub fn known(self) -> Option<IpAddr> {
        match self {
            Self::Known(ip) => Some(ip),
            Self::NotAsked | Self::Unresolvable => None,
        }
    }
}

/// The local process that opened the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Full path of the executable; its last component is the name that `PROCESS-NAME` compares.
    pub path: String,
    /// User id; 0 means unknown and never matches a `UID` rule.
    pub uid: u32,
}

impl Process {
    /// The executable's base name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// What is known of the program that opened the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opener<'a> {
    /// Nobody has looked yet; a process rule will answer [`Step::NeedProcess`](crate::Step::NeedProcess).
    #[default]
    NotAsked,
    /// It was looked up.
    Known(&'a Process),
    /// It was looked for in vain, or is not looked for: process rules do not match, and nobody asks again.
    Unknown,
}

impl<'a> From<Option<&'a Process>> for Opener<'a> {
    /// The outcome of looking.
    fn from(found: Option<&'a Process>) -> Self {
        found.map_or(Self::Unknown, Self::Known)
    }
}

/// A question to the rules.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Who wants to go where.
    pub session: &'a Session,
    /// The destination's address as far as it is known. Not looked at when the target is an address itself.
    pub address: Address,
    /// The process behind the connection.
    pub process: Opener<'a>,
}

impl<'a> Query<'a> {
    /// A first question: neither address nor process was asked for.
    #[must_use]
    pub fn new(session: &'a Session) -> Self {
        Self { session, address: Address::NotAsked, process: Opener::NotAsked }
    }

    /// The same question with an answer about the address.
    #[must_use]
    pub fn with_address(self, address: Address) -> Self {
        Self { address, ..self }
    }

    pub(crate) fn facts(&self) -> Facts<'a> {
        let Self { session, .. } = *self;
        let (name, destination) = match &session.target.host {
            Host::Ip(ip) => (None, Destination::Known(*ip)),
            Host::Domain(name) => {
                let destination = match self.address {
                    Address::NotAsked => Destination::Askable,
                    Address::Known(ip) => Destination::LookedUp(ip.to_canonical()),
                    Address::Unresolvable => Destination::Unresolvable,
                };
                (Some(name), destination)
            }
        };
        let mapped = if let DnsMode::RedirHost { name, .. } = &session.dns { Some(name) } else { None };
        Facts {
            host: session.sniffed.as_ref().or(mapped).or(name).map_or("", |name| name.as_str()),
            destination,
            destination_port: session.target.port,
            source: Some(session.client.ip()),
            source_port: session.client.port(),
            in_port: session.entry.local.port(),
            network: session.network,
            protocol: session.entry.protocol,
            inbound: session.entry.inbound.as_str(),
            user: session.entry.user.as_deref(),
            process: self.process,
            dscp: session.dscp,
        }
    }
}

/// Where a connection goes, as far as IP rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The client gave an address.
    Known(IpAddr),
    /// The client gave a name, and this is its address.
    LookedUp(IpAddr),
    /// The client gave a name that nobody has looked up.
    Askable,
    /// The client gave a name that has no address.
    Unresolvable,
    /// There is no address and asking is not allowed (`src` swaps ends).
    Absent,
}

impl Destination {
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Known(ip) | Self::LookedUp(ip) => Some(ip),
            Self::Askable | Self::Unresolvable | Self::Absent => None,
        }
    }
}

/// A query in the form rules compare. Made once per decision; nothing here allocates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The *rule host*: the sniffed name if there is one, else the one that our DNS answers tell of the address, else the
    /// requested one, else empty.
    pub(crate) host: &'a str,
    pub(crate) destination: Destination,
    pub(crate) destination_port: u16,
    pub(crate) source: Option<IpAddr>,
    pub(crate) source_port: u16,
    pub(crate) in_port: u16,
    pub(crate) network: Network,
    pub(crate) protocol: Protocol,
    pub(crate) inbound: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) process: Opener<'a>,
    pub(crate) dscp: u8,
}

impl Facts<'_> {
    /// Source and destination change places, names stay, and nobody asks for an address: `RULE-SET,…,src`.
    pub(crate) fn swapped(self) -> Self {
        Self {
            destination: self.source.map_or(Destination::Absent, Destination::Known),
            destination_port: self.source_port,
            source: self.destination.ip(),
            source_port: self.destination_port,
            ..self
        }
    }

    /// Nobody asks for an address: `RULE-SET,…,no-resolve`.
    pub(crate) fn without_asking(self) -> Self {
        match self.destination {
            Destination::Askable => Self { destination: Destination::Absent, ..self },
            _ => self,
        }
    }
}
