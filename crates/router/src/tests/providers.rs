//! Rule sets as files: spec page 3.8, 4.2 to 4.4.

use proptest::prelude::*;

use super::*;
use crate::{ProviderError, ProviderWarning};

fn parse(text: &str, behavior: Behavior, format: Format) -> (usize, Vec<String>) {
    let (set, warnings) = RuleSet::parse(text.as_bytes(), behavior, format, &Geo::default()).unwrap();
    assert_eq!(set.behavior(), behavior);
    (set.rule_count(), warnings.iter().map(ToString::to_string).collect())
}

#[test]
fn text_files() {
    let text = "\u{feff}# comment\r\n// comment\r\n\r\n  +.a.com  \r\nb.com # no comment\r\nc.com";
    assert_eq!(parse(text, Behavior::Domain, Format::Text), (3, vec![]));
    let bytes = b"a.com\n\xff\xfe.com\nb.com\n";
    let (set, warnings) = RuleSet::parse(bytes, Behavior::Domain, Format::Text, &Geo::default()).unwrap();
    assert_eq!((set.rule_count(), warnings), (2, vec![ProviderWarning::NotUtf8(2)]));
}

#[test]
fn bad_entries_are_left_out_and_named() {
    let domains = "a.com\nhttp://x/y\n..dev\nb.\n*.ok.com\n";
    assert_eq!(
        parse(domains, Behavior::Domain, Format::Text),
        (2, vec!["invalid domain:[http://x/y]".into(), "invalid domain:[..dev]".into(), "invalid domain:[b.]".into()])
    );
    assert_eq!(
        parse("10.0.0.0/8\n1.2.3.4\nx\n", Behavior::IpCidr, Format::Text),
        (1, vec!["invalid Ipcidr:[1.2.3.4]".into(), "invalid Ipcidr:[x]".into()])
    );
    let rules =
        "DOMAIN,a.com\nDOMAIN,b.com,PROXY\nMATCH\nRULE-SET,x\nSUB-RULE,(DOMAIN,x),y\nNOPE,x\nIP-CIDR,1.2.3.4\nDOMAIN\n";
    assert_eq!(
        parse(rules, Behavior::Classical, Format::Text),
        (
            2,
            vec![
                "parse classical rule [MATCH] error: unsupported rule type on classical rule-set: MATCH".into(),
                "parse classical rule [RULE-SET,x] error: unsupported rule type on classical rule-set: RULE-SET".into(),
                "parse classical rule [SUB-RULE,(DOMAIN,x),y] error: unsupported rule type on classical rule-set: SUB-RULE"
                    .into(),
                "parse classical rule [NOPE,x] error: unsupported rule type: NOPE".into(),
                "parse classical rule [IP-CIDR,1.2.3.4] error: payloadRule error".into(),
                "parse classical rule [DOMAIN] error: missing subsequent parameters: DOMAIN".into(),
            ]
        )
    );
    let many = "/\n".repeat(1000);
    let (count, warnings) = parse(&many, Behavior::Domain, Format::Text);
    assert_eq!((count, warnings.len()), (0, 21));
    assert_eq!(warnings[20], "and 980 more like these");
}

#[test]
fn yaml_files_of_each_behavior() {
    assert_eq!(parse("payload:\n- '+.a.com'\n", Behavior::Domain, Format::Yaml), (1, vec![]));
    assert_eq!(parse("payload:\n  - 10.0.0.0/8\n  - '::/0'\n", Behavior::IpCidr, Format::Yaml), (2, vec![]));
    assert_eq!(
        parse("rules:\n- DOMAIN,a.com\n- AND,((DOMAIN,a),(NETWORK,tcp))\n", Behavior::Classical, Format::Yaml),
        (2, vec![])
    );
    assert_eq!(
        parse("payload:\n- *.a.com\n- b.com\n", Behavior::Domain, Format::Yaml).1,
        ["line 2 is not a list entry and is left out"]
    );
}

/// F-D2, F-D5
#[test]
fn files_that_are_too_large_or_something_else() {
    let error = |bytes: &[u8], behavior, format| RuleSet::parse(bytes, behavior, format, &Geo::default()).unwrap_err();
    assert_eq!(error(&vec![b'\n'; (64 << 20) + 1], Behavior::Domain, Format::Text), ProviderError::TooLarge);
    assert_eq!(error("a\n".repeat(2_000_001).as_bytes(), Behavior::Domain, Format::Text), ProviderError::TooMany);
    assert_eq!(error(b"<html></html>", Behavior::Domain, Format::Yaml), ProviderError::NoPayload);
    assert_eq!(error(b"", Behavior::Classical, Format::Mrs), ProviderError::ClassicalMrs);
    assert_eq!("Domain".parse::<Behavior>().unwrap_err().to_string(), "unsupported behavior type: Domain");
    assert_eq!("toml".parse::<Format>().unwrap_err().to_string(), "unsupported format type: toml");
    assert_eq!("".parse::<Format>(), Ok(Format::Yaml));
}

#[test]
fn every_kind_of_entry_of_a_classical_set_is_found() {
    let entries = [
        "DOMAIN,exact.test",
        "DOMAIN-SUFFIX,suffix.test",
        "DOMAIN-KEYWORD,keyw",
        "DOMAIN-REGEX,^re[0-9]",
        "DOMAIN-WILDCARD,wild*.test",
        "IP-CIDR,10.0.0.0/8",
        "IP-CIDR,11.0.0.0/8,no-resolve",
        "IP-SUFFIX,0.0.0.77/8,no-resolve",
        "DST-PORT,8443",
        "AND,((DOMAIN,and.test),(NETWORK,tcp))",
        "GEOIP,au",
        "GEOSITE,google",
    ];
    let rules = single("RULE-SET,s,A").geo().set("s", Behavior::Classical, &entries.join("\n")).compile();
    for yes in [
        "exact.test:1",
        "a.suffix.test:1",
        "xkeywx.test:1",
        "re1.test:1",
        "wildcat.test:1",
        "10.0.0.1:1",
        "11.0.0.1:1",
        "12.0.0.77:1",
        "other.test:8443",
        "and.test:1",
        "1.1.1.1:1",
        "www.google.com:1",
    ] {
        assert_eq!(outbound(&rules, yes), "A", "{yes}");
    }
    for no in ["a.exact.test:1", "2.2.2.2:1", "other.test:1", "wild.example:1"] {
        assert_eq!(outbound(&rules, no), "DIRECT", "{no}");
    }
    let inline = RuleSet::from_entries(entries, Behavior::Classical, &geo()).unwrap();
    assert_eq!((inline.0.rule_count(), inline.1), (entries.len(), vec![]));
}

/// F-D7: a provider that never loaded matches nothing; a set that replaces another is in force at once.
#[test]
fn handles_are_replaced_under_running_rules() {
    let handle = ProviderHandle::new(Behavior::Domain);
    let mut setup = single("RULE-SET,s,A");
    setup.providers.insert(Tag::new("s"), handle.clone());
    let rules = setup.compile();
    assert_eq!(outbound(&rules, "a.com:1"), "DIRECT");
    assert!(!handle.is_loaded());
    let load = |text: &str| {
        let (set, _) = RuleSet::parse(text.as_bytes(), Behavior::Domain, Format::Text, &Geo::default()).unwrap();
        handle.replace(set);
    };
    load("a.com");
    assert_eq!((outbound(&rules, "a.com:1"), handle.rule_count()), ("A".into(), 1));
    load("b.com\nc.com");
    assert_eq!((outbound(&rules, "a.com:1"), handle.rule_count()), ("DIRECT".into(), 2));
}

proptest! {
    #[test]
    fn any_bytes_are_a_rule_set_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for behavior in [Behavior::Domain, Behavior::IpCidr, Behavior::Classical] {
            for format in [Format::Text, Format::Yaml, Format::Mrs] {
                let _ = RuleSet::parse(&bytes, behavior, format, &Geo::default());
            }
        }
    }

    #[test]
    fn nearly_good_files_never_panic(text in "(payload:\n)?([- #'\"a-c.*+,/:0-9(){}&|>A-D\\[\\]\n]|DOMAIN,|AND,|IP-CIDR,){0,60}") {
        for behavior in [Behavior::Domain, Behavior::IpCidr, Behavior::Classical] {
            for format in [Format::Text, Format::Yaml] {
                let _ = RuleSet::parse(text.as_bytes(), behavior, format, &Geo::default());
            }
        }
    }

    #[test]
    fn any_line_is_a_rule_or_an_error(
        line in "(DOMAIN|DOMAIN-REGEX|AND|NOT|SUB-RULE|IP-CIDR|DST-PORT|GEOIP|IN-TYPE|RULE-SET|\\PC{0,5}),\\PC{0,30}(,A)?",
    ) {
        let setup = single(&line).sub("A", &[]).geo();
        if let Err(errors) = setup.try_compile() {
            for error in errors {
                prop_assert!(!error.to_string().contains('\n'));
                if let Some(offset) = error.offset {
                    prop_assert!(line.get(offset).is_some(), "offsets fall on characters");
                }
            }
        }
    }
}
