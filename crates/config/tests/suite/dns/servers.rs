//! Who is asked what.

use std::net::IpAddr;

use crate::dns::{dns, dns_of, policy_for, section, texts};
use crate::scene::{errors, only_error, plan, warnings};

#[test]
fn servers_go_through_proxies_groups_interfaces_and_rules() {
    let text = "\
proxies: [{name: exit, type: direct}]
proxy-groups: [{name: G, type: select, proxies: [exit]}]
dns:
  enable: true
  nameserver: ['192.0.2.1#exit', '192.0.2.2#G', '192.0.2.3#lo', '192.0.2.4#RULES', '192.0.2.5#DIRECT&ecs=10.0.0.0/8']
  proxy-server-nameserver: [192.0.2.6]
";
    assert_eq!(warnings(text), [""; 0]);
    assert_eq!(dns_of(&plan(text)).upstreams.main.len(), 5);
    let message = "there is neither a proxy nor a group nor an interface 'exti' to ask by";
    assert_eq!(only_error(&text.replace("#exit", "#exti")), message);
}

#[test]
fn policies_are_decided_in_order_and_neighbours_together() {
    let text = "\
dns:
  enable: true
  nameserver: [192.0.2.53]
  nameserver-policy:
    +.one.example: 192.0.2.1
    a.one.example: [192.0.2.2, 192.0.2.9]
    'www.two.example, *.two.example': 192.0.2.3
    rule-set:inner,other: 192.0.2.4
    x.three.example: 192.0.2.5
    b.one.example: 192.0.2.6
    +.three.example: rcode://name_error
rule-providers:
  inner: {type: inline, behavior: domain, payload: [x.three.example, a.one.example]}
  other: {type: inline, behavior: classical, payload: ['DOMAIN-KEYWORD,four', 'IP-CIDR,10.0.0.0/8']}
";
    let policy = dns_of(&plan(text)).upstreams.policy;
    assert_eq!(policy.len(), 3);
    for (name, server) in [
        ("one.example", Some("udp://192.0.2.1:53")),
        ("a.one.example", Some("udp://192.0.2.2:53")),
        ("b.one.example", Some("udp://192.0.2.1:53")),
        ("www.two.example", Some("udp://192.0.2.3:53")),
        ("x.two.example", Some("udp://192.0.2.3:53")),
        ("two.example", None),
        ("x.three.example", Some("udp://192.0.2.4:53")),
        ("is-four.example", Some("udp://192.0.2.4:53")),
        ("y.three.example", Some("rcode://name_error")),
        ("other.example", None),
    ] {
        assert_eq!(policy_for(&policy, name).as_deref(), server, "{name}");
    }
    assert_eq!(warnings(text), ["the rule set other is classical: only its rules about names count here"]);
    let addresses = text.replace("behavior: domain, payload: [x.three.example, a.one.example]", "behavior: ipcidr");
    assert_eq!(only_error(&addresses), "rule provider type error, except domain,actual IPCIDR");
}

/// F-E11, and no query to anybody who is not written: who knows the addresses of servers given by name.
#[test]
fn without_default_servers_those_with_an_address_know_the_others() {
    let warning = "the addresses of nameservers and proxies are asked of the system's nameservers (/etc/resolv.conf)";
    for (keys, default, warns) in [
        ("nameserver: [192.0.2.1, 'tls://192.0.2.2']", &[][..], false),
        (
            "nameserver: ['tls://dns.example', 192.0.2.1, 'tls://192.0.2.2']",
            &["udp://192.0.2.1:53", "tls://192.0.2.2:853"],
            false,
        ),
        (
            "nameserver: [192.0.2.1], nameserver-policy: {a.example: 'tls://dns.example'}",
            &["udp://192.0.2.1:53"],
            false,
        ),
        ("nameserver: ['tls://dns.example'], direct-nameserver: [192.0.2.3]", &["udp://192.0.2.3:53"], false),
        ("nameserver: ['tls://dns.example', system]", &["system"], false),
        ("nameserver: ['tls://dns.example']", &["system"], true),
        ("nameserver: ['192.0.2.1#DIRECT']", &["system"], true),
        ("nameserver: ['192.0.2.1#DIRECT'], proxy-server-nameserver: [192.0.2.4]", &[], false),
        (
            "nameserver: [192.0.2.1, 'tls://dns.example'], respect-rules: true, proxy-server-nameserver: [192.0.2.4]",
            &["udp://192.0.2.4:53"],
            false,
        ),
        ("nameserver: ['tls://dns.example'], default-nameserver: [192.0.2.5]", &["udp://192.0.2.5:53"], false),
    ] {
        let text = format!("dns: {{enable: true, {keys}}}\n");
        assert_eq!(texts(&dns_of(&plan(&text)).upstreams.default), default, "{keys}");
        assert_eq!(warnings(&text), if warns { vec![warning] } else { vec![] }, "{keys}");
    }
}

#[test]
fn hosts_that_no_certificate_can_be_for_are_found_before_the_start() {
    let found = only_error(&section("default-nameserver: [192.0.2.1], direct-nameserver: ['tls://-.example']"));
    assert!(found.starts_with("dns: TLS of tls://-.example:853"), "{found}");
}

#[test]
fn the_fallback_counts_where_the_filter_says() {
    let fallback = |filter: &str| {
        let keys = format!("fallback: [192.0.2.54], fallback-filter: {{{filter}}}");
        dns(&keys).upstreams.fallback.unwrap()
    };
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let plain = fallback("geoip: false");
    assert!(plain.only.is_none() && !plain.is_lazy && !(plain.doubtful)(ip("8.8.8.8")));
    let own = fallback("geoip: false, ipcidr: [240.0.0.0/4, '2001:db8::/32', 192.0.2.7], domain: [+.google.example]");
    for (address, doubtful) in [
        ("240.0.0.1", true),
        ("::ffff:240.0.0.1", true),
        ("2001:db8::1", true),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
    ] {
        assert_eq!((own.doubtful)(ip(address)), doubtful, "{address}");
    }
    let only = own.only.unwrap();
    assert!(only("www.google.example") && !only("example"));
    // A filter without a fallback means nothing, and no database is missed.
    assert!(dns("fallback-filter: {geoip: true, geoip-code: CN}").upstreams.fallback.is_none());
    // Who cannot tell whether an address is in the country believes the fallback, but for addresses at home.
    let text = section("fallback: [192.0.2.54]");
    let found = warnings(&text);
    assert!(found.len() == 1 && found[0].starts_with("the GeoIP database is not available"), "{found:?}");
    let blind = dns_of(&plan(&text)).upstreams.fallback.unwrap();
    assert!((blind.doubtful)(ip("8.8.8.8")) && !(blind.doubtful)(ip("192.168.1.1")));
    assert_eq!(errors(&text), [""; 0]);
}
