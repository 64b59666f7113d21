//! What is configured: the `sniffer` section, as meant.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use adit_net::{Domain, Network};

/// A protocol that names its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The server name of a ClientHello, over TCP.
    Tls,
    /// The Host of a request, over TCP.
    Http,
    /// The server name of a ClientHello, over UDP.
    Quic,
}

impl Protocol {
    /// What it runs over.
    #[must_use]
    pub fn network(self) -> Network {
        match self {
            Self::Tls | Self::Http => Network::Tcp,
            Self::Quic => Network::Udp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Quic => "quic",
        })
    }
}

/// Where one protocol is looked for: an entry of `sniff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sniff {
    /// Destination ports.
    pub ports: Vec<RangeInclusive<u16>>,
    /// `override-destination` of this protocol; none takes the general one.
    pub override_destination: Option<bool>,
}

impl Sniff {
    /// TLS on its default port, 443.
    #[must_use]
    pub fn tls() -> Self {
        Self::on(443)
    }

    /// HTTP on its default port, 80.
    #[must_use]
    pub fn http() -> Self {
        Self::on(80)
    }

    /// QUIC on its default port, 443.
    #[must_use]
    pub fn quic() -> Self {
        Self::on(443)
    }

    fn on(port: u16) -> Self {
        Self { ports: vec![port..=port], override_destination: None }
    }
}

/// The `sniffer` section.
///
/// The default is enabled with every switch on, as an empty section is, but looks for no protocol. Who leaves sniffing
/// off makes no [`Plan`](crate::Plan), or one with `enable: false`.
#[derive(Clone, Debug)]
pub struct Options {
    /// `enable`: off, nobody is looked at.
    pub enable: bool,
    /// `force-dns-mapping`: look although our own DNS answers tell the name of the address (redir-host).
    pub force_dns_mapping: bool,
    /// `parse-pure-ip`: look where the client gave an address and nothing tells its name.
    pub parse_pure_ip: bool,
    /// `override-destination`: a name that was found is also what is dialed, not only what rules see.
    pub override_destination: bool,
    /// `force-domain`: look although the client named one of these.
    pub force_domain: NameSet,
    /// `skip-domain`: these are not taken when they are found.
    pub skip_domain: NameSet,
    /// `skip-src-address`: clients that are not looked at.
    pub skip_src_address: AddressSet,
    /// `skip-dst-address`: destinations that are not looked at.
    pub skip_dst_address: AddressSet,
    /// `sniff.TLS`.
    pub tls: Option<Sniff>,
    /// `sniff.HTTP`.
    pub http: Option<Sniff>,
    /// `sniff.QUIC`.
    pub quic: Option<Sniff>,
}

impl Options {
    /// Where `protocol` is looked for, if at all.
    #[must_use]
    pub fn sniff(&self, protocol: Protocol) -> Option<&Sniff> {
        match protocol {
            Protocol::Tls => self.tls.as_ref(),
            Protocol::Http => self.http.as_ref(),
            Protocol::Quic => self.quic.as_ref(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enable: true,
            force_dns_mapping: true,
            parse_pure_ip: true,
            override_destination: true,
            force_domain: NameSet::default(),
            skip_domain: NameSet::default(),
            skip_src_address: AddressSet::default(),
            skip_dst_address: AddressSet::default(),
            tls: None,
            http: None,
            quic: None,
        }
    }
}

/// A question about a name, asked of whoever holds the patterns and the rule sets. The default answers no.
#[derive(Clone)]
pub struct NameSet(Arc<dyn Fn(&Domain) -> bool + Send + Sync>);

impl NameSet {
    /// The names for which `contains` says yes. It is called for each connection and must not wait.
    #[must_use]
    pub fn new(contains: impl Fn(&Domain) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(contains))
    }

    /// Whether `name` is among them.
    #[must_use]
    pub fn contains(&self, name: &Domain) -> bool {
        (self.0)(name)
    }
}

/// A question about an address, asked of whoever holds the prefixes and the rule sets. The default answers no.
#[derive(Clone)]
pub struct AddressSet(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl AddressSet {
    /// The addresses for which `contains` says yes. It is called for each connection and must not wait.
    #[must_use]
    pub fn new(contains: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(contains))
    }

    /// Whether `address` is among them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.0)(address)
    }
}

impl Default for NameSet {
    fn default() -> Self {
        Self::new(|_name| false)
    }
}

impl Default for AddressSet {
    fn default() -> Self {
        Self::new(|_address| false)
    }
}

impl fmt::Debug for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameSet(..)")
    }
}

impl fmt::Debug for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressSet(..)")
    }
}
