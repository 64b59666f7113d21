//! What an outbound is built from. `config` makes these from YAML and share links; nothing in them can be wrong.

use std::sync::Arc;
use std::time::Duration;

use adit_net::{Secret, SocketOptions, Tag, Target, Through};

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
#[derive(Clone, Debug)]
pub struct Group {
    /// Unique among proxies and groups.
    pub name: Tag,
    /// How a member is chosen.
    pub kind: GroupKind,
    /// Proxies and groups, in order; never empty, all known, no cycle.
    pub members: Vec<Tag>,
    /// Refuse UDP whatever the member can do.
    pub disable_udp: bool,
    /// For dashboards.
    pub hidden: bool,
    /// For dashboards.
    pub icon: String,
}

/// How a group chooses.
#[derive(Clone, Debug)]
pub enum GroupKind {
    /// By hand; `default` (a member) until somebody does.
    Select {
        /// The first choice; `None` is the first member.
        default: Option<Tag>,
    },
}
