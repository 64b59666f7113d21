//! Who is asked what. Spec: mihomo-surface §7.1.

use std::sync::Arc;

use adit_dns::{Changes, Habits, Nameserver, Policy, Resolvers, Transport, Upstreams, Via};
use adit_net::Dialer;
use adit_outbound::Direct;

use super::{Section, fallback, policy};
use crate::read::{Fields, Text, Value};
use crate::report::Draft;
use crate::yaml::At;

/// Reads all lists of servers. `enabled`: whether there must be somebody to ask.
pub(super) fn upstreams<'d>(
    fields: &mut Fields<'d>,
    enabled: bool,
    habits: Habits,
    section: &Section<'_, 'd>,
) -> Upstreams {
    let main_at = fields.place("nameserver").unwrap_or_else(|| fields.first_key());
    let main = texts(fields.take("nameserver"));
    if enabled && main.is_empty() {
        let message = "if DNS configuration is turned on, NameServer cannot be empty";
        let hint = "write whom to ask as `nameserver`: nobody is asked whom the file does not name";
        section.cx.report.add(Draft::error(main_at, message).hint(hint));
    }
    let default = default(fields, section);
    let policy = policy::read(fields.take("nameserver-policy"), section);
    let fallback = fallback::read(fields, section);
    let (proxy_servers, proxy_server_policy) = for_proxy_servers(fields, section);
    let upstreams = Upstreams {
        main: section.servers(&main),
        policy,
        fallback,
        respects_rules: respects_rules(fields, proxy_servers.is_empty(), section),
        proxy_servers,
        proxy_server_policy,
        direct: section.servers(&texts(fields.take("direct-nameserver"))),
        direct_follows_policy: fields.take("direct-nameserver-follow-policy").and_then(Value::boolean).unwrap_or(false),
        habits,
        ..Upstreams::default()
    };
    let default = default.unwrap_or_else(|| bootstrap(&upstreams, enabled.then_some(main_at), section));
    Upstreams { default, ..upstreams }
}

fn texts<'d>(list: Option<Value<'d>>) -> Vec<Text<'d>> {
    list.map(Value::texts).unwrap_or_default()
}

/// `default-nameserver`, if it is written.
fn default(fields: &mut Fields<'_>, section: &Section<'_, '_>) -> Option<Vec<Nameserver>> {
    let value = fields.take("default-nameserver")?;
    let report = section.cx.report;
    let list = value.texts();
    if list.is_empty() {
        let draft = Draft::error(value.at(), "default nameserver should have at least one nameserver");
        report.add(draft.hint("these servers know the addresses of the others; write at least one address"));
    }
    for text in &list {
        let server = Nameserver::parse(text.text).ok();
        if server.is_some_and(|server| is_by_name(&server)) {
            let draft = Draft::error(text.at, "default nameserver should be pure IP");
            report.add(
                draft.hint("these servers are asked for the addresses of the others: write an address, or `system`"),
            );
        }
    }
    Some(section.servers(&list))
}

/// `proxy-server-nameserver` and its policy.
fn for_proxy_servers<'d>(fields: &mut Fields<'d>, section: &Section<'_, 'd>) -> (Vec<Nameserver>, Vec<Policy>) {
    let list = texts(fields.take("proxy-server-nameserver"));
    let policy_at = fields.key_at("proxy-server-nameserver-policy");
    let value = fields.take("proxy-server-nameserver-policy");
    let has_policy = value.is_some_and(|value| !value.is_off());
    if let (true, true, Some(at)) = (list.is_empty(), has_policy, policy_at) {
        let message = "disallow empty `proxy-server-nameserver` when `proxy-server-nameserver-policy` is set";
        section.cx.report.add(Draft::error(at, message).hint("names that the policy leaves need servers, too"));
    }
    (section.servers(&list), policy::read(value, section))
}

fn respects_rules(fields: &mut Fields<'_>, lacks_proxy_servers: bool, section: &Section<'_, '_>) -> bool {
    let Some(value) = fields.take("respect-rules") else { return false };
    let respects = value.boolean().unwrap_or(false);
    if respects && lacks_proxy_servers {
        let message = "if “respect-rules” is turned on, “proxy-server-nameserver” cannot be empty";
        let hint = "a proxy's own address cannot be asked for through the proxy";
        section.cx.report.add(Draft::error(value.at(), message).hint(hint));
    }
    respects
}

/// Who knows the addresses of servers given by name, and of proxies where all others are asked through proxies, if
/// nobody is written for that: servers that have an address themselves and are asked straight, else the system's. It is
/// an `enabled` section whose list stands there that is worth a warning.
fn bootstrap(upstreams: &Upstreams, enabled: Option<At>, section: &Section<'_, '_>) -> Vec<Nameserver> {
    let Upstreams { main, policy, fallback, proxy_servers, proxy_server_policy, direct, respects_rules, .. } =
        upstreams;
    let policies = policy.iter().chain(proxy_server_policy).flat_map(|policy| policy.lists.iter().flatten());
    let fallback = fallback.iter().flat_map(|fallback| &fallback.servers);
    let mut all = main.iter().chain(policies).chain(fallback).chain(proxy_servers).chain(direct);
    let all_by_proxies = !main.is_empty() && main.iter().all(|server| server.via.is_some());
    let needs_one = all.any(is_by_name) || (proxy_servers.is_empty() && all_by_proxies);
    if !needs_one {
        return Vec::new();
    }
    // `respect-rules` is about these, so they may not be asked beside the rules.
    let main: &[Nameserver] = if *respects_rules { &[] } else { main };
    let straight = |list: &[Nameserver]| list.iter().filter(|server| is_straight(server)).cloned().collect::<Vec<_>>();
    let mut usable = [proxy_servers, main, direct].into_iter().map(straight);
    usable.find(|list| !list.is_empty()).unwrap_or_else(|| {
        if let Some(at) = enabled {
            let message = "the addresses of nameservers and proxies are asked of the system's nameservers \
                           (/etc/resolv.conf)";
            let hint = "write `default-nameserver: [<address>]` to choose whom to ask";
            section.cx.report.add(Draft::warning(at, message).hint(hint));
        }
        vec![Nameserver { transport: Transport::System, via: None, changes: Changes::default() }]
    })
}

/// Makes the resolvers, where nothing else is wrong, for what only they know: a host that no certificate can be for.
pub(super) fn check(upstreams: &Upstreams, at: At, section: &Section<'_, '_>) {
    if upstreams.main.is_empty() || section.cx.report.has_errors() {
        return;
    }
    let straight = |_: Option<&Via>| -> Option<Arc<dyn Dialer>> {
        Some(Arc::new(Direct::to_addresses(section.cx.socket.clone())))
    };
    if let Err(error) = Resolvers::new(upstreams, &straight) {
        section.cx.report.error(at, format!("dns: {error}"));
    }
}

fn is_by_name(server: &Nameserver) -> bool {
    server.server().is_some_and(|server| server.host.domain().is_some())
}

/// Whether a server can be asked without knowing any name's address, and without a proxy.
fn is_straight(server: &Nameserver) -> bool {
    let has_address = server.server().is_some_and(|server| server.host.ip().is_some());
    server.via.is_none() && (has_address || server.transport == Transport::System)
}
