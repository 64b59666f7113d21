//! One entry of `proxies:`.

pub(super) mod keys;
mod wireguard;

use std::collections::HashMap;

use adit_net::{Secret, Tag, Target};
use adit_outbound::options::{Common, Credentials, Http, IpVersion, Kind, Outbound, Socks5};

use super::flaw::{Flaw, Gravity};
use super::{Proxy, tls, vless};
use crate::context::Context;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};
use crate::yaml::At;
use keys::Keys;

/// Types that Mihomo has and we do not, with their names in its API.
pub(super) const UNSUPPORTED: &[(&str, &str)] = &[
    ("anytls", "AnyTLS"),
    ("gost-relay", "GostRelay"),
    ("hysteria", "Hysteria"),
    ("hysteria2", "Hysteria2"),
    ("masque", "Masque"),
    ("mieru", "Mieru"),
    ("openvpn", "OpenVPN"),
    ("rematch", "Rematch"),
    ("shadowquic", "ShadowQUIC"),
    ("snell", "Snell"),
    ("ss", "Shadowsocks"),
    ("ssh", "Ssh"),
    ("ssr", "ShadowsocksR"),
    ("sudoku", "Sudoku"),
    ("tailscale", "Tailscale"),
    ("trojan", "Trojan"),
    ("trusttunnel", "TrustTunnel"),
    ("tuic", "Tuic"),
    ("vmess", "Vmess"),
    ("zerotier", "ZeroTier"),
];

const SUPPORTED: &[&str] = &["direct", "reject", "dns", "socks5", "http", "vless", "wireguard"];

/// Reads one proxy.
pub(super) struct Reader<'d, 'c> {
    keys: Keys<'d, 'c>,
    /// Where the type was written.
    kind: Text<'d>,
    /// What it is asked to do is impossible; that is already reported.
    refuses: bool,
}

/// Keys of every proxy that have no effect here.
const UNSUPPORTED_COMMON: &[&str] = &["tfo", "mptcp", "smux", "ech-opts", "name-cert-verify"];

/// Keys of VLESS beyond those.
const UNSUPPORTED_VLESS: &[&str] = &[
    "tfo",
    "mptcp",
    "smux",
    "ech-opts",
    "name-cert-verify",
    "ws-opts",
    "ws-path",
    "ws-headers",
    "grpc-opts",
    "h2-opts",
    "http-opts",
    "xhttp-opts",
];

impl<'d, 'c> Reader<'d, 'c> {
    pub(super) fn new(index: usize, fields: Fields<'d>, cx: &'c Context<'d>) -> Option<Self> {
        let mut fields = fields.loosely_spelt();
        let Some(kind) = fields.take("type") else {
            cx.report.error(fields.first_key(), format!("proxy {index}: missing type"));
            return None;
        };
        Some(Self { kind: kind.text()?, keys: Keys::new(index, fields, cx), refuses: false })
    }

    pub(super) fn read(mut self) -> Option<Proxy<'d>> {
        let name = self.required_text("name");
        let mark_at = self.keys.fields.place("routing-mark");
        let mut common = self.common();
        let dialer = self.keys.fields.take("dialer-proxy").and_then(Value::text).filter(|text| !text.text.is_empty());
        let (made, shown_type) = self.kind(name.map_or("", |name| name.text));
        let index = self.keys.index;
        if !self.keys.missing.is_empty() {
            self.keys.missing.sort_unstable();
            let message = format!("proxy {index}: '' has unset fields: {}", self.keys.missing.join(", "));
            self.keys.cx.report.error(name.map_or_else(|| self.keys.fields.first_key(), |name| name.at), message);
        }
        let section = format!("a proxy of type {}", self.kind.text);
        match self.kind.text {
            "vless" => self.keys.fields.finish(&section, UNSUPPORTED_VLESS),
            known if SUPPORTED.contains(&known) => self.keys.fields.finish(&section, UNSUPPORTED_COMMON),
            _ => {} // its keys mean nothing to us
        }
        let name = name?;
        common.dialer_proxy = dialer.map(|name| Tag::new(name.text));
        let kind = made.filter(|_| !self.refuses).unwrap_or(Kind::Reject);
        // A way out without UDP is passed over by the rules; one that refuses has to refuse UDP, too. §5.2 for the others.
        common.udp |= matches!(kind, Kind::Direct | Kind::Reject | Kind::Dns);
        let outbound = Outbound { name: Tag::new(name.text), kind, common };
        Some(Proxy { outbound, name, dialer, mark_at, type_at: self.kind.at, shown_type })
    }

    /// What the proxy speaks and its type as the API shows it. `None` is a stub that refuses all connections: because
    /// it is beyond us, or because it is wrong, and then there is no plan, but its name is known and nobody who refers
    /// to it is blamed.
    fn kind(&mut self, name: &str) -> (Option<Kind>, &'static str) {
        match self.kind.text {
            "direct" => (Some(Kind::Direct), "Direct"),
            "reject" => (Some(Kind::Reject), "Reject"),
            "dns" => (Some(Kind::Dns), "Dns"),
            "socks5" => (self.socks5(), "Socks5"),
            "http" => (self.http(), "Http"),
            "vless" => (self.vless(), "Vless"),
            "wireguard" => (self.wireguard(), "WireGuard"),
            other => match UNSUPPORTED.iter().find(|(name, _)| *name == other) {
                Some((known, shown_type)) => {
                    self.stub(known, name);
                    (None, *shown_type)
                }
                None => {
                    let text = format!("proxy {}: unsupport proxy type: {}", self.keys.index, shown(other));
                    self.keys.cx.report.add(Draft::error(self.kind.at, text).meant(other, SUPPORTED.iter().copied()));
                    (None, "Unknown")
                }
            },
        }
    }

    fn stub(&self, kind: &str, name: &str) {
        let text = format!("proxies of type {kind} are not supported yet; '{}' refuses all connections", shown(name));
        self.keys.cx.report.once(format!("proxy type {kind}"), Draft::warning(self.kind.at, text));
    }

    fn socks5(&mut self) -> Option<Kind> {
        let server = self.server();
        let credentials = self.credentials(true);
        let (tls, host) = (self.tls("sni"), server.as_ref().map(|server| server.host.to_string()));
        let mut flaws = Vec::new();
        let tls = tls.map(|tls| tls::options(tls, host.as_deref().unwrap_or(""), &mut flaws));
        let kind = server.map(|server| Kind::Socks5(Socks5 { server, credentials, tls }));
        self.judged(kind, flaws, &Places::new())
    }

    fn http(&mut self) -> Option<Kind> {
        let server = self.server();
        let credentials = self.credentials(false);
        let headers = self.headers();
        let (tls, host) = (self.tls("sni"), server.as_ref().map(|server| server.host.to_string()));
        let mut flaws = Vec::new();
        let tls = tls.map(|tls| tls::options(tls, host.as_deref().unwrap_or(""), &mut flaws));
        let kind = server.map(|server| Kind::Http(Http { server, credentials, tls, headers }));
        self.judged(kind, flaws, &Places::new())
    }

    fn vless(&mut self) -> Option<Kind> {
        let server = self.server();
        let uuid = self.required_text("uuid");
        let text = |value: Option<Value<'d>>| value.and_then(Value::string).unwrap_or_default();
        let tls = self.tls("servername");
        let (reality, reality_keys) = self.reality();
        if reality.is_some() && tls.is_none() {
            let at = self.keys.fields.first_key();
            let text = "`reality-opts` has an effect with `tls: true` only; this proxy is sent in the clear";
            self.keys.cx.report.add(Draft::error(at, text).hint("add `tls: true`"));
            return None;
        }
        let client_fingerprint = self.keys.fields.take("client-fingerprint").and_then(Value::string);
        // Stand-ins for what is missing, which is reported already, so that the other keys are checked all the same.
        let nowhere = || Target::new(std::net::IpAddr::from([0, 0, 0, 0]), 0);
        let written = vless::Written {
            uuid: uuid.map_or_else(String::new, |uuid| uuid.text.to_owned()),
            flow: text(self.keys.fields.take("flow")),
            vision_passes_quic: true,
            encryption: text(self.keys.fields.take("encryption")),
            network: text(self.keys.fields.take("network")),
            packet_encoding: text(self.keys.fields.take("packet-encoding")),
            packet_addr: self.flag("packet-addr"),
            server: server.clone().unwrap_or_else(nowhere),
            tls,
            client_fingerprint,
            reality,
        };
        let _ = self.flag("xudp"); // the default; `packet-addr` overrides it
        let mut flaws = Vec::new();
        let options = vless::options(written, &mut flaws);
        if uuid.is_none() {
            flaws.retain(|flaw| flaw.key != "uuid");
        }
        let kind = options.filter(|_| server.is_some() && uuid.is_some());
        self.judged(kind.map(|options| Kind::Vless(Box::new(options))), flaws, &reality_keys)
    }

    /// `reality-opts`, if they switch REALITY on, and where its keys stand.
    fn reality(&mut self) -> (Option<vless::Reality>, Places) {
        let Some(mut fields) = self.keys.fields.take("reality-opts").and_then(Value::fields).map(Fields::loosely_spelt)
        else {
            return (None, Places::new());
        };
        let mut places = Places::new();
        let mut take = |key: &'static str| {
            let value = fields.take(key)?;
            places.insert(key, value.at());
            Some(value)
        };
        let public_key = take("public-key").and_then(Value::string).unwrap_or_default();
        let reality = vless::Reality {
            public_key,
            short_id: take("short-id").and_then(Value::string).unwrap_or_default(),
            support_x25519mlkem768: take("support-x25519mlkem768").and_then(Value::boolean),
            mldsa65_verify: take("mldsa65-verify").and_then(Value::string),
            client_version: take("client-version").and_then(Value::string),
        };
        let _ = take("spider-x"); // accepted from converted links; an impostor's site is left politely without a visit
        let written = fields.named().any(|(_, value)| !value.is_empty());
        let at = fields.first_key();
        fields.finish("reality-opts", &[]);
        if reality.public_key.is_empty() && written {
            // Ordinary TLS instead would show our user id to the site that the server poses as: its certificate is good.
            self.keys.broken = true;
            self.keys.cx.report.error(at, format!("proxy {}: `reality-opts` has no `public-key`", self.keys.index));
        }
        ((!reality.public_key.is_empty()).then_some(reality), places)
    }

    fn server(&mut self) -> Option<Target> {
        self.keys.server()
    }

    /// User and password. SOCKS5 takes a user alone; HTTP needs both.
    fn credentials(&mut self, user_alone: bool) -> Option<Credentials> {
        let user = self.keys.fields.take("username").and_then(Value::text).filter(|user| !user.text.is_empty());
        let password = self.keys.fields.take("password").and_then(Value::text);
        let user = user?;
        if password.is_none() && !user_alone {
            let text = "`username` needs `password` beside it; without, no credentials are sent";
            self.keys.cx.report.warning(user.at, text);
            return None;
        }
        for text in std::iter::once(user).chain(password).filter(|text| text.text.len() > 255) {
            self.keys.cx.report.error(text.at, "user names and passwords have at most 255 bytes");
            self.keys.broken = true;
        }
        Some(Credentials {
            user: user.text.to_owned(),
            password: Secret::new(password.map_or("", |password| password.text)),
        })
    }

    fn headers(&mut self) -> Vec<(String, Secret)> {
        let Some(fields) = self.keys.fields.take("headers").and_then(Value::fields) else {
            return Vec::new();
        };
        let mut headers = Vec::new();
        for (name, value) in fields.named() {
            let Some(value) = value.text() else { continue };
            // RFC 9110 §5.6.2 and §5.5
            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            let bad_name = name.text.is_empty() || !name.text.bytes().all(is_token);
            if bad_name || value.text.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
                let at = if bad_name { name.at } else { value.at };
                self.keys.cx.report.error(at, format!("`{}` is not a valid HTTP header", shown(name.text)));
                self.keys.broken = true;
                continue;
            }
            headers.push((name.text.to_owned(), Secret::new(value.text)));
        }
        headers
    }

    /// TLS settings, if `tls` is true.
    fn tls(&mut self, name_key: &'static str) -> Option<tls::Written> {
        let wanted = self.flag("tls");
        let server_name = self.keys.fields.take(name_key).and_then(Value::string);
        let written = tls::Written {
            server_name,
            alpn: self.keys.fields.take("alpn").map(Value::strings).unwrap_or_default(),
            skip_verify: self.flag("skip-cert-verify"),
            fingerprint: self.keys.fields.take("fingerprint").and_then(Value::string).filter(|pin| !pin.is_empty()),
            certificate: self.pem("certificate"),
            private_key: self.pem("private-key").map(Secret::new),
        };
        wanted.then_some(written)
    }

    /// A PEM text, or the file that holds it.
    fn pem(&mut self, key: &'static str) -> Option<String> {
        let value = self.keys.fields.take(key)?.text().filter(|text| !text.text.is_empty())?;
        if value.text.contains("-----BEGIN ") {
            return Some(value.text.to_owned());
        }
        let text = self.keys.cx.home.read(key, value, self.keys.cx.report);
        self.keys.broken |= text.is_none();
        text
    }

    fn common(&mut self) -> Common {
        let mut socket = self.keys.cx.socket.clone();
        if let Some(interface) =
            self.keys.fields.take("interface-name").and_then(Value::string).filter(|name| !name.is_empty())
        {
            socket.interface = Some(interface);
        }
        if let Some(mark) =
            self.keys.fields.take("routing-mark").and_then(|value| value.number("a number from 0 to 4294967295"))
        {
            socket.mark = mark;
        }
        Common { udp: self.flag("udp"), socket, ip_version: self.ip_version(), dialer_proxy: None, ..Common::default() }
    }

    /// `ip-version` within what the global `ipv6` allows.
    fn ip_version(&mut self) -> IpVersion {
        let written = self.keys.fields.take("ip-version").and_then(Value::text);
        let version = ip_version(written.map_or("", |text| text.text));
        match (version, written) {
            _ if self.keys.cx.ipv6 => version,
            (IpVersion::V6, Some(text)) => {
                let message =
                    "`ip-version: ipv6` contradicts the global `ipv6: false`; this proxy refuses all connections";
                self.keys.cx.report.warning(text.at, message);
                self.refuses = true;
                IpVersion::V6
            }
            _ => IpVersion::V4,
        }
    }

    fn flag(&mut self, key: &'static str) -> bool {
        self.keys.flag(key)
    }

    fn required_text(&mut self, key: &'static str) -> Option<Text<'d>> {
        self.keys.required_text(key)
    }

    /// Reports the flaws; the proxy is what it is meant to be only if none of them is in the way.
    fn judged(&self, kind: Option<Kind>, flaws: Vec<Flaw>, inner: &Places) -> Option<Kind> {
        let mut usable = !self.keys.broken;
        for flaw in flaws {
            let at = inner.get(flaw.key).copied().or_else(|| self.keys.fields.place(flaw.key));
            usable &= flaw.gravity == Gravity::Doubtful;
            self.keys.tell(flaw, at.unwrap_or_else(|| self.keys.fields.first_key()));
        }
        kind.filter(|_| usable)
    }
}

/// What `ip-version` says.
pub(crate) fn ip_version(written: &str) -> IpVersion {
    match written {
        "ipv4" => IpVersion::V4,
        "ipv6" => IpVersion::V6,
        "ipv4-prefer" => IpVersion::PreferV4,
        "ipv6-prefer" => IpVersion::PreferV6,
        _ => IpVersion::Dual, // §5.2: unknown words mean dual
    }
}

/// Where keys of a nested mapping stand.
type Places = HashMap<&'static str, At>;
