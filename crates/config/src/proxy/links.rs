//! Share links: the same options as the YAML keys. Spec: vless-reality §9.3.
//!
//! A parameter nobody knows is ignored, as everywhere. A parameter that is wrong, or that asks for something we do not
//! have, is an error: a link is added by hand, by somebody who can read the answer.

mod wireguard;

use std::collections::HashMap;

use adit_net::{Host, Secret, SocketOptions, Tag, Target};
use adit_outbound::options::{Common, Credentials, Http, Kind, Outbound, Socks5, WireGuard};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use thiserror::Error;
use url::Url;

use super::flaw::{Flaw, Gravity};
use super::{tls, vless, written};

/// Why a share link cannot be used. Says what, never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Not a link at all.
    #[error("this is not a link: {0}")]
    NotALink(&'static str),
    /// A link, but not to something we can be a client of.
    #[error("links of the kind {0}:// are not supported; vless, wireguard, socks5, http and https are")]
    Scheme(String),
    /// A part that must be there is not.
    #[error("the link has no {0}")]
    Missing(&'static str),
    /// A part or parameter is wrong, or asks for something we do not have. Names the YAML key it stands for.
    #[error("{0}")]
    Wrong(String),
}

/// Parses a share link into an outbound: `vless://`, `wireguard://` (also `wg://`, `awg://`), `socks5://` (also
/// `socks://`), `http://`, `https://`.
///
/// The outbound is named by the fragment, or by host and port if there is none. UDP is on where the protocol has it.
///
/// # Errors
/// See [`LinkError`].
///
/// ```
/// let proxy = adit_config::link::parse("socks5://user:pass@192.0.2.1:1080#office")?;
/// assert_eq!(&*proxy.name, "office");
/// # Ok::<(), adit_config::link::LinkError>(())
/// ```
pub fn parse(link: &str) -> Result<Outbound, LinkError> {
    let read = read(link)?;
    let (kind, udp) = read.kind()?;
    let common = Common { udp, socket: SocketOptions::default(), ..Common::default() };
    let mut outbound = Outbound { name: Tag::new(&read.name), kind, common };
    written::write(&mut outbound, Some(link.trim().to_owned()), true);
    Ok(outbound)
}

/// What a link says.
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) linked: Linked,
}

impl Link {
    /// What the outbound speaks, and whether it carries UDP.
    pub(crate) fn kind(&self) -> Result<(Kind, bool), LinkError> {
        Ok(match &self.linked {
            Linked::Vless(written) => (Kind::Vless(Box::new(vless_options(vless::Written::clone(written))?)), true),
            Linked::WireGuard(options, _) => (Kind::WireGuard(options.clone()), true),
            Linked::Socks5(options) => (Kind::Socks5(options.clone()), true),
            Linked::Http(options) => (Kind::Http(options.clone()), false),
        })
    }
}

/// What a link leads to. VLESS is as written, to be checked by [`vless_options`].
pub(crate) enum Linked {
    Vless(Box<vless::Written>),
    /// And its DNS servers.
    WireGuard(Box<WireGuard>, Vec<String>),
    Socks5(Socks5),
    Http(Http),
}

/// Reads a link without making an outbound of it.
pub(crate) fn read(link: &str) -> Result<Link, LinkError> {
    const LONGEST: usize = 64 << 10; // an ML-DSA key takes 2.6 KB
    if link.len() > LONGEST {
        return Err(LinkError::NotALink("it is longer than 64 KiB"));
    }
    let link = wireguard::with_coded_key(link.trim());
    let url = Url::parse(&link).map_err(|_| LinkError::NotALink("it has no scheme, host and port in order"))?;
    let linked = match url.scheme() {
        "vless" => Linked::Vless(Box::new(vless(&url)?)),
        "wireguard" | "wg" | "awg" => {
            let (options, dns) = wireguard::read(&url)?;
            Linked::WireGuard(Box::new(options), dns)
        }
        "socks5" | "socks" | "socks5h" => Linked::Socks5(socks5(&url)?),
        "http" | "https" => Linked::Http(http(&url)?),
        other => return Err(LinkError::Scheme(crate::report::shown(other))),
    };
    let name = match url.fragment().map(decoded).filter(|name| !name.trim().is_empty()) {
        Some(name) => name,
        None => server(&url, default_port(&url))?.to_string(),
    };
    Ok(Link { name, linked })
}

fn vless(url: &Url) -> Result<vless::Written, LinkError> {
    let server = server(url, None)?;
    let params: HashMap<String, String> = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    let param = |names: &[&str]| names.iter().find_map(|name| params.get(*name)).cloned().unwrap_or_default();
    let flag = |names: &[&str]| matches!(param(names).as_str(), "1" | "true");
    let network = match (param(&["type"]).as_str(), param(&["headerType"]).as_str()) {
        ("" | "tcp" | "raw", "" | "none") => "tcp".to_owned(),
        ("" | "tcp" | "raw", _) => "http".to_owned(),
        (other, _) => other.to_owned(),
    };
    let security = param(&["security"]);
    let optional = |names: &[&str]| Some(param(names)).filter(|value| !value.is_empty());
    let tls = tls::Written {
        server_name: optional(&["sni", "peer"]),
        alpn: param(&["alpn"]).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        skip_verify: flag(&["allowInsecure", "insecure", "allow_insecure"]),
        fingerprint: optional(&["pcs"]),
        certificate: None,
        private_key: None,
    };
    let reality = || vless::Reality {
        public_key: param(&["pbk"]),
        short_id: param(&["sid"]),
        support_x25519mlkem768: match param(&["support-x25519mlkem768"]).as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        mldsa65_verify: optional(&["pqv"]),
        client_version: None,
    };
    let (tls, reality) = match security.as_str() {
        "" | "none" => (None, None),
        "tls" => (Some(tls), None),
        "reality" if param(&["pbk"]).is_empty() => return Err(LinkError::Missing("public key (pbk)")),
        "reality" => (Some(tls), Some(reality())),
        other => {
            let other = crate::report::shown(other);
            return Err(LinkError::Wrong(format!("unknown security '{other}'; it is none, tls or reality")));
        }
    };
    let written = vless::Written {
        uuid: decoded(url.username()),
        flow: if network == "tcp" { param(&["flow"]) } else { String::new() },
        vision_passes_quic: false,
        encryption: param(&["encryption"]),
        packet_encoding: param(&["packetEncoding"]),
        packet_addr: false,
        // A browser's hello is asked for by habit; with ordinary TLS it means nothing to us.
        client_fingerprint: reality.as_ref().and_then(|_| optional(&["fp"])),
        server,
        network,
        tls,
        reality,
    };
    if written.uuid.is_empty() {
        return Err(LinkError::Missing("user id"));
    }
    Ok(written)
}

/// The options of a VLESS link, if nothing is wrong with it.
pub(crate) fn vless_options(written: vless::Written) -> Result<adit_outbound::vless::Options, LinkError> {
    let mut flaws = Vec::new();
    let options = vless::options(written, &mut flaws);
    accepted(&flaws)?;
    options.ok_or(LinkError::NotALink("it is not complete"))
}

fn socks5(url: &Url) -> Result<Socks5, LinkError> {
    Ok(Socks5 { server: server(url, default_port(url))?, credentials: credentials(url)?, tls: None })
}

fn http(url: &Url) -> Result<Http, LinkError> {
    let server = server(url, default_port(url))?;
    let mut flaws = Vec::new();
    let tls = (url.scheme() == "https").then(|| {
        let sni = url.query_pairs().find(|(key, _)| key == "sni").map(|(_, name)| name.into_owned());
        let written = tls::Written { server_name: sni, ..tls::Written::default() };
        tls::options(written, &server.host.to_string(), &mut flaws)
    });
    accepted(&flaws)?;
    Ok(Http { server, credentials: credentials(url)?, tls, headers: Vec::new() })
}

fn accepted(flaws: &[Flaw]) -> Result<(), LinkError> {
    match flaws.iter().find(|flaw| flaw.gravity != Gravity::Doubtful) {
        None => Ok(()),
        Some(Flaw { message, hint, .. }) => Err(LinkError::Wrong(match hint {
            Some(hint) => format!("{message} ({hint})"),
            None => message.clone(),
        })),
    }
}

fn default_port(url: &Url) -> Option<u16> {
    match url.scheme() {
        "http" => Some(80),
        "https" => Some(443),
        "socks" | "socks5" | "socks5h" => Some(1080),
        _ => None,
    }
}

fn server(url: &Url, default_port: Option<u16>) -> Result<Target, LinkError> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(LinkError::Missing("host"))?;
    let host: Host = decoded(host)
        .parse()
        .map_err(|why| LinkError::Wrong(format!("the server is not a host name or an address: {why}")))?;
    let port = url.port().or(default_port).filter(|port| *port != 0).ok_or(LinkError::Missing("port"))?;
    Ok(Target::new(host, port))
}

/// `user:password@`, or, as some programs write it, the base64 of that.
fn credentials(url: &Url) -> Result<Option<Credentials>, LinkError> {
    let mut user = decoded(url.username());
    let mut password = url.password().map(decoded);
    if user.is_empty() {
        return Ok(None);
    }
    if password.is_none() && url.scheme().starts_with("socks") {
        let both = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
            .into_iter()
            .find_map(|base64| String::from_utf8(base64.decode(&user).ok()?).ok());
        if let Some((name, secret)) = both.as_deref().and_then(|both| both.split_once(':')) {
            password = Some(secret.to_owned());
            user = name.to_owned();
        }
    }
    let password = password.unwrap_or_default();
    if user.len() > 255 || password.len() > 255 {
        return Err(LinkError::Wrong("user names and passwords have at most 255 bytes".to_owned()));
    }
    Ok(Some(Credentials { user, password: Secret::new(password) }))
}

/// Percent-decoding; what is not UTF-8 afterwards is replaced.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
