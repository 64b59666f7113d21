//! The global keys that concern listeners, and whom they let in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use adit_inbound::{Access, Interception, Kind, Users};
use adit_net::Secret;
use ipnet::IpNet;

use super::ANY;
use crate::context::Context;
use crate::read::{Fields, Text, Value};
use crate::report::shown;
use crate::yaml::At;

/// The global keys that concern listeners.
pub(crate) struct Doors {
    pub(super) users: Users,
    pub(super) allow_lan: bool,
    pub(super) bind: IpAddr,
    /// `lan-allowed-ips`, if written.
    allowed: Option<Vec<IpNet>>,
    denied: Vec<IpNet>,
    /// `port`, `socks-port` and `mixed-port`.
    pub(super) classic: Vec<(Kind, Port)>,
    /// `redir-port` and `tproxy-port`.
    pub(super) transparent: Vec<(Interception, Port)>,
}

/// One of the classic ports, switched on.
pub(super) struct Port {
    pub(super) key: &'static str,
    pub(super) at: At,
    pub(super) number: u16,
}

/// Reads the global keys.
pub(crate) fn doors(fields: &mut Fields<'_>, cx: &Context<'_>) -> Doors {
    let users = users(fields.take("authentication"), cx);
    let skipped = fields.take("skip-auth-prefixes").map(|list| prefixes(list, cx)).unwrap_or_default();
    let bind = fields.take("bind-address").and_then(Value::text).map_or(ANY, |bind| bind_address(bind, cx));
    let classic = [("port", Kind::Http), ("socks-port", Kind::Socks), ("mixed-port", Kind::Mixed)];
    let transparent = [("redir-port", Interception::Redirect), ("tproxy-port", Interception::Tproxy)];
    Doors {
        users: Users::new(users).skipping(skipped),
        allow_lan: fields.take("allow-lan").and_then(Value::boolean).unwrap_or(false),
        bind,
        allowed: fields.take("lan-allowed-ips").map(|list| prefixes(list, cx)),
        denied: fields.take("lan-disallowed-ips").map(|list| prefixes(list, cx)).unwrap_or_default(),
        classic: classic.into_iter().filter_map(|(key, kind)| Some((kind, port(fields, key)?))).collect(),
        transparent: transparent.into_iter().filter_map(|(key, kind)| Some((kind, port(fields, key)?))).collect(),
    }
}

/// The port of `key`; 0 is off.
fn port(fields: &mut Fields<'_>, key: &'static str) -> Option<Port> {
    let value = fields.take(key)?;
    let number = value.port().filter(|port| *port != 0)?;
    Some(Port { key, at: value.at(), number })
}

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

impl Doors {
    /// Whom a listener serves. Without users and without an explicit list, never the internet.
    pub(super) fn access(&self, users: &Users, listen: SocketAddr) -> Access {
        let access = match &self.allowed {
            Some(prefixes) => Access::listed(prefixes.iter().copied()),
            None if users.is_empty() && !listen.ip().is_loopback() => Access::private_only(),
            None => Access::everyone(),
        };
        access.denying(self.denied.iter().copied())
    }

    /// Whom a transparent listener serves; why, is told at [`TransparentPlan`](super::TransparentPlan).
    pub(super) fn access_of_captured(&self) -> Access {
        Access::everyone().denying(self.denied.iter().copied())
    }

    /// Whether `lan-allowed-ips` is written and leaves anybody out.
    pub(super) fn names_sources(&self) -> bool {
        self.allowed.as_ref().is_some_and(|prefixes| prefixes.iter().all(|prefix| prefix.prefix_len() != 0))
    }

    /// F-C2: one clear line.
    pub(super) fn open(&self, what: &str) -> String {
        match &self.allowed {
            None => format!(
                "{what} without users: only loopback, private, link-local and carrier-NAT sources are served \
                 (set `authentication`, or `lan-allowed-ips` to choose the sources yourself)"
            ),
            Some(_) => {
                format!("{what} without users: every source that `lan-allowed-ips` admits is served without a password")
            }
        }
    }
}
