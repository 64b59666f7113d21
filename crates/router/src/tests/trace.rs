//! Explanations.

use adit_net::Domain;

use super::*;
use crate::Opener;
use crate::{TraceResult, TracedRule};

fn sentences(rules: &[TracedRule]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}

#[test]
fn every_rule_before_the_match_says_why_not() {
    let rules = Setup::new(&[
        "DOMAIN-SUFFIX,google.com,A",
        "DOMAIN-KEYWORD,openai,A",
        "GEOSITE,google,A",
        "RULE-SET,s,A",
        "RULE-SET,unloaded,A",
        "AND,((NETWORK,tcp),(DST-PORT,80)),A",
        "PROCESS-NAME,curl,A",
        "IP-CIDR,10.0.0.0/8,A",
        "IP-CIDR,11.0.0.0/8,A,no-resolve",
        "DST-PORT,443,B",
        "MATCH,C",
    ])
    .geo()
    .set("s", Behavior::Domain, "+.cn");
    let mut rules = rules;
    rules.providers.insert(Tag::new("unloaded"), ProviderHandle::new(Behavior::Domain));
    let rules = rules.compile();
    let session = session("api.anthropic.com:443");
    let mut query = Query::new(&session);
    let first = rules.explain(rules.start(None), &query);
    assert_eq!(
        sentences(&first.rules),
        [
            "DomainSuffix(google.com): api.anthropic.com does not end in .google.com",
            "DomainKeyword(openai): api.anthropic.com does not contain openai",
            "GeoSite(google): api.anthropic.com is not in the site list google",
            "RuleSet(s): api.anthropic.com is not in the rule set",
            "RuleSet(unloaded): the rule set has not been loaded",
            "AND(((Network,tcp) && (DstPort,80))): a part of it does not match: the network tcp is tcp; port 443 is not in 80",
            "ProcessName(curl): needs the process",
        ]
    );
    assert_eq!(first.rules.last().unwrap().result, TraceResult::NeedsProcess);
    let Step::NeedProcess(cursor) = first.step else { panic!("the process is needed") };
    query.process = Opener::Unknown;
    let more = rules.explain(cursor, &query);
    assert_eq!(
        sentences(&more.rules),
        ["ProcessName(curl): the process is not known", "IPCIDR(10.0.0.0/8): needs the address of api.anthropic.com",]
    );
    assert_eq!(more.rules.last().unwrap().result, TraceResult::NeedsAddress);
    let Step::NeedAddress(cursor) = more.step else { panic!("an address is needed") };
    query.address = Address::Known([160, 79, 104, 10].into());
    let second = rules.explain(cursor, &query);
    assert_eq!(
        sentences(&second.rules),
        [
            "IPCIDR(10.0.0.0/8): needs an address: looked up 160.79.104.10, not in 10.0.0.0/8",
            "IPCIDR(11.0.0.0/8): needs an address: looked up 160.79.104.10, not in 11.0.0.0/8",
            "DstPort(443): port 443 is in 443",
        ]
    );
    assert_eq!(second.step, rules.resume(cursor, &query));
    assert_eq!(&*verdict(second.step).outbound, "B");
}

#[test]
fn sub_rules_are_indented_and_pass_is_told() {
    let rules = Setup::new(&["SUB-RULE,(NETWORK,tcp),s", "MATCH,C"])
        .sub("s", &["DOMAIN,b.com,A", "DOMAIN-SUFFIX,a.com,PASS"])
        .compile();
    let session = session("a.com:443");
    let trace = rules.explain(rules.start(None), &Query::new(&session));
    assert_eq!(
        sentences(&trace.rules),
        [
            "SubRules((NETWORK,tcp)): all of its parts match: the network tcp is tcp",
            "  Domain(b.com): a.com is not b.com",
            "  DomainSuffix(a.com): a.com is a.com",
            "Match: it matches everything",
        ]
    );
    let results: Vec<_> = trace.rules.iter().map(|rule| rule.result).collect();
    assert_eq!(results, [TraceResult::Entered, TraceResult::NotMatched, TraceResult::Passed, TraceResult::Decided]);
}

/// One sentence for each rule type, for a name and for an address.
#[test]
fn sentences_for_all_types() {
    for (rule, name, address) in [
        ("DOMAIN,a.b,A", "name.test is not a.b", "no name is known, and the empty name is not a.b"),
        ("DOMAIN-WILDCARD,a*,A", "name.test does not fit a*", "no name is known, and the empty name does not fit a*"),
        ("DOMAIN-REGEX,^a,A", "name.test does not match ^a", "no name is known, and the empty name does not match ^a"),
        ("DOMAIN-REGEX,^n,A", "name.test matches ^n", "no name is known, and the empty name does not match ^n"),
        ("GEOSITE,!cn,A", "name.test is not in the site list cn", "the empty name is not in the site list cn"),
        ("IP-CIDR,1.0.0.0/8,A", "needs an address: name.test has none", "1.1.1.1 is in 1.0.0.0/8"),
        (
            "IP-SUFFIX,0.0.0.2/8,A",
            "needs an address: name.test has none",
            "1.1.1.1 is not equal to 0.0.0.2/8 in its low bits",
        ),
        ("IP-ASN,13335,A", "needs an address: name.test has none", "1.1.1.1 is in AS13335"),
        ("GEOIP,fr,A", "needs an address: name.test has none", "1.1.1.1 is not in fr"),
        (
            "SRC-IP-CIDR,1.0.0.0/8,A",
            "the source 192.168.1.20 is not in 1.0.0.0/8",
            "the source 192.168.1.20 is not in 1.0.0.0/8",
        ),
        ("SRC-PORT,1,A", "source port 50000 is not in 1", "source port 50000 is not in 1"),
        ("IN-PORT,7890,A", "inbound port 7890 is in 7890", "inbound port 7890 is in 7890"),
        ("IN-TYPE,http,A", "the inbound type Socks5 is not in HTTP", "the inbound type Socks5 is not in HTTP"),
        ("IN-NAME,x,A", "the inbound DEFAULT-MIXED is not in x", "the inbound DEFAULT-MIXED is not in x"),
        ("IN-USER,bob,A", "the user alice is not in bob", "the user alice is not in bob"),
        ("DSCP,1,A", "DSCP 0 is not in 1", "DSCP 0 is not in 1"),
        (
            "REMATCH-NAME,x,A",
            "this type is not supported and never matches",
            "this type is not supported and never matches",
        ),
        (
            "NOT,((NETWORK,udp)),A",
            "its part does not match: the network tcp is not udp",
            "its part does not match: the network tcp is not udp",
        ),
        (
            "OR,((NETWORK,udp),(DOMAIN,x.y)),A",
            "none of its parts matches: the network tcp is not udp; name.test is not x.y",
            "none of its parts matches: the network tcp is not udp; no name is known, and the empty name is not x.y",
        ),
    ] {
        let rules = single(rule).geo().compile();
        for (target, expected) in [("name.test:443", name), ("1.1.1.1:443", address)] {
            let session = session(target);
            let query = Query::new(&session).with_address(Address::Unresolvable);
            let trace = rules.explain(rules.start(None), &query);
            assert_eq!(trace.rules[0].reason.to_string(), expected, "{rule} {target}");
            assert_eq!(trace.step, rules.decide(&query));
        }
    }
}

#[test]
fn classical_sets_and_missing_databases_are_explained() {
    let rules = Setup::new(&["RULE-SET,s,A"]).set("s", Behavior::Classical, "DOMAIN,x.y\nDST-PORT,443").compile();
    let mut session = session("name.test:443");
    let trace = rules.explain(rules.start(None), &Query::new(&session));
    assert_eq!(trace.rules[0].reason.to_string(), "in the rule set, port 443 is in 443");
    session.target.port = 80;
    session.sniffed = Some(Domain::new("x.y").unwrap());
    let trace = rules.explain(rules.start(None), &Query::new(&session));
    assert_eq!(trace.rules[0].reason.to_string(), "x.y is in the rule set");
    for (rule, why) in [
        ("GEOIP,cn,A", "the GeoIP database is not available"),
        ("GEOSITE,cn,A", "the GeoSite database is not available"),
        ("IP-ASN,1,A", "the ASN database is not available"),
        ("IP-CIDR,1.0.0.0/8,A,no-resolve", "the address is not known, and the rule does not ask for it"),
    ] {
        let rules = single(rule).compile();
        let trace = rules.explain(rules.start(None), &Query::new(&session));
        assert_eq!(trace.rules[0].reason.to_string(), why);
    }
}
