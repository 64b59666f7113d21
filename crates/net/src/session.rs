//! What a client asked for: facts, no verdicts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::{ClientAddr, Domain, Target};

/// A number that names one session for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl SessionId {
    /// A number nobody else has.
    #[must_use]
    pub fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The session of this number, if there ever was one.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// A byte stream.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The name of something configured: an inbound, an outbound, a group, a provider. Case-sensitive, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// A tag from its text.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Tag {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Tag {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Tag {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// How the client spoke to us. The names are those of `IN-TYPE` rules and of the `type` field of the connections API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Plain HTTP through the proxy (absolute-form requests).
    Http,
    /// HTTP `CONNECT`.
    Https,
    /// SOCKS4 and SOCKS4a.
    Socks4,
    /// SOCKS5.
    Socks5,
    /// Linux REDIRECT.
    Redir,
    /// Linux TPROXY.
    Tproxy,
    /// A `tunnel` listener with a fixed target.
    Tunnel,
    /// The TUN device.
    Tun,
    /// Traffic of our own.
    Inner,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Socks4 => "Socks4",
            Self::Socks5 => "Socks5",
            Self::Redir => "Redir",
            Self::Tproxy => "TProxy",
            Self::Tunnel => "Tunnel",
            Self::Tun => "Tun",
            Self::Inner => "Inner",
        })
    }
}

/// The door a session came through.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name of the listener (`DEFAULT-MIXED`, or the `name` of a `listeners` entry).
    pub inbound: Tag,
    /// How the client spoke.
    pub protocol: Protocol,
    /// Our own end of the client's connection.
    pub local: SocketAddr,
    /// Who the client proved to be, if it gave credentials.
    pub user: Option<Arc<str>>,
}

/// What our own DNS answers tell of the address that a client connected to. The names are those of `dnsMode` in the
/// connections API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DnsMode {
    /// Nothing: the target is as the client gave it.
    #[default]
    Normal,
    /// The client wrote to this address, which stood for the name that is the target.
    FakeIp(IpAddr),
    /// The client wrote to this address, which was given out for this name. The target keeps the address; rules see both.
    RedirHost {
        /// What was asked for.
        name: Domain,
        /// What was answered.
        ip: IpAddr,
    },
}

/// What a client asked for. Facts only: no verdicts, no caches, no protocol state.
#[derive(Clone, Debug)]
pub struct Session {
    /// Unique in this process.
    pub id: SessionId,
    /// TCP or UDP.
    pub network: Network,
    /// The door it came through.
    pub entry: Entry,
    /// Who asked.
    pub client: ClientAddr,
    /// Where to.
    pub target: Target,
    /// How the target came to be, where the client gave an address only.
    pub dns: DnsMode,
    /// A name seen inside the traffic (TLS SNI, HTTP Host), if we looked.
    pub sniffed: Option<Domain>,
    /// Differentiated services code point, 0 to 63, of the datagram that began it; 0 where nobody knows.
    pub dscp: u8,
    /// When the client's wish was known.
    pub since: Instant,
}

impl Session {
    /// A session that begins now.
    #[must_use]
    pub fn new(network: Network, entry: Entry, client: ClientAddr, target: Target) -> Self {
        Self {
            id: SessionId::next(),
            network,
            entry,
            client,
            target,
            dns: DnsMode::Normal,
            sniffed: None,
            dscp: 0,
            since: Instant::now(),
        }
    }
}
