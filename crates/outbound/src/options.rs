//! What an outbound is built from. `config` makes these from YAML and share links; nothing in them can be wrong.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{Secret, SocketOptions, Tag, Target, Through};
use thiserror::Error;
use url::Url;

/// One entry of `proxies:`, or a built-in.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Unique among proxies and groups.
    pub name: Tag,
    /// What it speaks.
    pub kind: Kind,
    /// Options that every kind has.
    pub common: Common,
}

/// Options that every outbound has.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Whether UDP may be routed here.
    pub udp: bool,
    /// Mark, interface and keep-alive of its sockets.
    pub socket: SocketOptions,
    /// Which address families it uses to reach its server (`direct`: the destination).
    pub ip_version: IpVersion,
    /// The proxy or group through which the server is reached, instead of directly.
    pub dialer_proxy: Option<Tag>,
    /// The provider it came from.
    pub provider: Option<Tag>,
    /// What it was made from, for [`Book::renew`](crate::Book::renew) to know whether it is still the same. `None` never is.
    pub written: Option<Secret>,
}

/// `ip-version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpVersion {
    /// Both; the first to connect wins.
    #[default]
    Dual,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// IPv4 gets a head start.
    PreferV4,
    /// IPv6 gets a head start.
    PreferV6,
}

/// What an outbound speaks.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Connects to the destination itself.
    Direct,
    /// Refuses at once.
    Reject,
    /// Lets the client wait, then closes.
    RejectDrop,
    /// "This rule did not match".
    Pass,
    /// Our own answers to DNS questions, whatever server they are for.
    Dns,
    /// An upstream SOCKS5 server.
    Socks5(Socks5),
    /// An upstream HTTP proxy (CONNECT).
    Http(Http),
    /// A VLESS server.
    Vless(Box<crate::vless::Options>),
    /// A WireGuard tunnel.
    WireGuard(Box<WireGuard>),
}

/// An upstream SOCKS5 server.
#[derive(Clone, Debug)]
pub struct Socks5 {
    /// Where it is.
    pub server: Target,
    /// User and password, if it wants them.
    pub credentials: Option<Credentials>,
    /// TLS to the server.
    pub tls: Option<Tls>,
}

/// An upstream HTTP proxy.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where it is.
    pub server: Target,
    /// User and password, if it wants them.
    pub credentials: Option<Credentials>,
    /// TLS to the server.
    pub tls: Option<Tls>,
    /// Headers sent with CONNECT; they override ours of the same name. Checked: token names, no CR or LF in values.
    pub headers: Vec<(String, Secret)>,
}

/// A WireGuard tunnel and where its other ends are.
#[derive(Clone, Debug)]
pub struct WireGuard {
    /// The tunnel itself.
    pub tunnel: adit_wireguard::Options,
    /// Where each of its peers is, in their order.
    pub endpoints: Vec<Target>,
    /// How often the endpoints' names are looked up again; `None` is only after failures.
    pub refresh: Option<Duration>,
    /// Who knows names, asked inside the tunnel; `None` is whoever knows them for other outbounds.
    pub remote_dns: Option<Arc<dyn Through>>,
}

/// A user name and password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name, 1 to 255 bytes.
    pub user: String,
    /// The password, at most 255 bytes.
    pub password: Secret,
}

/// Ordinary TLS to a proxy server (rustls).
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name to send and to check; a DNS name or an address.
    pub server_name: String,
    /// ALPN protocols offered, in order; empty offers none.
    pub alpn: Vec<String>,
    /// How the server's certificate is checked.
    pub verify: Verify,
    /// Our own certificate, for servers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
}

/// How a server's certificate is checked.
#[derive(Clone, Debug)]
pub enum Verify {
    /// Chain, name and time, against the built-in roots plus these extra ones (DER).
    Roots(Vec<Arc<[u8]>>),
    /// The SHA-256 of a certificate (`fingerprint`). If it is the server's own, nothing else is checked; if it is one
    /// further up in the chain, the chain up to it, the name and the time are.
    Pin([u8; 32]),
    /// Not at all (`skip-cert-verify: true`).
    Off,
}

/// A client certificate chain and its key.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// PEM, leaf first.
    pub chain: String,
    /// PEM (PKCS#8, SEC1 or PKCS#1).
    pub key: Secret,
}

/// One entry of `proxy-groups:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique among proxies and groups.
    pub name: Tag,
    /// How a member is chosen.
    pub kind: GroupKind,
    /// Proxies and groups, in order; never empty, all known, no cycle.
    pub members: Vec<Tag>,
    /// How its members are tested.
    pub check: Check,
    /// Refuse UDP whatever the member can do.
    pub disable_udp: bool,
    /// For dashboards.
    pub hidden: bool,
    /// For dashboards.
    pub icon: String,
}

/// How a group chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// By hand; `default` (a member) until somebody does.
    Select {
        /// The first choice; `None` is the first member.
        default: Option<Tag>,
    },
    /// The member with the least delay.
    UrlTest {
        /// How much slower, in milliseconds, the current one may be before it is left.
        tolerance: u16,
    },
    /// The first member that works.
    Fallback,
    /// Each connection gets a member of its own.
    LoadBalance(Strategy),
}

/// How `load-balance` spreads connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The same member for the same site.
    #[default]
    ConsistentHashing,
    /// One after the other.
    RoundRobin,
    /// The same member for the same client and site, for ten minutes.
    StickySessions,
}

/// How the members of a group are tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked for through each member.
    pub url: TestUrl,
    /// The status that counts as success; empty is any.
    pub expected: Vec<RangeInclusive<u16>>,
    /// How often; none is never.
    pub interval: Option<Duration>,
    /// Whether that is left out while nobody uses the group.
    pub lazy: bool,
    /// How long one test may take.
    pub timeout: Duration,
}

/// Where delay tests go unless something else is written.
pub const TEST_URL: &str = "https://www.gstatic.com/generate_204";

impl Default for Check {
    fn default() -> Self {
        Self {
            url: TestUrl::default(),
            expected: Vec::new(),
            interval: None,
            lazy: true,
            timeout: Duration::from_secs(5),
        }
    }
}

/// The URL of a delay test: `http://` or `https://`, a host, and perhaps a port and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestUrl {
    text: Arc<str>,
    /// `host:port`.
    pub(crate) authority: String,
    pub(crate) tls: bool,
    /// Path and query.
    pub(crate) path: String,
}

impl TestUrl {
    /// Reads one.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadTestUrl> {
        let url = Url::parse(text).map_err(|error| BadTestUrl(error.to_string()))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(BadTestUrl(format!("`{other}` is neither http nor https"))),
        };
        let port = if tls { 443 } else { 80 };
        let authority = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(port));
        if authority.parse::<Target>().map_err(|error| BadTestUrl(error.to_string()))?.port == 0 {
            return Err(BadTestUrl("nobody listens on port 0".into()));
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{query}", url.path());
        Ok(Self { text: text.into(), authority, tls, path })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same, shared.
    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.text
    }
}

impl Default for TestUrl {
    /// [`TEST_URL`].
    fn default() -> Self {
        let (authority, path) = ("www.gstatic.com:443".into(), "/generate_204".into());
        Self { text: TEST_URL.into(), authority, tls: true, path }
    }
}

/// Why a text is no URL to test with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a URL for delay tests: {0}")]
pub struct BadTestUrl(String);
