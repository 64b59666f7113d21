//! Who asks for an address, and when: spec page 3.6.

use super::*;

/// Runs a decision as the engine does and counts the look-ups.
fn run(rules: &Rules, target: &str, answer: Address) -> (String, usize) {
    let session = session(target);
    let mut query = Query::new(&session);
    let mut asked = 0;
    let mut step = rules.decide(&query);
    loop {
        match step {
            Step::Use(verdict) => return (verdict.outbound.to_string(), asked),
            Step::NeedAddress(cursor) => {
                asked += 1;
                query.address = answer;
                step = rules.resume(cursor, &query);
            }
            Step::NeedProcess(_) => panic!("no rule here looks at processes"),
        }
    }
}

fn known(ip: &str) -> Address {
    Address::Known(ip.parse().unwrap())
}

#[test]
fn a_name_is_looked_up_once() {
    let rules = Setup::new(&[
        "IP-CIDR,10.0.0.0/8,A",
        "GEOIP,lan,A",
        "IP-SUFFIX,0.0.0.9/8,A",
        "IP-ASN,13335,B",
        "IP-CIDR,8.8.8.0/24,C,no-resolve",
    ])
    .geo()
    .compile();
    for (answer, outbound) in [
        (known("10.1.1.1"), "A"),
        (known("1.1.1.1"), "B"),
        (known("8.8.8.8"), "C"),
        (known("9.9.9.9"), "A"),
        (Address::Unresolvable, "DIRECT"),
    ] {
        assert_eq!(run(&rules, "name.test:1", answer), (outbound.into(), 1), "{answer:?}");
    }
    assert_eq!(run(&rules, "8.8.8.8:1", Address::Unresolvable), ("C".into(), 0), "an address needs no look-up");
}

#[test]
fn rules_before_and_behind_the_one_that_asks() {
    let rules = Setup::new(&[
        "DOMAIN,first.test,A",
        "IP-CIDR,10.0.0.0/8,B,no-resolve",
        "IP-CIDR,11.0.0.0/8,B",
        "DOMAIN-SUFFIX,test,C",
    ])
    .compile();
    assert_eq!(run(&rules, "first.test:1", known("11.0.0.1")), ("A".into(), 0));
    assert_eq!(run(&rules, "x.test:1", known("11.0.0.1")), ("B".into(), 1));
    assert_eq!(run(&rules, "x.test:1", Address::Unresolvable), ("C".into(), 1));
    assert_eq!(run(&rules, "x.test:1", known("10.0.0.1")), ("C".into(), 1), "the rule before it is not tried again");
    let names: Vec<_> = rules.resolving().map(|rule| rule.index).collect();
    assert_eq!(names, [2]);
}

#[test]
fn an_address_from_hosts_is_used_without_asking() {
    let rules = single("IP-CIDR,10.0.0.0/8,A,no-resolve").compile();
    let session = session("nas.test:1");
    let query = Query::new(&session).with_address(known("::ffff:10.0.0.1"));
    assert!(verdict(rules.decide(&query)).rule.is_some());
}

#[test]
fn the_switch_forbids_all_look_ups() {
    let mut setup =
        Setup::new(&["IP-CIDR,10.0.0.0/8,A", "GEOIP,lan,A", "RULE-SET,s,A", "AND,((IP-CIDR,::/0)),A", "MATCH,B"]).set(
            "s",
            Behavior::IpCidr,
            "10.0.0.0/8",
        );
    assert_eq!(setup.compile().resolving().count(), 4);
    setup.no_resolve_all = true;
    let rules = setup.compile();
    assert_eq!(rules.resolving().count(), 0);
    assert_eq!(run(&rules, "name.test:1", known("10.0.0.1")), ("B".into(), 0));
    assert_eq!(run(&rules, "10.0.0.1:1", known("10.0.0.1")), ("A".into(), 0));
}

#[test]
fn a_rule_inside_a_sub_rule_may_ask() {
    let rules = Setup::new(&["SUB-RULE,(NETWORK,tcp),s", "MATCH,C"])
        .sub("s", &["SUB-RULE,(IP-CIDR,10.0.0.0/8),t", "MATCH,PASS"])
        .sub("t", &["IP-CIDR,10.1.0.0/16,A", "GEOIP,lan,B"])
        .compile();
    assert_eq!(run(&rules, "name.test:1", known("10.1.0.1")), ("A".into(), 1));
    assert_eq!(run(&rules, "name.test:1", known("10.2.0.1")), ("B".into(), 1));
    assert_eq!(run(&rules, "name.test:1", known("11.2.0.1")), ("C".into(), 1));
}

#[test]
fn rule_sets_ask_as_their_contents_do() {
    let setup = |rule: &str| {
        single(rule)
            .set("ip", Behavior::IpCidr, "10.0.0.0/8")
            .set("domain", Behavior::Domain, "+.test")
            .set("mixed", Behavior::Classical, "IP-CIDR,10.0.0.0/8\nDOMAIN,x.test")
            .set("silent", Behavior::Classical, "IP-CIDR,10.0.0.0/8,no-resolve\nGEOIP,lan,no-resolve")
    };
    for (rule, target, asked, outbound) in [
        ("RULE-SET,ip,A", "name.test:1", 1, "A"),
        ("RULE-SET,ip,A,no-resolve", "name.test:1", 0, "DIRECT"),
        ("RULE-SET,ip,A,no-resolve", "10.0.0.1:1", 0, "A"),
        ("RULE-SET,domain,A", "name.test:1", 0, "A"),
        ("RULE-SET,mixed,A", "name.test:1", 1, "A"),
        ("RULE-SET,mixed,A", "x.test:1", 0, "A"),
        ("RULE-SET,mixed,A,no-resolve", "name.test:1", 0, "DIRECT"),
        ("RULE-SET,silent,A", "name.test:1", 0, "DIRECT"),
        ("RULE-SET,silent,A", "10.0.0.1:1", 0, "A"),
    ] {
        assert_eq!(run(&setup(rule).compile(), target, known("10.0.0.1")), (outbound.into(), asked), "{rule} {target}");
    }
}

#[test]
fn a_swapped_rule_set_looks_at_the_source() {
    let sets = |rule: &str| {
        single(rule)
            .set("ip", Behavior::IpCidr, "192.168.0.0/16")
            .set("ports", Behavior::Classical, "DST-PORT,50000")
            .set("sources", Behavior::Classical, "SRC-IP-CIDR,10.0.0.0/8")
            .set("names", Behavior::Classical, "DOMAIN,name.test")
    };
    for (rule, target, outbound) in [
        ("RULE-SET,ip,A", "10.0.0.1:1", "DIRECT"),
        ("RULE-SET,ip,A,src", "10.0.0.1:1", "A"),
        ("RULE-SET,ip,A,src", "name.test:1", "A"),
        ("RULE-SET,ports,A", "10.0.0.1:1", "DIRECT"),
        ("RULE-SET,ports,A,src", "10.0.0.1:1", "A"),
        ("RULE-SET,sources,A,src", "10.0.0.1:1", "A"),
        ("RULE-SET,sources,A,src", "name.test:1", "DIRECT"),
        ("RULE-SET,names,A,src", "name.test:1", "A"),
    ] {
        assert_eq!(run(&sets(rule).compile(), target, Address::Unresolvable), (outbound.into(), 0), "{rule} {target}");
    }
}
