//! One entry of `listeners:`. Spec: mihomo-surface §2.6.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use adit_inbound::{Interception, Kind, Options, Users};
use adit_net::{Secret, Tag};

use super::doors::Doors;
use super::transparent::{Captured, check_mark};
use super::{ANY, Bound, InboundPlan, Listening, TransparentPlan};
use crate::context::Context;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};

/// Reads one entry of `listeners:`.
pub(super) struct Listener<'d, 'c> {
    pub(super) index: usize,
    pub(super) doors: &'c Doors,
    pub(super) rules: &'c HashSet<&'c str>,
    pub(super) outbounds: &'c HashSet<&'c str>,
    pub(super) cx: &'c Context<'d>,
}

/// One entry as meant.
pub(super) struct Entry<'d> {
    pub(super) name: Text<'d>,
    address: IpAddr,
    ports: Vec<u16>,
    door: Door<'d>,
    rule: Option<Tag>,
    proxy: Option<Tag>,
}

/// What a listener is for.
enum Door<'d> {
    /// Clients that know of us.
    Proxy { kind: Kind, users: Users, udp: bool },
    /// Clients that do not.
    Transparent(Captured<'d>),
    /// Nobody yet: it wants TLS, which is reported.
    Closed,
}

/// The types that are known here.
#[derive(Clone, Copy)]
enum Type {
    Proxy(Kind),
    Transparent(Interception),
}

const TYPES: [(&str, Type); 5] = [
    ("http", Type::Proxy(Kind::Http)),
    ("socks", Type::Proxy(Kind::Socks)),
    ("mixed", Type::Proxy(Kind::Mixed)),
    ("redir", Type::Transparent(Interception::Redirect)),
    ("tproxy", Type::Transparent(Interception::Tproxy)),
];

const UNSUPPORTED_TYPES: &[&str] = &[
    "anytls",
    "hysteria2",
    "hysteria2-realm",
    "mieru",
    "shadowquic",
    "shadowsocks",
    "snell",
    "sudoku",
    "trojan",
    "trusttunnel",
    "tuic",
    "tun",
    "tunnel",
    "vless",
    "vmess",
];

impl Entry<'_> {
    /// Adds a listener for each port.
    pub(super) fn add(self, doors: &Doors, listening: &mut Listening, cx: &Context<'_>) {
        let Self { name, address, ports, door, rule, proxy } = self;
        let addresses = ports.into_iter().map(|port| SocketAddr::new(address, port));
        let what = format!("the listener '{}'", shown(name.text));
        let bound = |listen| Bound { what: what.clone(), at: name.at, listen };
        match door {
            Door::Closed => {}
            Door::Proxy { kind, users, udp } => {
                for listen in addresses {
                    listening.bound.push(bound(listen));
                    let options = Options {
                        name: Tag::new(name.text),
                        kind,
                        listen,
                        users: users.clone(),
                        access: doors.access(&users, listen),
                        udp: udp && kind != Kind::Http,
                        keep_alive: cx.socket.keep_alive,
                    };
                    let (rule, proxy) = (rule.clone(), proxy.clone());
                    listening.inbounds.push(InboundPlan { options, optional: false, rule, proxy });
                }
                if users.is_empty() && !address.is_loopback() {
                    listening.notices.push(doors.open(&format!("listener '{}'", shown(name.text))));
                }
            }
            Door::Transparent(captured) => {
                for listen in addresses {
                    listening.bound.push(bound(listen));
                    let plan = captured.plan(name.at, listen, false, doors, cx);
                    let (rule, proxy) = (rule.clone(), proxy.clone());
                    listening.transparent.push(TransparentPlan { rule, proxy, ..plan });
                }
            }
        }
    }
}

impl<'d> Listener<'d, '_> {
    pub(super) fn read(&self, mut fields: Fields<'d>) -> Option<Entry<'d>> {
        let Some(kind) = fields.take("type") else {
            // Mihomo says "proxy" here, too.
            self.cx.report.error(fields.first_key(), format!("proxy {}: missing type", self.index));
            return None;
        };
        let kind = kind.text()?;
        let known = self.kind(kind)?;
        let (name, ports) = self.required(&mut fields)?;
        let listen = fields.take("listen").and_then(Value::text);
        let rule = self.rule(fields.take("rule"));
        let proxy = self.proxy(fields.take("proxy"));
        let section = format!("a listener of type {}", kind.text);
        let (door, unlisted) = match known {
            Type::Proxy(kind) => {
                let door = self.proxy_door(kind, name, &mut fields);
                let unsupported = ["routing-mark", "client-auth-type", "client-auth-cert", "ech-key", "tfo", "mptcp"];
                fields.finish(&section, &unsupported);
                (door, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
            }
            Type::Transparent(interception) => {
                let door = self.transparent_door(interception, name, &mut fields);
                fields.finish(&section, &["tfo", "mptcp"]);
                // Host rules capture both families; one without a listener would not be proxied.
                (door, ANY)
            }
        };
        Some(Entry { name, address: self.address(listen, unlisted)?, ports, door, rule, proxy })
    }

    fn proxy_door(&self, kind: Kind, name: Text<'d>, fields: &mut Fields<'d>) -> Door<'d> {
        let users = self.users(fields.take("users"));
        let udp = fields.take("udp").and_then(Value::boolean).unwrap_or(true);
        let (certificate, private_key) = (fields.take("certificate"), fields.take("private-key"));
        let Some(certificate) = certificate.or(private_key) else {
            return Door::Proxy { kind, users, udp };
        };
        let text = format!("listeners with TLS are not supported yet; '{}' is not started", shown(name.text));
        self.cx.report.once("listener certificate", Draft::warning(certificate.at(), text));
        Door::Closed
    }

    fn transparent_door(&self, interception: Interception, name: Text<'d>, fields: &mut Fields<'d>) -> Door<'d> {
        let udp = fields.take("udp").and_then(Value::boolean);
        let mark = fields.take("routing-mark").and_then(|value| {
            let mark = value.number("a number from 0 to 4294967295")?;
            check_mark(value.at(), mark, self.cx);
            Some(mark)
        });
        Door::Transparent(Captured { name: name.text, interception, udp, mark })
    }

    fn kind(&self, kind: Text<'d>) -> Option<Type> {
        if let Some((_, known)) = TYPES.iter().find(|(name, _)| *name == kind.text) {
            return Some(*known);
        }
        if UNSUPPORTED_TYPES.contains(&kind.text) {
            let text = format!("listeners of type {} are not supported yet and are not started", kind.text);
            self.cx.report.once(format!("listener type {}", kind.text), Draft::warning(kind.at, text));
            return None;
        }
        let text = format!("proxy {}: unsupport proxy type: {}", self.index, shown(kind.text));
        let known = TYPES.iter().map(|(name, _)| *name).chain(UNSUPPORTED_TYPES.iter().copied());
        self.cx.report.add(Draft::error(kind.at, text).meant(kind.text, known));
        None
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

    fn address(&self, listen: Option<Text<'d>>, unlisted: IpAddr) -> Option<IpAddr> {
        let Some(listen) = listen else { return Some(unlisted) };
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
