//! Main list, sub-rules, PASS: spec page 3.5 and 3.7.

use super::*;

#[test]
fn the_first_match_decides_and_nothing_means_direct() {
    let rules = Setup::new(&["DOMAIN-SUFFIX,a.com,A", "DOMAIN,x.a.com,B", "DST-PORT,80,C"]).compile();
    assert_eq!(outbound(&rules, "x.a.com:80"), "A");
    assert_eq!(outbound(&rules, "b.com:80"), "C");
    let session = session("b.com:443");
    let last = verdict(rules.decide(&Query::new(&session)));
    assert_eq!((&*last.outbound, last.rule.clone()), ("DIRECT", None));
    assert_eq!(rules.resume(last.next(), &Query::new(&session)), Step::Use(last), "and stays so");
    assert_eq!((rules.len(), rules.is_empty()), (3, false));
    assert!(Setup::new(&[]).compile().is_empty());
}

#[test]
fn an_unwanted_verdict_is_followed_by_the_next_match() {
    let rules = Setup::new(&["DOMAIN,a.com,A", "DOMAIN-SUFFIX,com,B", "DOMAIN-KEYWORD,a,C", "NETWORK,tcp,A"]).compile();
    let session = session("a.com:443");
    let query = Query::new(&session);
    let mut seen = Vec::new();
    let mut step = rules.decide(&query);
    while let Step::Use(verdict) = &step {
        let Some(rule) = &verdict.rule else { break };
        seen.push((rule.index, verdict.outbound.to_string()));
        step = rules.resume(verdict.next(), &query);
    }
    assert_eq!(seen, [(0, "A".into()), (1, "B".into()), (2, "C".into()), (3, "A".into())]);
}

#[test]
fn a_sub_rule_decides_or_the_outer_list_goes_on() {
    let rules = Setup::new(&["SUB-RULE,(NETWORK,tcp),s", "MATCH,C"])
        .sub("s", &["DOMAIN,a.com,A", "SUB-RULE,(DST-PORT,80),t", "DOMAIN,c.com,B"])
        .sub("t", &["DOMAIN,b.com,B"])
        .compile();
    for (target, expected) in
        [("a.com:1", "A"), ("b.com:80", "B"), ("b.com:1", "C"), ("c.com:80", "B"), ("d.com:80", "C")]
    {
        assert_eq!(outbound(&rules, target), expected, "{target}");
    }
    let session = session("b.com:80");
    let rule = verdict(rules.decide(&Query::new(&session))).rule.unwrap();
    assert_eq!(rule.to_string(), "SubRules((NETWORK,tcp))", "the record names the outermost line");
    assert_eq!((rule.index, &*rule.target), (0, "s"));
}

#[test]
fn pass_leaves_the_sub_rule_and_pass_rule_does_not() {
    let rules = Setup::new(&["SUB-RULE,(NETWORK,tcp),s", "DOMAIN,a.com,B", "MATCH,C"])
        .sub("s", &["DOMAIN,a.com,PASS", "DOMAIN,b.com,PASS-RULE", "MATCH,A"])
        .compile();
    assert_eq!(outbound(&rules, "a.com:1"), "B");
    assert_eq!(outbound(&rules, "b.com:1"), "A");
    let main = Setup::new(&["DOMAIN,a.com,PASS", "DOMAIN,b.com,PASS-RULE", "MATCH,C"]).compile();
    assert_eq!(outbound(&main, "a.com:1"), "C");
    assert_eq!(outbound(&main, "b.com:1"), "C", "in the main list the same as PASS");
}

/// A group whose chosen member is PASS or PASS-RULE is found out by the engine, which then goes on from the verdict.
#[test]
fn both_ways_to_go_on_from_inside_a_sub_rule() {
    let rules = Setup::new(&["SUB-RULE,(NETWORK,tcp),s", "MATCH,C"]).sub("s", &["DOMAIN,a.com,A", "MATCH,B"]).compile();
    let session = session("a.com:1");
    let query = Query::new(&session);
    let first = verdict(rules.decide(&query));
    assert_eq!(&*first.outbound, "A");
    assert_eq!(&*verdict(rules.resume(first.next(), &query)).outbound, "C");
    assert_eq!(&*verdict(rules.resume(first.next_in_list(), &query)).outbound, "B");
}

#[test]
fn a_listener_may_begin_with_a_sub_rule_list() {
    let rules = Setup::new(&["MATCH,A"]).sub("s", &["DOMAIN,a.com,B"]).compile();
    let session = session("a.com:1");
    let query = Query::new(&session);
    let at = |list: Option<&str>| verdict(rules.resume(rules.start(list.map(Tag::new).as_ref()), &query));
    assert_eq!(&*at(None).outbound, "A");
    assert_eq!(&*at(Some("s")).outbound, "B");
    assert_eq!(at(Some("s")).rule.unwrap().list, Some(Tag::new("s")));
    assert_eq!(&*at(Some("unknown")).outbound, "A", "an unknown name means the main list");
}

/// F-D12: loops among sub-rules are found.
#[test]
fn cycles_and_unknown_lists_are_errors() {
    let cycle = Setup::new(&["SUB-RULE,(NETWORK,tcp),a"])
        .sub("a", &["SUB-RULE,(NETWORK,tcp),b"])
        .sub("b", &["MATCH,A", "SUB-RULE,(NETWORK,tcp),a"]);
    assert_eq!(
        errors(&cycle),
        ["sub-rules[b][1] [SUB-RULE,(NETWORK,tcp),a] error: sub-rule error: circular references [a->b->a]"]
    );
    let itself = Setup::new(&[]).sub("a", &["SUB-RULE,(NETWORK,tcp),a"]);
    assert!(errors(&itself)[0].ends_with("circular references [a->a]"));
    let unknown = Setup::new(&[]).sub("a", &["MATCH,A", "SUB-RULE,(NETWORK,tcp),x"]);
    assert!(errors(&unknown)[0].ends_with("error: sub-rule[1:a] error: [x] not found"));
    let twice = Setup::new(&["SUB-RULE,(NETWORK,tcp),a", "SUB-RULE,(NETWORK,udp),a"])
        .sub("a", &["SUB-RULE,(NETWORK,tcp),b", "SUB-RULE,(NETWORK,udp),b"])
        .sub("b", &[]);
    assert_eq!(errors(&twice), [""; 0], "using a list twice is no cycle");
}

#[test]
fn lists_nest_eight_deep() {
    let chain = |depth: usize| {
        let setup = Setup::new(&["SUB-RULE,(NETWORK,tcp),1", "MATCH,B"]);
        (1..depth)
            .fold(setup, |setup, at| setup.sub(&at.to_string(), &[&format!("SUB-RULE,(NETWORK,tcp),{}", at + 1)]))
            .sub(&depth.to_string(), &["DOMAIN,a.com,A"])
    };
    let rules = chain(8).compile();
    assert_eq!(outbound(&rules, "a.com:1"), "A");
    assert_eq!(outbound(&rules, "b.com:1"), "B");
    assert!(errors(&chain(9))[0].ends_with("nested more than 8 lists deep"));
    assert!(errors(&chain(2000))[0].ends_with("nested more than 8 lists deep"));
}
