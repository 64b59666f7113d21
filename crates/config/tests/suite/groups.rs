//! `proxy-groups:` that choose by themselves, and members that providers bring.

use std::collections::HashMap;
use std::time::Duration;

use adit_config::{Candidate, GroupPlan, Plan};
use adit_net::Tag;
use adit_outbound::options::{Group, GroupKind, Strategy, TEST_URL};

use crate::scene::{plan, warnings};

const PROXIES: &str = "\
proxies:
  - {name: a, type: socks5, server: x.y, port: 1}
  - {name: b, type: http, server: x.y, port: 1}
";

const PROVIDERS: &str = "\
proxy-providers:
  two:
    type: inline
    payload:
      - {name: US 2, type: socks5, server: x.y, port: 1}
      - {name: HK 2, type: socks5, server: x.y, port: 1}
    health-check: {enable: false, url: 'http://off.test/', interval: 60}
  one:
    type: inline
    payload:
      - {name: HK 1, type: http, server: x.y, port: 1}
      - {name: US 1, type: socks5, server: x.y, port: 1}
      - {name: HK US, type: socks5, server: x.y, port: 1}
    health-check: {enable: true, url: 'http://check.test/', interval: 60, lazy: false}
";

fn of(text: &str) -> Plan {
    plan(&format!("{PROXIES}{PROVIDERS}proxy-groups:\n  - {{name: G, {text}}}\n"))
}

fn group(text: &str) -> Group {
    of(text).groups.remove(0)
}

fn members(text: &str) -> Vec<String> {
    group(text).members.iter().map(ToString::to_string).collect()
}

#[test]
fn every_type_has_its_keys() {
    let kind = |text: &str| group(&format!("proxies: [a], {text}")).kind;
    assert_eq!(kind("type: url-test, tolerance: 50"), GroupKind::UrlTest { tolerance: 50 });
    assert_eq!(kind("type: url-test"), GroupKind::UrlTest { tolerance: 0 });
    assert_eq!(kind("type: fallback"), GroupKind::Fallback);
    for (text, strategy) in [
        ("", Strategy::ConsistentHashing),
        (", strategy: consistent-hashing", Strategy::ConsistentHashing),
        (", strategy: round-robin", Strategy::RoundRobin),
        (", strategy: sticky-sessions", Strategy::StickySessions),
    ] {
        assert_eq!(kind(&format!("type: load-balance{text}")), GroupKind::LoadBalance(strategy));
    }
    let all = "type: fallback, proxies: [a], url: 'http://t.test:81/x?y', interval: 7, lazy: false, timeout: 900, \
               max-failed-times: 3, expected-status: 200-204/301, hidden: true, icon: i, disable-udp: true";
    let group = group(all);
    assert_eq!((group.check.url.as_str(), group.check.lazy), ("http://t.test:81/x?y", false));
    assert_eq!(group.check.interval, Some(Duration::from_secs(7)));
    assert_eq!(group.check.timeout, Duration::from_millis(900));
    assert_eq!(group.check.expected, [200..=204, 301..=301]);
    assert!(group.hidden && group.disable_udp && group.icon == "i");
    assert_eq!(warnings(&format!("{PROXIES}proxy-groups: [{{name: G, {all}}}]\n")), [""; 0]);
}

#[test]
fn tests_have_mihomos_defaults() {
    let check = |text: &str| group(text).check;
    let usual = Some(Duration::from_secs(300));
    let select = check("type: select, proxies: [a]");
    assert_eq!((select.url.as_str(), select.interval, select.lazy), (TEST_URL, None, true));
    assert_eq!((select.timeout, select.expected.len()), (Duration::from_secs(5), 0));
    assert_eq!(check("type: url-test, proxies: [a]").interval, usual);
    assert_eq!(check("type: url-test, proxies: [a], interval: 0, expected-status: '*'").interval, usual);
    // Of a provider: its URL, and its interval where the group has nothing else.
    let used = check("type: url-test, use: [two, one]");
    assert_eq!((used.url.as_str(), used.interval), ("http://off.test/", Some(Duration::from_secs(60))));
    assert_eq!(check("type: select, use: [one]").interval, Some(Duration::from_secs(60)));
    assert_eq!(check("type: url-test, use: [two]").interval, usual);
    assert_eq!(check("type: url-test, proxies: [a], use: [one]").interval, usual);
    let text = format!("{PROXIES}proxy-groups: [{{name: G, type: fallback, proxies: [a], url: not one}}]\n");
    assert!(warnings(&text)[0].starts_with("G: not a URL for delay tests"), "{:?}", warnings(&text));
    let text = format!("{PROXIES}proxy-groups: [{{name: G, type: select, proxies: [a], dialer-proxy: b}}]\n");
    assert!(warnings(&text)[0].starts_with("`dialer-proxy` was removed from groups"));
}

/// mihomo-surface §6.1
#[test]
fn members_are_in_mihomos_order() {
    for (text, expected) in [
        ("proxies: [b, a], use: [two, one]", "b a US 2 HK 2 HK 1 US 1 HK US"),
        // All providers, by name, instead of those that are used; all proxies, by name, behind those that are written.
        ("use: [two], include-all-providers: true", "HK 1 US 1 HK US US 2 HK 2"),
        ("proxies: [b], include-all: true", "b a HK 1 US 1 HK US US 2 HK 2"),
        // A filter does not concern those that are written.
        ("proxies: [a], use: [two], filter: HK", "a HK 2"),
        ("proxies: [b], include-all-proxies: true, filter: '^a$'", "b a"),
        // Several filters sort within one provider; with several sources they sort everything.
        ("use: [one], filter: 'US`HK'", "US 1 HK US HK 1"),
        ("use: [two, one], filter: 'HK`US'", "HK 2 HK 1 HK US US 2 US 1"),
        ("proxies: [a], use: [one], filter: 'US`HK'", "US 1 HK US HK 1 a"),
        // Exclusion concerns everybody.
        ("proxies: [a, b], use: [one], exclude-filter: 'US`^b$'", "a HK 1"),
        ("proxies: [a, b], use: [one], exclude-type: 'HTTP|direct'", "a US 1 HK US"),
        // Nobody is there twice.
        ("proxies: [a, a], include-all-proxies: true", "a b"),
        ("use: [two], filter: nothing", "REJECT"),
        ("use: [two], filter: nothing, empty-fallback: b", "b"),
    ] {
        assert_eq!(members(&format!("type: select, {text}")).join(" "), expected, "{text}");
    }
}

fn candidates(names: &[&str]) -> Vec<Candidate> {
    names.iter().map(|name| Candidate { name: Tag::new(name), kind: "Vless" }).collect()
}

#[test]
fn members_follow_what_providers_have() {
    let plan = of("type: select, use: [one, two], proxies: [a], default-selected: X, exclude-type: http");
    let group: &GroupPlan = &plan.ways.groups[0];
    let default = |nodes: &HashMap<Tag, Vec<Candidate>>| match group.group(nodes).kind {
        GroupKind::Select { default } => default.map(|name| name.to_string()),
        _ => panic!(),
    };
    let mut nodes = HashMap::new();
    assert_eq!(group.members(&nodes), [Tag::new("a")]);
    assert_eq!(default(&nodes), None);
    nodes.insert(Tag::new("two"), candidates(&["X", "Y"]));
    nodes.insert(Tag::new("three"), candidates(&["Z"]));
    assert_eq!(group.members(&nodes), ["a", "X", "Y"].map(Tag::new));
    assert_eq!(default(&nodes).as_deref(), Some("X"));
    nodes.insert(Tag::new("one"), candidates(&["W"]));
    assert_eq!(group.members(&nodes), ["a", "W", "X", "Y"].map(Tag::new));
    assert_eq!(group.providers(), ["one", "two"].map(Tag::new));
}

/// Providers have names of their own; here everything has one name space.
#[test]
fn names_that_clash_get_the_name_of_the_provider() {
    let text = "\
proxies: [{name: a, type: direct}]
proxy-groups: [{name: G, type: select, use: [p, q]}]
proxy-providers:
  p: {type: inline, payload: [{name: a, type: direct}, {name: G, type: direct}, {name: n, type: direct}]}
  q: {type: inline, payload: [{name: n, type: direct}, {name: n, type: direct}, {name: REJECT, type: direct}]}
";
    let plan = plan(text);
    let names: Vec<&str> = plan.outbounds.iter().map(|outbound| &*outbound.name).collect();
    assert_eq!(names, ["DIRECT", "a", "a (p)", "G (p)", "n", "n (q)", "n-01", "REJECT (q)"]);
    assert_eq!(plan.groups[0].members.len(), 6);
    assert!(plan.outbounds[2..].iter().all(|outbound| outbound.common.provider.is_some()));
    assert_eq!(plan.outbounds[2].common.provider.as_deref(), Some("p"));
}

#[test]
fn nodes_that_cannot_be_reached_are_left_out() {
    let text = "\
proxy-groups: [{name: G, type: select, use: [p]}]
proxy-providers:
  p:
    type: inline
    payload:
      - {name: lost, type: direct, dialer-proxy: nobody}
      - {name: self, type: direct, dialer-proxy: self}
      - {name: b, type: direct, dialer-proxy: c}
      - {name: c, type: direct, dialer-proxy: b}
      - {name: behind, type: direct, dialer-proxy: lost}
      - {name: good, type: direct, dialer-proxy: G}
";
    let plan = plan(text);
    assert_eq!(plan.groups[0].members, [Tag::new("good")]);
    let found = warnings(text);
    assert!(found.contains(&"proxy [lost] dialer-proxy [nobody] not found: it is left out".to_owned()), "{found:#?}");
    assert!(found.contains(&"proxy [b] has circular dialer-proxy dependency: it is left out".to_owned()));
    assert_eq!(found.len(), 5);
}

/// Mihomo took `relay` away; what it did can be written with `dialer-proxy`, and is.
#[test]
fn a_relay_is_one_way_through_all_of_its_members() {
    let plan = of("type: relay, proxies: [b, DIRECT, a], use: [one], filter: 'HK 1'");
    let way = |name: &str| {
        let outbound = plan.outbounds.iter().find(|outbound| &*outbound.name == name).unwrap();
        outbound.common.dialer_proxy.as_ref().map(ToString::to_string)
    };
    assert_eq!(plan.groups[0].members, ["b → a → HK 1".into()]);
    assert_eq!(way("b → a → HK 1").as_deref(), Some("b → a"));
    assert_eq!(way("b → a").as_deref(), Some("b"));
    assert_eq!((way("b"), way("a"), way("HK 1")), (None, None, None), "the members themselves are what they were");
    assert!(
        plan.outbounds.iter().filter(|outbound| outbound.name.contains('→')).all(|link| link.common.provider.is_none())
    );
    // The first may be a group; without a provider's proxies there is no way yet.
    let text = "type: relay, proxies: [H, a]}\n  - {name: H, type: select, proxies: [b]";
    assert_eq!(of(text).groups[0].members, ["H → a".into()]);
    assert_eq!(group("type: relay, proxies: [DIRECT]").members, ["DIRECT".into()]);
    assert_eq!(group("type: relay, use: [one], filter: nothing").members, ["REJECT".into()]);
}
