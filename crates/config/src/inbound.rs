//! The classic ports and `listeners:`. Spec: mihomo-surface §1.2, §2.6.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adit_inbound::{Access, Kind, Options, TransparentOptions, Users};
use adit_net::{KeepAlive, Secret, Tag};
use ipnet::IpNet;

use crate::context::Context;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};
use crate::yaml::At;

/// A listener to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundPlan {
    /// What the listener is told.
    pub options: Options,
    /// It may be missing without being missed: the IPv6 twin of an IPv4 loopback listener, on a machine without IPv6.
    pub optional: bool,
    /// The sub-rule list that decides for its clients instead of the main list.
    pub rule: Option<Tag>,
    /// The outbound that its clients use without asking any rule.
    pub proxy: Option<Tag>,
}

/// A listener to start for clients that do not know of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransparentPlan {
    /// What the listener is told.
    pub options: TransparentOptions,
    /// It may be missing without being missed: the IPv6 twin of an IPv4 listener, on a machine without IPv6.
    pub optional: bool,
    /// The sub-rule list that decides for its clients instead of the main list.
    pub rule: Option<Tag>,
    /// The outbound that its clients use without asking any rule.
    pub proxy: Option<Tag>,
}

/// The global keys that concern listeners.
pub(crate) struct Doors {
    users: Users,
    allow_lan: bool,
    bind: IpAddr,
    /// `lan-allowed-ips`, if written.
    allowed: Option<Vec<IpNet>>,
    denied: Vec<IpNet>,
    classic: Vec<(Kind, Port)>,
}

struct Port {
    key: &'static str,
    at: At,
    number: u16,
}

/// A bound address, for the check that no two listeners want the same.
struct Bound {
    what: String,
    at: At,
    listen: SocketAddr,
}

/// Reads the global keys.
pub(crate) fn doors(fields: &mut Fields<'_>, cx: &Context<'_>) -> Doors {
    let users = users(fields.take("authentication"), cx);
    let skipped = fields.take("skip-auth-prefixes").map(|list| prefixes(list, cx)).unwrap_or_default();
    let bind = fields.take("bind-address").and_then(Value::text).map_or(ANY, |bind| bind_address(bind, cx));
    let ports = [("port", Kind::Http), ("socks-port", Kind::Socks), ("mixed-port", Kind::Mixed)];
    let classic = ports.into_iter().filter_map(|(key, kind)| {
        let value = fields.take(key)?;
        let number = value.port().filter(|port| *port != 0)?;
        Some((kind, Port { key, at: value.at(), number }))
    });
    let classic = classic.collect();
    Doors {
        users: Users::new(users).skipping(skipped),
        allow_lan: fields.take("allow-lan").and_then(Value::boolean).unwrap_or(false),
        bind,
        allowed: fields.take("lan-allowed-ips").map(|list| prefixes(list, cx)),
        denied: fields.take("lan-disallowed-ips").map(|list| prefixes(list, cx)).unwrap_or_default(),
        classic,
    }
}

const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn bind_address(written: Text<'_>, cx: &Context<'_>) -> IpAddr {
    if matches!(written.text, "*" | "") {
        return ANY;
    }
    let bare = written.text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().unwrap_or_else(|_| {
        let text = format!("`bind-address` must be * or an address, found '{}'", shown(written.text));
        cx.report.error(written.at, text);
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    })
}

/// `user:pass` lines, split at the first colon.
fn users(list: Option<Value<'_>>, cx: &Context<'_>) -> Vec<(String, Secret)> {
    let written = list.map(Value::texts).unwrap_or_default();
    let pair = |text: Text<'_>| {
        let pair = text.text.split_once(':');
        if pair.is_none() {
            cx.report
                .warning(text.at, "this entry of `authentication` has no colon and is ignored: write user:password");
        }
        pair.map(|(user, password)| (user.to_owned(), Secret::new(password)))
    };
    written.into_iter().filter_map(pair).collect()
}

fn prefixes(list: Value<'_>, cx: &Context<'_>) -> Vec<IpNet> {
    let key = list.key;
    let prefix = |text: Text<'_>| {
        let prefix = text.text.parse().ok().or_else(|| text.text.parse::<IpAddr>().ok().map(IpNet::from));
        if prefix.is_none() {
            let message =
                format!("`{key}` must be a list of prefixes like 192.168.0.0/16, found '{}'", shown(text.text));
            cx.report.error(text.at, message);
        }
        prefix
    };
    list.texts().into_iter().filter_map(prefix).collect()
}

/// Makes the listeners. `rules` and `outbounds` are the names that `rule` and `proxy` may use; what start-up should say
/// goes to `notices`.
pub(crate) fn plan<'d>(
    doors: &Doors,
    listeners: Option<Value<'d>>,
    rules: &HashSet<&str>,
    outbounds: &HashSet<&str>,
    notices: &mut Vec<String>,
    cx: &Context<'d>,
) -> Vec<InboundPlan> {
    let mut bound = Vec::new();
    let mut plans = classic(doors, cx.socket.keep_alive, &mut bound, notices);
    let mut names: HashSet<&str> = HashSet::new();
    for (index, item) in listeners.and_then(Value::list).unwrap_or_default().into_iter().enumerate() {
        let Some(fields) = item.fields().map(Fields::loosely_spelt) else { continue };
        let listener = Listener { index, doors, rules, outbounds, cx };
        let Some((name, made)) = listener.read(fields, &mut bound, notices) else { continue };
        if names.insert(name.text) {
            plans.extend(made);
        } else {
            cx.report.error(name.at, format!("listener {} is the duplicate name", shown(name.text)));
        }
    }
    check_addresses(&bound, cx);
    plans
}

fn classic(
    doors: &Doors,
    keep_alive: KeepAlive,
    bound: &mut Vec<Bound>,
    notices: &mut Vec<String>,
) -> Vec<InboundPlan> {
    let addresses: &[(IpAddr, bool)] = if doors.allow_lan {
        &[(doors.bind, false)]
    } else {
        // F-C1: both families, so that `localhost` works whatever it resolves to.
        &[(IpAddr::V4(Ipv4Addr::LOCALHOST), false), (IpAddr::V6(Ipv6Addr::LOCALHOST), true)]
    };
    let mut plans = Vec::new();
    for (kind, port) in &doors.classic {
        for (address, optional) in addresses {
            let listen = SocketAddr::new(*address, port.number);
            bound.push(Bound { what: format!("`{}`", port.key), at: port.at, listen });
            let options = Options {
                name: Tag::new(match kind {
                    Kind::Http => "DEFAULT-HTTP",
                    Kind::Socks => "DEFAULT-SOCKS",
                    Kind::Mixed => "DEFAULT-MIXED",
                }),
                kind: *kind,
                listen,
                users: doors.users.clone(),
                access: access(doors, &doors.users, listen),
                udp: true,
                keep_alive,
            };
            plans.push(InboundPlan { options, optional: *optional, rule: None, proxy: None });
        }
    }
    if doors.allow_lan && !plans.is_empty() && !doors.bind.is_loopback() && doors.users.is_empty() {
        notices.push(open_door("allow-lan", doors));
    }
    plans
}

/// Whom a listener serves. Without users and without an explicit list, never the internet.
fn access(doors: &Doors, users: &Users, listen: SocketAddr) -> Access {
    let access = match &doors.allowed {
        Some(prefixes) => Access::listed(prefixes.iter().copied()),
        None if users.is_empty() && !listen.ip().is_loopback() => Access::private_only(),
        None => Access::everyone(),
    };
    access.denying(doors.denied.iter().copied())
}

/// F-C2: one clear line.
fn open_door(what: &str, doors: &Doors) -> String {
    match &doors.allowed {
        None => format!(
            "{what} without users: only loopback, private, link-local and carrier-NAT sources are served \
             (set `authentication`, or `lan-allowed-ips` to choose the sources yourself)"
        ),
        Some(_) => {
            format!("{what} without users: every source that `lan-allowed-ips` admits is served without a password")
        }
    }
}

/// Reads one entry of `listeners:`.
struct Listener<'d, 'c> {
    index: usize,
    doors: &'c Doors,
    rules: &'c HashSet<&'c str>,
    outbounds: &'c HashSet<&'c str>,
    cx: &'c Context<'d>,
}

const UNSUPPORTED_TYPES: &[&str] = &[
    "anytls",
    "hysteria2",
    "hysteria2-realm",
    "mieru",
    "redir",
    "shadowquic",
    "shadowsocks",
    "snell",
    "sudoku",
    "tproxy",
    "trojan",
    "trusttunnel",
    "tuic",
    "tun",
    "tunnel",
    "vless",
    "vmess",
];

impl<'d> Listener<'d, '_> {
    fn read(
        &self,
        mut fields: Fields<'d>,
        bound: &mut Vec<Bound>,
        notices: &mut Vec<String>,
    ) -> Option<(Text<'d>, Vec<InboundPlan>)> {
        let Self { index, cx, .. } = self;
        let Some(kind) = fields.take("type") else {
            // Mihomo says "proxy" here, too.
            cx.report.error(fields.first_key(), format!("proxy {index}: missing type"));
            return None;
        };
        let kind = self.kind(kind.text()?)?;
        let (name, port) = self.required(&mut fields)?;
        let listen = fields.take("listen").and_then(Value::text);
        let users = self.users(fields.take("users"));
        let udp = fields.take("udp").and_then(Value::boolean).unwrap_or(true);
        let rule = self.rule(fields.take("rule"));
        let proxy = self.proxy(fields.take("proxy"));
        let certificate = fields.take("certificate");
        let private_key = fields.take("private-key");
        fields
            .finish("a listener", &["routing-mark", "client-auth-type", "client-auth-cert", "ech-key", "tfo", "mptcp"]);
        if let Some(certificate) = certificate.or(private_key) {
            let text = format!("listeners with TLS are not supported yet; '{}' is not started", shown(name.text));
            cx.report.once("listener certificate", Draft::warning(certificate.at(), text));
            return Some((name, Vec::new()));
        }
        let address = self.address(listen)?;
        let mut plans = Vec::new();
        for number in port {
            let listen = SocketAddr::new(address, number);
            bound.push(Bound { what: format!("the listener '{}'", shown(name.text)), at: name.at, listen });
            plans.push(InboundPlan {
                options: Options {
                    name: Tag::new(name.text),
                    kind,
                    listen,
                    users: users.clone(),
                    access: access(self.doors, &users, listen),
                    udp: udp && kind != Kind::Http,
                    keep_alive: cx.socket.keep_alive,
                },
                optional: false,
                rule: rule.clone(),
                proxy: proxy.clone(),
            });
        }
        if users.is_empty() && !address.is_loopback() {
            notices.push(open_door(&format!("listener '{}'", shown(name.text)), self.doors));
        }
        Some((name, plans))
    }

    fn kind(&self, kind: Text<'d>) -> Option<Kind> {
        match kind.text {
            "http" => Some(Kind::Http),
            "socks" => Some(Kind::Socks),
            "mixed" => Some(Kind::Mixed),
            known if UNSUPPORTED_TYPES.contains(&known) => {
                let text = format!("listeners of type {known} are not supported yet and are not started");
                self.cx.report.once(format!("listener type {known}"), Draft::warning(kind.at, text));
                None
            }
            other => {
                let text = format!("proxy {}: unsupport proxy type: {}", self.index, shown(other));
                let known = ["http", "socks", "mixed"].into_iter().chain(UNSUPPORTED_TYPES.iter().copied());
                self.cx.report.add(Draft::error(kind.at, text).meant(other, known));
                None
            }
        }
    }

    fn required(&self, fields: &mut Fields<'d>) -> Option<(Text<'d>, Vec<u16>)> {
        let (name, port) = (fields.take("name"), fields.take("port"));
        let mut missing = Vec::new();
        if name.is_none() {
            missing.push("name");
        }
        if port.is_none() {
            missing.push("port");
        }
        if !missing.is_empty() {
            let text = format!("proxy {}: '' has unset fields: {}", self.index, missing.join(", "));
            self.cx.report.error(fields.first_key(), text);
        }
        Some((name?.text()?, self.ports(port?.text()?)?))
    }

    /// `443`, `200/302`, `200-210`, and any mixture.
    fn ports(&self, written: Text<'d>) -> Option<Vec<u16>> {
        const MOST: usize = 1024;
        let refused = |why: &str| {
            let text = format!("`port` must be a port or a list of port ranges{why}, found '{}'", shown(written.text));
            self.cx.report.error(written.at, text);
        };
        let mut ports = Vec::new();
        for part in written.text.split(['/', ',']).map(str::trim).filter(|part| !part.is_empty()) {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
            let (Some(from), Some(to)) = (number(from), number(to)) else {
                refused("");
                return None;
            };
            ports.extend(from.min(to)..=from.max(to));
            if ports.len() > MOST {
                refused(&format!(", at most {MOST} ports in all"));
                return None;
            }
        }
        if ports.is_empty() {
            refused("");
            return None;
        }
        Some(ports)
    }

    fn address(&self, listen: Option<Text<'d>>) -> Option<IpAddr> {
        let Some(listen) = listen else {
            return Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        };
        let address = listen.text.trim_start_matches('[').trim_end_matches(']').parse().ok();
        if address.is_none() {
            let text = format!("`listen` must be an address, found '{}'", shown(listen.text));
            self.cx.report.error(listen.at, text);
        }
        address
    }

    /// The listener's own users; the global ones if it has no such key; nobody is asked if the list is empty.
    fn users(&self, list: Option<Value<'d>>) -> Users {
        let Some(items) = list.and_then(Value::list) else {
            return self.doors.users.clone();
        };
        let user = |item: Value<'d>| {
            let mut fields = item.fields()?;
            let (name, password) = (fields.take("username"), fields.take("password"));
            if name.is_none() || password.is_none() {
                self.cx.report.error(fields.first_key(), "a user has `username` and `password`");
            }
            fields.finish("a user of a listener", &[]);
            Some((name?.string()?, Secret::new(password?.string()?)))
        };
        Users::new(items.into_iter().filter_map(user))
    }

    fn rule(&self, rule: Option<Value<'d>>) -> Option<Tag> {
        let rule = rule?.text().filter(|rule| !rule.text.is_empty())?;
        if self.rules.contains(rule.text) {
            return Some(Tag::new(rule.text));
        }
        let text = format!("there is no sub-rule '{}'; the main rules are used", shown(rule.text));
        self.cx.report.add(Draft::warning(rule.at, text).meant(rule.text, self.rules.iter().copied()));
        None
    }

    fn proxy(&self, proxy: Option<Value<'d>>) -> Option<Tag> {
        let proxy = proxy?.text().filter(|proxy| !proxy.text.is_empty())?;
        if self.outbounds.contains(proxy.text) {
            return Some(Tag::new(proxy.text));
        }
        let text = format!("proxy {} not found; this listener refuses all connections", shown(proxy.text));
        self.cx.report.add(Draft::warning(proxy.at, text).meant(proxy.text, self.outbounds.iter().copied()));
        Some(Tag::new("REJECT"))
    }
}

/// F-D12: no two listeners on one address.
fn check_addresses(bound: &[Bound], cx: &Context<'_>) {
    let clash = |a: SocketAddr, b: SocketAddr| {
        let everywhere = |address: SocketAddr| address.ip() == ANY;
        let same_family = a.is_ipv4() == b.is_ipv4();
        let covers = |any: IpAddr| any.is_unspecified() && same_family;
        a.port() == b.port() && (a.ip() == b.ip() || everywhere(a) || everywhere(b) || covers(a.ip()) || covers(b.ip()))
    };
    let mut blamed = Vec::new();
    for (index, second) in bound.iter().enumerate() {
        let earlier = bound.get(..index).unwrap_or_default();
        let first = earlier.iter().find(|first| first.at != second.at && clash(first.listen, second.listen));
        if let Some(first) = first
            && !blamed.contains(&second.at.start)
        {
            blamed.push(second.at.start);
            let text = format!("port {} is taken by {} already", second.listen.port(), first.what);
            cx.report.error(second.at, text);
        }
    }
}
