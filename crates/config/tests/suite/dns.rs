//! `dns:`. Spec: mihomo-surface §7.

mod files;
mod names;
mod problems;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use adit_config::{DnsMode, DnsPlan, Plan, load};
use adit_dns::{FakeFilter, FakeRanges, Nameserver, Policy};

use crate::scene::{errors, plan, source, warnings};

/// A section that is on and asks one server, with more keys.
fn section(keys: &str) -> String {
    format!("dns: {{enable: true, nameserver: [192.0.2.53], {keys}}}\n")
}

/// What becomes of it; it is not even doubtful.
#[track_caller]
fn dns(keys: &str) -> DnsPlan {
    assert_eq!(warnings(&section(keys)), [""; 0], "{keys}");
    dns_of(&plan(&section(keys)))
}

#[track_caller]
fn dns_of(plan: &Plan) -> DnsPlan {
    plan.dns.clone().unwrap()
}

fn texts(servers: &[Nameserver]) -> Vec<String> {
    servers.iter().map(ToString::to_string).collect()
}

/// The first server that a policy names for `name`.
fn policy_for(policy: &[Policy], name: &str) -> Option<String> {
    let list = policy.iter().find_map(|policy| policy.lists.get((policy.choose)(name)?))?;
    list.first().map(ToString::to_string)
}

#[track_caller]
fn fake(plan: &DnsPlan) -> (FakeRanges, &FakeFilter, u32) {
    match &plan.mode {
        DnsMode::FakeIp { ranges, filter, ttl, .. } => (*ranges, filter, *ttl),
        DnsMode::Normal | DnsMode::RedirHost => panic!("there are no fake addresses"),
    }
}

#[test]
fn it_is_off_unless_it_is_enabled_and_checked_all_the_same() {
    for off in ["", "dns: ~\n", "dns: {}\n", "dns: {enable: false}\n", "dns: {nameserver: [1.1.1.1]}\n"] {
        let text = format!("mixed-port: 1\n{off}");
        assert!(plan(&text).dns.is_none(), "{off}");
        assert_eq!(warnings(&text), [""; 0]);
    }
    assert_eq!(errors("dns: {nameserver: [ftp://1.1.1.1]}\n"), ["DNS NameServer[0] unsupport scheme: ftp"]);
    assert_eq!(errors("dns: {default-nameserver: []}\n"), ["default nameserver should have at least one nameserver"]);
}

#[test]
fn the_defaults_are_those_of_mihomo() {
    let dns = dns("");
    assert!(matches!(dns.mode, DnsMode::RedirHost));
    assert_eq!((dns.listen, dns.ipv6, dns.uses_hosts, dns.uses_system_hosts), (None, false, true, true));
    let upstreams = &dns.upstreams;
    assert_eq!(texts(&upstreams.main), ["udp://192.0.2.53:53"]);
    assert!(upstreams.policy.is_empty() && upstreams.fallback.is_none() && upstreams.proxy_servers.is_empty());
    assert!(upstreams.direct.is_empty() && !upstreams.direct_follows_policy && !upstreams.respects_rules);
    assert!(upstreams.default.is_empty(), "everybody who is asked has an address");
    let habits = upstreams.habits;
    assert_eq!((habits.ipv6, habits.ipv6_wait), (false, Duration::from_millis(100)));
    assert_eq!((habits.cache_size, habits.serves_stale), (4096, true));
}

#[test]
fn every_key_is_read() {
    let dns = dns("listen: 127.0.0.1:1053, ipv6: true, ipv6-timeout: 250, use-hosts: false, use-system-hosts: false, \
         default-nameserver: [192.0.2.1, system], respect-rules: true, fallback: ['tls://192.0.2.2'], \
         fallback-filter: {geoip: false}, fallback-lazy-query: true, nameserver-policy: {a.example: 192.0.2.3}, \
         proxy-server-nameserver: [192.0.2.4], proxy-server-nameserver-policy: {b.example: [192.0.2.5]}, \
         direct-nameserver: [192.0.2.6], direct-nameserver-follow-policy: true, cache-algorithm: arc, \
         cache-max-size: 100, enhanced-mode: normal, prefer-h3: false, listen-routing-mark: 0");
    assert_eq!(dns.listen, Some(SocketAddr::from(([127, 0, 0, 1], 1053))));
    assert!(matches!(dns.mode, DnsMode::Normal));
    assert_eq!((dns.ipv6, dns.uses_hosts, dns.uses_system_hosts), (true, false, false));
    let upstreams = dns.upstreams;
    assert_eq!(texts(&upstreams.default), ["udp://192.0.2.1:53", "system"]);
    let fallback = upstreams.fallback.unwrap();
    assert_eq!((texts(&fallback.servers), fallback.is_lazy), (vec!["tls://192.0.2.2:853".to_owned()], true));
    assert_eq!(policy_for(&upstreams.policy, "a.example").as_deref(), Some("udp://192.0.2.3:53"));
    assert_eq!(texts(&upstreams.proxy_servers), ["udp://192.0.2.4:53"]);
    assert_eq!(policy_for(&upstreams.proxy_server_policy, "b.example").as_deref(), Some("udp://192.0.2.5:53"));
    assert_eq!(texts(&upstreams.direct), ["udp://192.0.2.6:53"]);
    assert!(upstreams.direct_follows_policy && upstreams.respects_rules);
    let habits = upstreams.habits;
    assert_eq!((habits.ipv6, habits.ipv6_wait), (true, Duration::from_millis(250)));
    assert_eq!((habits.cache_size, habits.serves_stale), (100, false));
}

#[test]
fn clients_are_answered_where_it_says() {
    for (written, listen) in [
        ("''", None),
        ("127.0.0.1:0", None),
        ("0.0.0.0:53", Some("0.0.0.0:53")),
        ("'[::1]:53'", Some("[::1]:53")),
        ("':1053'", Some("[::]:1053")),
        ("'*:1053'", Some("[::]:1053")),
    ] {
        let listen = listen.map(|listen| listen.parse().unwrap());
        assert_eq!(dns(&format!("listen: {written}")).listen, listen, "{written}");
    }
}

#[test]
fn without_ipv6_nothing_of_it_is_left() {
    let keys = "ipv6: true, enhanced-mode: fake-ip, fake-ip-range6: 'fd00:1::1/64'";
    let with = dns(keys);
    assert!(with.ipv6 && with.upstreams.habits.ipv6 && fake(&with).0.v6.is_some());
    let without = dns_of(&plan(&format!("ipv6: false\n{}", section(keys))));
    assert!(!without.ipv6 && !without.upstreams.habits.ipv6 && fake(&without).0.v6.is_none());
}

#[test]
fn fake_addresses_have_ranges_a_lifetime_and_a_file() {
    let ranges = |plan: &DnsPlan| {
        let FakeRanges { v4, v6 } = fake(plan).0;
        (v4.map(|v4| v4.to_string()), v6.map(|v6| v6.to_string()))
    };
    let v4 = |text: &str| Some(text.to_owned());
    let plain = dns("enhanced-mode: fake-ip");
    assert_eq!((ranges(&plain), fake(&plain).2), ((v4("198.18.0.1/16"), None), 1));
    assert!(matches!(plain.mode, DnsMode::FakeIp { store: None, .. }));
    let own = dns("enhanced-mode: Fake-IP, fake-ip-range: 10.9.0.0/24, fake-ip-range6: 'fd00::/64', fake-ip-ttl: 7");
    assert_eq!((ranges(&own), fake(&own).2), ((v4("10.9.0.0/24"), v4("fd00::/64")), 7));
    let only_v6 = dns("enhanced-mode: fake-ip, fake-ip-range: '', fake-ip-range6: 'fd00::/64', fake-ip-ttl: 0");
    assert_eq!((ranges(&only_v6), fake(&only_v6).2), ((None, v4("fd00::/64")), 1));

    let mut source = source(&format!("profile: {{store-fake-ip: true}}\n{}", section("enhanced-mode: fake-ip")));
    source.home = "/home/of/adit".into();
    let stored = dns_of(&load(&source).plan.unwrap());
    let DnsMode::FakeIp { store, .. } = stored.mode else { panic!() };
    assert_eq!(store, Some("/home/of/adit/fakeip.redb".into()));
}

#[test]
fn what_has_no_effect_is_said_where_it_is_asked_for() {
    for (keys, warning) in [
        ("prefer-h3: true", "`prefer-h3` in `dns` has no effect: adit asks by HTTP/2"),
        (
            "listen-routing-mark: 7",
            "`listen-routing-mark` in `dns` has no effect: answers to clients leave by the way the question came",
        ),
        ("cache-algorithm: lfu", "`cache-algorithm` is `lru` or `arc`, found 'lfu'; lru is used"),
        ("namserver: []", "unknown key `namserver` in `dns`; it has no effect"),
        ("fallback-filter: {geopi: true}", "unknown key `geopi` in `fallback-filter`; it has no effect"),
    ] {
        assert_eq!(warnings(&section(keys)), [warning]);
        assert_eq!(errors(&section(keys)), [""; 0]);
    }
}

/// What people copy from Mihomo's documentation, with its own servers.
const DOCUMENTED: &str = "\
dns:
  enable: true
  cache-algorithm: arc
  prefer-h3: false
  use-hosts: true
  use-system-hosts: true
  respect-rules: false
  listen: 0.0.0.0:1053
  ipv6: false
  default-nameserver: [223.5.5.5, 'tls://1.12.12.12:853', 'tls://223.5.5.5:853']
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  fake-ip-range6: fdfe:dcba:9876::1/64
  fake-ip-filter-mode: blacklist
  fake-ip-filter: ['*.lan', localhost.ptlogin2.qq.com, 'geosite:private']
  fake-ip-ttl: 1
  nameserver-policy:
    '+.arpa': '10.0.0.1'
    'geosite:cn,private': [https://doh.pub/dns-query, https://dns.alidns.com/dns-query]
    'www.baidu.com,+.google.cn': [223.5.5.5, https://dns.alidns.com/dns-query]
    rule-set:mine: 8.8.8.8
  nameserver:
    - https://doh.pub/dns-query
    - tls://dns.google
    - https://mozilla.cloudflare-dns.com/dns-query#DNS&h3=false
    - https://8.8.8.8/dns-query#RULES&ecs=1.1.1.1/24&ecs-override=true&skip-cert-verify=true
    - quic://dns.adguard.com:784
    - '8.8.8.8#RULES&disable-ipv6=true'
    - system
    - rcode://name_error
  fallback: ['tcp://8.8.4.4', 'tls://1.1.1.1:853']
  proxy-server-nameserver: [https://doh.pub/dns-query]
  proxy-server-nameserver-policy: {www.yournode.com: '114.114.114.114'}
  direct-nameserver: [system]
  direct-nameserver-follow-policy: false
  fallback-filter:
    geoip: true
    geoip-code: CN
    geosite: [gfw]
    ipcidr: [240.0.0.0/4]
    domain: [+.google.com, +.facebook.com, +.youtube.com]
proxies: [{name: DNS, type: direct}]
rule-providers: {mine: {type: inline, behavior: domain, payload: [+.mine.example]}}
";

#[test]
fn the_section_that_mihomo_documents_lacks_nothing_but_its_databases() {
    let mut found = warnings(DOCUMENTED);
    found.sort();
    assert_eq!(
        found,
        [
            "replace fallback-filter.geosite with nameserver-policy, it will be removed in the future",
            "the GeoIP database is not available: lists that refer to it have nothing from it",
            "the GeoSite database is not available: lists that refer to it have nothing from it (and in 3 more places)",
        ]
    );
    let dns = dns_of(&plan(DOCUMENTED));
    assert_eq!((dns.upstreams.main.len(), dns.upstreams.policy.len()), (8, 4));
}
