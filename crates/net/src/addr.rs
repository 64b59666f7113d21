//! Names for addresses.
//!
//! Two `SocketAddr` arguments can be swapped silently; a [`ClientAddr`] and a [`Target`] cannot. Everything a client,
//! a config file or a socket says about an address becomes one of these types exactly once, here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// A DNS name as the router and the outbounds know it.
///
/// INVARIANT: lowercase ASCII letters, digits, `-`, `_` and `.`; 1 to 253 bytes; every label has 1 to 63 bytes; no
/// trailing dot; not an IP address literal. It cannot be built otherwise, so nobody lower-cases or trims it again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

/// Why a text is not a [`Domain`] or a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadAddress {
    /// Nothing is left once trailing dots are removed.
    #[error("the name is empty")]
    Empty,
    /// More than 253 bytes in all, or a label of more than 63.
    #[error("the name is too long")]
    TooLong,
    /// Two dots in a row, or a dot at the start.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A byte that no host name contains (control characters, spaces, `/`, non-ASCII …).
    #[error("the name contains a character that host names do not have")]
    BadCharacter,
    /// The text is an address, not a name.
    #[error("this is an address, not a name")]
    IsAddress,
    /// The port is missing, not a number, or out of range.
    #[error("the port is missing or not between 0 and 65535")]
    BadPort,
}

impl Domain {
    /// Lower-cases `name`, removes trailing dots and checks it.
    ///
    /// # Errors
    /// See [`BadAddress`]. An address literal is an error here; [`Host::from_str`] accepts both.
    pub fn new(name: &str) -> Result<Self, BadAddress> {
        let name = name.trim_end_matches('.');
        if name.is_empty() {
            return Err(BadAddress::Empty);
        }
        if name.len() > 253 {
            return Err(BadAddress::TooLong);
        }
        for label in name.split('.') {
            match label.len() {
                0 => return Err(BadAddress::EmptyLabel),
                1..=63 => {}
                _ => return Err(BadAddress::TooLong),
            }
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err(BadAddress::BadCharacter);
        }
        if name.parse::<IpAddr>().is_ok() {
            return Err(BadAddress::IsAddress);
        }
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Ok(Self(name.to_ascii_lowercase().into()));
        }
        Ok(Self(name.into()))
    }

    /// The name, lowercase, without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        Self::new(text)
    }
}

/// Where a client wants to go, without the port: an address or a name.
///
/// INVARIANT: an IPv4-mapped IPv6 address is held as IPv4 when it came through [`Host::from`] or [`Host::from_str`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An address literal.
    Ip(IpAddr),
    /// A name that somebody still has to resolve.
    Domain(Domain),
}

impl Host {
    /// The address, if this is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Domain(_) => None,
        }
    }

    /// The name, if this is one.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Ip(_) => None,
            Self::Domain(name) => Some(name),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }
}

impl From<Domain> for Host {
    fn from(name: Domain) -> Self {
        Self::Domain(name)
    }
}

impl FromStr for Host {
    type Err = BadAddress;

    /// Accepts an IPv4 or IPv6 literal (brackets allowed around IPv6) or a name.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(inside) = bare {
            return inside
                .parse::<std::net::Ipv6Addr>()
                .map(|ip| IpAddr::V6(ip).into())
                .map_err(|_| BadAddress::BadCharacter);
        }
        match text.trim_end_matches('.').parse::<IpAddr>() {
            Ok(ip) => Ok(ip.into()),
            Err(_) => Domain::new(text).map(Self::Domain),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Domain(name) => name.fmt(f),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A destination: host and port. Displayed as `host:port`, IPv6 in brackets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The address or name.
    pub host: Host,
    /// 0 to 65535; inbounds refuse 0 where their protocol does.
    pub port: u16,
}

impl Target {
    /// A target from its parts.
    #[must_use]
    pub fn new(host: impl Into<Host>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The socket address, if the host is an address.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.host.ip().map(|ip| SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr.ip(), addr.port())
    }
}

impl FromStr for Target {
    type Err = BadAddress;

    /// Parses `name:port`, `1.2.3.4:port` or `[::1]:port`.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(BadAddress::BadPort)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(BadAddress::BadPort);
        }
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadAddress::BadPort);
        }
        let port = port.parse().map_err(|_| BadAddress::BadPort)?;
        Ok(Self { host: host.parse()?, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The address a client connects or sends from, IPv4-mapped addresses unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddr(SocketAddr);

impl ClientAddr {
    /// The client's address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.0.ip()
    }

    /// The client's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// Both, for a socket call.
    #[must_use]
    pub fn socket_addr(&self) -> SocketAddr {
        self.0
    }
}

impl From<SocketAddr> for ClientAddr {
    fn from(addr: SocketAddr) -> Self {
        Self(unmapped(addr))
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Turns `[::ffff:a.b.c.d]:p` into `a.b.c.d:p`. Every address a dual-stack socket hands out passes through here.
#[must_use]
pub fn unmapped(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_lowercase_ascii_without_trailing_dots() {
        assert_eq!(Domain::new("WWW.Example.COM..").unwrap().as_str(), "www.example.com");
        assert_eq!(Domain::new("..."), Err(BadAddress::Empty));
        assert_eq!(Domain::new("a..b"), Err(BadAddress::EmptyLabel));
        assert_eq!(Domain::new(&"a".repeat(64)), Err(BadAddress::TooLong));
        assert_eq!(Domain::new("1.2.3.4"), Err(BadAddress::IsAddress));
        for bad in ["a b", "a\0b", "a\rb", "a/b", "ä.de", "a:b", "[::1]", "a\u{1b}b"] {
            assert_eq!(Domain::new(bad), Err(BadAddress::BadCharacter), "{bad:?}");
        }
    }

    #[test]
    fn targets_parse_and_print() {
        for (text, shown) in [
            ("Example.com:443", "example.com:443"),
            ("1.2.3.4:80", "1.2.3.4:80"),
            ("[2001:db8::1]:53", "[2001:db8::1]:53"),
            ("[::ffff:1.2.3.4]:53", "1.2.3.4:53"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
        for bad in ["example.com", "::1:53", "a:", "a:65536", "a:+1", "a:-1", ":80", "[::1:80"] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mapped_addresses_are_unmapped_once() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:1".parse().unwrap();
        assert_eq!(ClientAddr::from(mapped).to_string(), "10.0.0.1:1");
        assert_eq!(Target::from(mapped).to_string(), "10.0.0.1:1");
    }
}
