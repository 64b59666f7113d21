//! What is counted, and what is switched off.

use super::*;

#[test]
fn what_matched_and_what_was_passed_over_is_counted() {
    let rules = Setup::new(&["DOMAIN,a.test,A", "DOMAIN-SUFFIX,test,B", "DOMAIN,c.example,C"]).compile();
    for target in ["a.test:1", "a.test:1", "b.test:1", "d.example:1"] {
        outbound(&rules, target);
    }
    let counted: Vec<_> = rules.stats().iter().map(|stats| (stats.hits, stats.misses)).collect();
    assert_eq!(counted, [(2, 2), (1, 1), (0, 1)]);
    let stats = rules.stats();
    assert!(stats[0].hit_at.is_some() && stats[2].hit_at.is_none() && stats[2].miss_at.is_some());
}

#[test]
fn what_is_only_explained_is_not_counted() {
    let rules = Setup::new(&["DOMAIN,a.test,A"]).compile();
    let session = session("a.test:1");
    let query = Query::new(&session);
    let _ = rules.explain(rules.start(None), &query);
    assert_eq!(rules.stats()[0].hits, 0);
}

#[test]
fn a_rule_that_is_switched_off_matches_nothing() {
    let rules = Setup::new(&["DOMAIN,a.test,A", "SUB-RULE,(DOMAIN,a.test),s", "DOMAIN-SUFFIX,test,B", "MATCH,C"])
        .sub("s", &["DOMAIN,x.test,A"])
        .compile();
    assert_eq!(outbound(&rules, "a.test:1"), "A");
    assert!(rules.set_disabled(0, true) && !rules.set_disabled(4, true));
    assert_eq!(outbound(&rules, "a.test:1"), "B");
    assert!(rules.set_disabled(2, true));
    assert_eq!(outbound(&rules, "a.test:1"), "C");
    let session = session("a.test:1");
    let query = Query::new(&session);
    let traced = rules.explain(rules.start(None), &query).rules;
    assert_eq!(traced.iter().map(|traced| traced.rule.index).collect::<Vec<_>>(), [1, 0, 3]);
    assert!(rules.set_disabled(0, false));
    assert_eq!(outbound(&rules, "a.test:1"), "A");
}
