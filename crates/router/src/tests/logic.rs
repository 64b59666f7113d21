//! `AND`, `OR`, `NOT`: spec page 3.5.

use super::*;

#[test]
fn children_in_all_their_spellings() {
    for (rule, yes, no) in [
        ("AND,((DOMAIN-SUFFIX,a.com),(DST-PORT,443)),A", "x.a.com:443", "x.a.com:80"),
        ("AND,(DOMAIN-SUFFIX,a.com),(DST-PORT,443),A", "x.a.com:443", "x.a.com:80"),
        ("OR,((DOMAIN,a.com),(DOMAIN,b.com)),A", "b.com:1", "c.com:1"),
        ("NOT,((DOMAIN,a.com)),A", "b.com:1", "a.com:1"),
        ("AND,((AND,(DOMAIN,a.com),(NETWORK,tcp)),(DST-PORT,443)),A", "a.com:443", "a.com:80"),
        ("AND,((OR,((DOMAIN,a.com),(DOMAIN,b.com))),(DST-PORT,443)),A", "b.com:443", "c.com:443"),
        ("NOT,((OR,((DOMAIN,a.com),(DST-PORT,80)))),A", "b.com:443", "b.com:80"),
        ("AND, ( ( DOMAIN , a.com ) , ( DST-PORT , 443 ) ) , A", "a.com:443", "a.com:80"),
        ("AND,((DOMAIN-REGEX,^a{1,2}\\.(com|net)$),(NETWORK,tcp)),A", "aa.net:1", "aaa.net:1"),
        ("and,((domain,a.com),(not,((network,udp)))),A", "a.com:1", "b.com:1"),
    ] {
        assert!(hits(&single(rule), yes), "{rule} {yes}");
        assert!(!hits(&single(rule), no), "{rule} {no}");
    }
}

#[test]
fn no_children_at_all() {
    assert!(hits(&single("AND,(DOMAIN,a.com),A"), "b.com:1"), "the only pair is the wrapper: AND of nothing");
    assert!(hits(&single("AND,(),A"), "b.com:1"));
    assert!(!hits(&single("OR,(DOMAIN,a.com),A"), "a.com:1"), "OR of nothing");
}

#[test]
fn unbalanced_expressions_break_the_rule() {
    assert!(!errors(&single(r"AND,((DOMAIN-REGEX,a\(b),(NETWORK,tcp)),A")).is_empty());
    assert!(hits(&single(r"AND,((DOMAIN-REGEX,a(b)?c),(NETWORK,tcp)),A"), "ac.com:1"));
}

#[test]
fn address_rules_inside_keep_their_parameters() {
    let session = session("name.test:443");
    let asks = |rule: &str| matches!(single(rule).compile().decide(&Query::new(&session)), Step::NeedAddress(_));
    assert!(asks("AND,((IP-CIDR,10.0.0.0/8),(NETWORK,tcp)),A"));
    assert!(!asks("AND,((IP-CIDR,10.0.0.0/8,no-resolve),(NETWORK,tcp)),A"));
    assert!(!asks("AND,((NETWORK,udp),(IP-CIDR,10.0.0.0/8)),A"), "short-circuit");
    assert!(!asks("OR,((NETWORK,tcp),(IP-CIDR,10.0.0.0/8)),A"), "short-circuit");
    assert!(asks("OR,((IP-CIDR,10.0.0.0/8),(NETWORK,tcp)),A"), "left to right");
    assert!(asks("NOT,((GEOIP,lan)),A"));
    assert!(hits(&single("NOT,((IP-CIDR,10.0.0.0/8,no-resolve)),A"), "name.test:443"));
}

#[test]
fn nesting_ends_somewhere() {
    let nested = |depth: usize| {
        let inner = (0..depth).fold("DOMAIN,a.com".to_owned(), |inner, _| format!("NOT,(({inner}))"));
        format!("{inner},A")
    };
    assert!(hits(&single(&nested(32)), "a.com:1"));
    assert_eq!(errors(&single(&nested(33))).len(), 1);
    assert!(errors(&single(&nested(50_000)))[0].ends_with("logic rules nested too deeply"));
}
