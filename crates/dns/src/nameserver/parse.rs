//! The text of a nameserver (mihomo-surface.md §7.2).

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use adit_net::{BadAddress, Host, Secret, Target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::RecordType;
use http::uri::PathAndQuery;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::{Certificate, Changes, Https, Nameserver, Rcode, Subnet, Transport, Via};

/// Why a text is not a nameserver, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{flaw} (byte {} of the text)", at.start)]
pub struct BadNameserver {
    /// The bytes of the text that are wrong; within it, on character boundaries, possibly empty.
    pub at: Range<usize>,
    /// What is wrong with them.
    pub flaw: Flaw,
}

/// What is wrong with a nameserver. Never quotes a user or password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Flaw {
    /// There is no server in it.
    #[error("there is no server here")]
    NoServer,
    /// The host or port.
    #[error("this is not a server: {0}")]
    Server(BadAddress),
    /// A port of 0.
    #[error("no server listens on port 0")]
    PortZero,
    /// A scheme that nobody knows.
    #[error("`{0}` is not a way to ask: write udp, tcp, tls, quic, https, system or rcode")]
    Scheme(String),
    /// HTTP/3, by scheme or by `h3=true`.
    #[error("adit does not speak HTTP/3: use `https://` without `h3=true`, or `quic://`")]
    Http3,
    /// `http://`.
    #[error("adit does not send DNS over plain HTTP: use `https://`, or `tcp://` if nobody may listen in")]
    PlainHttp,
    /// `dhcp://<interface>`.
    #[error("adit does not ask DHCP for nameservers: write their addresses, or `system`")]
    Dhcp,
    /// `ts://`, `tailscale://`.
    #[error("adit does not ask Tailscale for nameservers: write their addresses")]
    Tailscale,
    /// A path where none belongs.
    #[error("only `https://` has a path")]
    Path,
    /// A path that HTTP does not allow.
    #[error("this is not the path of a URL")]
    BadPath,
    /// A user where none belongs.
    #[error("only `https://` has a user")]
    User,
    /// Not one of the fixed answers.
    #[error(
        "`{0}` is not an answer: write success, format_error, server_failure, name_error, not_implemented or refused"
    )]
    Rcode(String),
    /// More than one way out.
    #[error("a second way out: only one can be used")]
    SecondVia,
    /// A parameter that nobody knows.
    #[error("`{0}` is not a parameter of a nameserver")]
    Parameter(String),
    /// A parameter whose value is neither `true` nor `false`.
    #[error("write `true` or `false`")]
    NotBoolean,
    /// An `ecs` that is neither an address nor a network.
    #[error("this is neither an address nor a network")]
    Subnet,
    /// A `name-cert-verify` that is no host.
    #[error("this is not a host: {0}")]
    Host(BadAddress),
}

/// The whole text, to say where a part of it is.
struct Text<'a>(&'a str);

impl Text<'_> {
    /// `part` must be a slice of the text.
    fn bad(&self, part: &str, flaw: Flaw) -> BadNameserver {
        let start = part.as_ptr().addr().saturating_sub(self.0.as_ptr().addr()).min(self.0.len());
        let end = start.saturating_add(part.len()).min(self.0.len());
        BadNameserver { at: start..end, flaw }
    }
}

pub(super) fn nameserver(all: &str) -> Result<Nameserver, BadNameserver> {
    let text = Text(all);
    let trimmed = all.trim();
    let (body, fragment) = trimmed.split_once('#').unwrap_or((trimmed, ""));
    let extra = fragment_of(&text, fragment)?;
    let transport = transport(&text, body, &extra)?;
    Ok(Nameserver { transport, via: extra.via, changes: extra.changes })
}

fn transport(text: &Text<'_>, body: &str, extra: &Fragment) -> Result<Transport, BadNameserver> {
    let (scheme, rest) = match body.split_once("://") {
        Some(parts) => parts,
        None if body == "system" => return Ok(Transport::System),
        None => ("udp", body),
    };
    Ok(match scheme.to_ascii_lowercase().as_str() {
        "udp" => Transport::Udp(plain(text, rest, 53)?),
        "tcp" => Transport::Tcp(plain(text, rest, 53)?),
        "tls" => Transport::Tls {
            server: plain(text, rest, 853)?,
            certificate: extra.certificate.clone(),
            one_shot: extra.one_shot,
        },
        "quic" => Transport::Quic { server: plain(text, rest, 853)?, certificate: extra.certificate.clone() },
        "https" if extra.http3 => return Err(text.bad(scheme, Flaw::Http3)),
        "https" => Transport::Https(Box::new(https(text, rest, extra.certificate.clone())?)),
        "system" if rest.is_empty() => Transport::System,
        "system" => return Err(text.bad(rest, Flaw::Path)),
        "dhcp" if rest == "system" => Transport::System,
        "dhcp" => return Err(text.bad(scheme, Flaw::Dhcp)),
        "rcode" => Transport::Rcode(
            Rcode::NAMES
                .iter()
                .find(|(name, _)| *name == rest)
                .map(|(_, code)| *code)
                .ok_or_else(|| text.bad(rest, Flaw::Rcode(rest.to_owned())))?,
        ),
        "h3" => return Err(text.bad(scheme, Flaw::Http3)),
        "http" => return Err(text.bad(scheme, Flaw::PlainHttp)),
        "ts" | "tailscale" => return Err(text.bad(scheme, Flaw::Tailscale)),
        _ => return Err(text.bad(scheme, Flaw::Scheme(scheme.to_owned()))),
    })
}

/// `host[:port]`, and at most a slash after it.
fn plain(text: &Text<'_>, rest: &str, port: u16) -> Result<Target, BadNameserver> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if let Some(at) = authority.rfind('@') {
        return Err(text.bad(authority.get(..at).unwrap_or_default(), Flaw::User));
    }
    if !matches!(path, "" | "/") {
        return Err(text.bad(path, Flaw::Path));
    }
    server(text, authority, port)
}

fn https(text: &Text<'_>, rest: &str, certificate: Certificate) -> Result<Https, BadNameserver> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, authority) = match authority.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, authority),
    };
    let server = server(text, authority, 443)?;
    let path =
        PathAndQuery::try_from(if path.is_empty() { "/" } else { path }).map_err(|_| text.bad(path, Flaw::BadPath))?;
    Ok(Https { server, path, authorization: user.map(basic), certificate })
}

/// RFC 7617: user and password, percent-decoded as in any URL.
fn basic(user_info: &str) -> Secret {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    Secret::new(format!("Basic {}", STANDARD.encode(credentials)))
}

fn server(text: &Text<'_>, authority: &str, default: u16) -> Result<Target, BadNameserver> {
    if authority.is_empty() {
        return Err(text.bad(authority, Flaw::NoServer));
    }
    if let Ok(bare) = authority.parse::<Ipv6Addr>() {
        return Ok(Target::new(IpAddr::V6(bare), default));
    }
    let colon = authority.rfind(':').filter(|colon| !authority.get(*colon..).unwrap_or_default().contains(']'));
    let bad = |flaw| text.bad(authority, Flaw::Server(flaw));
    let target = match colon {
        Some(_) => authority.parse::<Target>().map_err(bad)?,
        None => Target::new(authority.parse::<Host>().map_err(bad)?, default),
    };
    if target.port == 0 { Err(text.bad(authority, Flaw::PortZero)) } else { Ok(target) }
}

/// What a fragment says, before it is known of what.
struct Fragment {
    via: Option<Via>,
    changes: Changes,
    certificate: Certificate,
    http3: bool,
    one_shot: bool,
}

fn fragment_of(text: &Text<'_>, fragment: &str) -> Result<Fragment, BadNameserver> {
    let mut found = Fragment {
        via: None,
        changes: Changes::default(),
        certificate: Certificate::OfServer,
        http3: false,
        one_shot: false,
    };
    let mut ecs = None;
    let mut ecs_replaces = false;
    for part in fragment.split('&').filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            let via = if part == "RULES" { Via::Rules } else { Via::Named(part.to_owned()) };
            if found.via.replace(via).is_some() {
                return Err(text.bad(part, Flaw::SecondVia));
            }
            continue;
        };
        match key {
            "h3" => found.http3 = boolean(text, value)?,
            "disable-reuse" => found.one_shot = boolean(text, value)?,
            "skip-cert-verify" if boolean(text, value)? => found.certificate = Certificate::Unchecked,
            "skip-cert-verify" => {}
            "name-cert-verify" => {
                let host = value.parse().map_err(|flaw| text.bad(value, Flaw::Host(flaw)))?;
                if found.certificate == Certificate::OfServer {
                    found.certificate = Certificate::Of(host);
                }
            }
            "ecs" => ecs = Some(subnet(value).ok_or_else(|| text.bad(value, Flaw::Subnet))?),
            "ecs-override" => ecs_replaces = boolean(text, value)?,
            _ => {
                let kind = disabled(key).ok_or_else(|| text.bad(key, Flaw::Parameter(key.to_owned())))?;
                if boolean(text, value)? {
                    found.changes.disabled.push(kind);
                }
            }
        }
    }
    found.changes.disabled.sort_unstable();
    found.changes.disabled.dedup();
    found.changes.subnet = ecs.map(|network| Subnet { network, replaces: ecs_replaces });
    Ok(found)
}

/// The type that a `disable-…` parameter is about.
fn disabled(key: &str) -> Option<u16> {
    match key.strip_prefix("disable-")? {
        "ipv4" => Some(RecordType::A.into()),
        "ipv6" => Some(RecordType::AAAA.into()),
        other => other.strip_prefix("qtype-")?.parse().ok(),
    }
}

fn subnet(value: &str) -> Option<IpNet> {
    match value.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => value.parse::<IpNet>().ok().map(|network| network.trunc()),
    }
}

fn boolean(text: &Text<'_>, value: &str) -> Result<bool, BadNameserver> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(text.bad(value, Flaw::NotBoolean)),
    }
}
