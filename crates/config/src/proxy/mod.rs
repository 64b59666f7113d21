//! `proxies:` — from YAML to the options of outbounds. Spec: mihomo-surface §5.

mod entry;
pub(crate) mod flaw;
pub(crate) mod links;
pub(crate) mod tls;
pub(crate) mod vless;
pub(crate) mod wireguard;
pub(crate) mod written;

use std::collections::{HashMap, HashSet};

use adit_net::Tag;
use adit_outbound::options::{Common, IpVersion, Kind, Outbound};

use crate::context::Context;
use crate::read::{Text, Value};
use crate::report::{Draft, shown};
use crate::yaml::At;
use entry::Reader;
pub(crate) use entry::ip_version;
pub(crate) use entry::keys::REFUSES;

/// An outbound of the file with the places that later checks point at.
#[derive(Debug)]
pub(crate) struct Proxy<'d> {
    pub(crate) outbound: Outbound,
    pub(crate) name: Text<'d>,
    pub(crate) dialer: Option<Text<'d>>,
    /// Where its own `routing-mark` stands.
    pub(crate) mark_at: Option<At>,
    /// Where its type stands.
    pub(crate) type_at: At,
    /// Its type as the API shows it, for `exclude-type`.
    pub(crate) shown_type: &'static str,
}

/// Names that are taken whatever the file says.
pub(crate) const BUILT_IN: [&str; 6] = ["DIRECT", "REJECT", "REJECT-DROP", "COMPATIBLE", "PASS", "PASS-RULE"];

/// The built-in way out that has sockets of its own. The others have nothing to configure.
pub(crate) fn built_in_direct(cx: &Context<'_>) -> Outbound {
    let ip_version = if cx.ipv6 { IpVersion::Dual } else { IpVersion::V4 };
    let common = Common { udp: true, socket: cx.socket.clone(), ip_version, dialer_proxy: None, ..Common::default() };
    let mut direct = Outbound { name: Tag::new("DIRECT"), kind: Kind::Direct, common };
    written::write(&mut direct, Some("DIRECT".to_owned()), cx.ipv6);
    direct
}

/// Whether proxies of a type exist elsewhere, and not here.
pub(crate) fn is_unsupported(kind: &str) -> bool {
    entry::UNSUPPORTED.iter().any(|(name, _)| *name == kind)
}

/// Reads one proxy, which is `item`. `index` is which it is, for messages.
pub(crate) fn one<'d>(index: usize, item: Value<'d>, cx: &Context<'d>) -> Option<Proxy<'d>> {
    let mut proxy = Reader::new(index, item.fields()?, cx)?.read()?;
    written::write(&mut proxy.outbound, item.canonical(), cx.ipv6);
    Some(proxy)
}

/// Reads `proxies:`.
pub(crate) fn read<'d>(list: Value<'d>, cx: &Context<'d>) -> Vec<Proxy<'d>> {
    let items = list.list().unwrap_or_default();
    let mut taken: HashSet<&str> = BUILT_IN.into_iter().collect();
    let mut proxies = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let Some(proxy) = one(index, item, cx) else { continue };
        if !taken.insert(proxy.name.text) {
            cx.report.error(proxy.name.at, format!("proxy {} is the duplicate name", shown(proxy.name.text)));
            continue;
        }
        proxies.push(proxy);
    }
    proxies
}

/// Checks `dialer-proxy`: it must exist and must not lead back, directly or through a group's members.
pub(crate) fn check_dialers(proxies: &[Proxy<'_>], members: &HashMap<&str, Vec<Tag>>, cx: &Context<'_>) {
    let dialers: HashMap<&str, &str> =
        proxies.iter().filter_map(|proxy| Some((proxy.outbound.name.as_str(), proxy.dialer?.text))).collect();
    let names: HashSet<&str> = proxies
        .iter()
        .map(|proxy| proxy.outbound.name.as_str())
        .chain(members.keys().copied())
        .chain(BUILT_IN)
        .collect();
    for proxy in proxies {
        let name = proxy.outbound.name.as_str();
        let Some(dialer) = proxy.dialer else { continue };
        if !names.contains(dialer.text) {
            let (name, dialer_name) = (shown(name), shown(dialer.text));
            let text = format!("proxy [{name}] dialer-proxy [{dialer_name}] not found");
            cx.report.add(Draft::error(dialer.at, text).meant(dialer.text, names.iter().copied()));
            continue;
        }
        let carrier = proxies.iter().find(|proxy| &*proxy.outbound.name == dialer.text);
        if matches!(proxy.outbound.kind, Kind::WireGuard(_)) && carrier.is_some_and(|carrier| !has_udp(carrier)) {
            let (name, dialer_name) = (shown(name), shown(dialer.text));
            let text = format!("'{name}' reaches its peers over UDP, which '{dialer_name}' does not carry");
            cx.report.add(Draft::warning(dialer.at, text).hint("the proxy needs a type that has UDP, and `udp: true`"));
        }
        let mut seen = HashSet::new();
        let mut next = vec![dialer.text];
        while let Some(way) = next.pop() {
            if way == name {
                let text = format!("proxy [{}] has circular dialer-proxy dependency", shown(name));
                let through_group = members.contains_key(dialer.text);
                let draft = Draft::error(dialer.at, text);
                cx.report.add(if through_group {
                    draft.hint(format!("the group '{}' contains the proxy itself", shown(dialer.text)))
                } else {
                    draft
                });
                break;
            }
            if seen.insert(way) {
                next.extend(dialers.get(way));
                next.extend(members.get(way).into_iter().flatten().map(Tag::as_str));
            }
        }
    }
}

/// Where our own DNS is off, nobody answers the questions that are sent to proxies of type `dns`.
pub(crate) fn warn_of_missing_dns(proxies: &[Proxy<'_>], cx: &Context<'_>) {
    for proxy in proxies.iter().filter(|proxy| matches!(proxy.outbound.kind, Kind::Dns)) {
        let name = shown(&proxy.outbound.name);
        let text = format!("'{name}' answers from our own DNS, which is off: questions that rules send there fail");
        let draft = Draft::warning(proxy.type_at, text).hint("switch it on: `dns: {enable: true, nameserver: [...]}`");
        cx.report.once("proxies of type dns", draft);
    }
}

fn has_udp(proxy: &Proxy<'_>) -> bool {
    proxy.outbound.common.udp && !matches!(proxy.outbound.kind, Kind::Http(_))
}
