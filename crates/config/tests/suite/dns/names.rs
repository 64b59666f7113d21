//! `fake-ip-filter` in its modes.

use adit_dns::FakeFilter;

use crate::dns::{dns, dns_of, fake, section};
use crate::scene::{errors, plan, warnings};

#[track_caller]
fn check(filter: &FakeFilter, expected: &[(&str, bool)]) {
    for (name, is_fake) in expected {
        assert_eq!(filter.is_fake(name), *is_fake, "{name}");
    }
}

#[test]
fn windows_probes_get_real_addresses_unless_a_filter_is_written() {
    let probe = "dns.msftncsi.com";
    let plain = dns("enhanced-mode: fake-ip");
    check(fake(&plain).1, &[(probe, false), ("www.msftconnecttest.com", false), ("example.com", true)]);
    let none = dns("enhanced-mode: fake-ip, fake-ip-filter: []");
    check(fake(&none).1, &[(probe, true)]);
}

#[test]
fn lists_are_of_patterns_and_rule_sets() {
    let text = |mode: &str| {
        let keys = format!(
            "enhanced-mode: fake-ip, fake-ip-filter-mode: {mode}, \
             fake-ip-filter: ['*.lan', +.real.example, 'Mijia Cloud', 'rule-set:names,more', RULE-SET:more]"
        );
        let sets = "rule-providers:\n  names: {type: inline, behavior: domain, payload: [+.set.example]}\n  \
                    more: {type: inline, behavior: domain, payload: [more.example]}\n";
        section(&keys) + sets
    };
    let listed = ["nas.lan", "real.example", "a.b.real.example", "mijia cloud", "x.set.example", "more.example"];
    let others = ["lan", "a.nas.lan", "example", "x.more.example"];
    for (mode, listed_are_fake) in [("blacklist", false), ("WhiteList", true)] {
        assert_eq!(warnings(&text(mode)), [""; 0]);
        let plan = dns_of(&plan(&text(mode)));
        check(fake(&plan).1, &listed.map(|name| (name, listed_are_fake)));
        check(fake(&plan).1, &others.map(|name| (name, !listed_are_fake)));
    }
}

#[test]
fn rules_are_tried_in_order() {
    let keys = "enhanced-mode: fake-ip, fake-ip-filter-mode: rule, fake-ip-filter: [
        'DOMAIN,a.example,fake-ip', 'domain-suffix , example , Real-IP', 'DOMAIN-KEYWORD,track,real-ip',
        'DOMAIN-REGEX,^ad{1,2}[.],real-ip', 'DOMAIN-WILDCARD,*.wild.org,real-ip', 'RULE-SET,set,real-ip',
        'DOMAIN,f.org,fake-ip', 'MATCH,real-ip', 'DOMAIN,never.net,fake-ip']";
    let sets = "rule-providers: {set: {type: inline, behavior: classical, payload: ['DOMAIN-SUFFIX,set.org']}}\n";
    let plan = dns_of(&plan(&(section(keys) + sets)));
    check(
        fake(&plan).1,
        &[
            ("a.example", true),
            ("b.example", false),
            ("my-tracker.org", false),
            ("add.org", false),
            ("x.wild.org", false),
            ("x.set.org", false),
            ("f.org", true),
            ("never.net", false),
        ],
    );
    let without_match =
        dns("enhanced-mode: fake-ip, fake-ip-filter-mode: rule, fake-ip-filter: ['DOMAIN,a.b,real-ip']");
    check(fake(&without_match).1, &[("a.b", false), ("x.a.b", true)]);
}

#[test]
fn what_is_wrong_with_each_rule_is_said() {
    let rules = [
        ("DOMAIN,a.example,direct", "invalid action 'direct', must be 'fake-ip' or 'real-ip'"),
        ("DOMAIN,a.example", "invalid action '', must be 'fake-ip' or 'real-ip'"),
        ("RULE-SET,nets,real-ip", "rule-set behavior is IPCIDR, must be domain or classical"),
        ("RULE-SET,none,real-ip", "rule-set 'none' not found"),
        ("DST-PORT,53,real-ip", "rule type 'DST-PORT' not supported, only domain-based rules allowed"),
        ("+.example", "rule type '+.EXAMPLE' not supported, only domain-based rules allowed"),
        ("DOMAIN,,real-ip", "missing subsequent parameters: DOMAIN"),
        ("DOMAIN-REGEX,(,real-ip", "cannot use regular expression: unclosed group"),
    ];
    let mut text = "\
rule-providers: {nets: {type: inline, behavior: ipcidr, payload: []}}
dns:
  enable: true
  nameserver: [192.0.2.53]
  enhanced-mode: fake-ip
  fake-ip-filter-mode: rule
  fake-ip-filter:
"
    .to_owned();
    let mut expected = Vec::new();
    for (index, (rule, message)) in rules.iter().enumerate() {
        text.push_str(&format!("    - '{rule}'\n"));
        expected.push(format!("dns.fake-ip-filter[{index}] [{rule}] error: {message}"));
    }
    let found = errors(&text);
    for message in &expected {
        assert!(found.contains(message), "{message}: {found:#?}");
    }
    // The one without any comma has no action either.
    assert_eq!(found.len(), expected.len() + 1, "{found:#?}");
}

/// Names are only looked at where there are fake addresses, as Mihomo does.
#[test]
fn a_filter_without_fake_addresses_is_not_read() {
    assert_eq!(errors(&section("fake-ip-filter: ['rule-set:none', a.]")), [""; 0]);
    let found = errors(&section("enhanced-mode: fake-ip, fake-ip-filter: ['rule-set:none', a.]"));
    assert_eq!(found, ["dns.fake-ip-filter: not found rule-set: none", "dns.fake-ip-filter: invalid domain: a."]);
}
