//! The texts of spec page 3.1, their order, and where they point.

use super::*;
use crate::RuleErrorKind;

#[test]
fn one_error_per_line_in_the_known_order() {
    for (line, text) in [
        ("", "format invalid"),
        ("MATCH", "format invalid"),
        ("DOMAIN,a.com", "format invalid"),
        ("NOPE", "format invalid"),
        ("NOPE,,X", "proxy [X] not found"),
        ("DOMAIN,,X", "proxy [X] not found"),
        ("SUB-RULE,(NETWORK,tcp),x", "sub-rule [x] not found"),
        ("DOMAIN,,A", "missing subsequent parameters: DOMAIN"),
        ("NOPE,,A", "missing subsequent parameters: NOPE"),
        ("nope,x,A", "unsupported rule type: NOPE"),
        ("IP-CIDR,1.2.3.4,A", "payloadRule error"),
        ("IP-SUFFIX,x,A", "payloadRule error"),
        ("IP-ASN,AS1,A", "payloadRule error"),
        ("DST-PORT,*,A", "payloadRule error"),
        ("DST-PORT,/,A", "payloadRule error"),
        ("UID,*,A", "payloadRule error"),
        ("DST-PORT,65536,A", "invalid range: 65536"),
        ("DST-PORT,1-2-3,A", "invalid range: 1-2-3"),
        (
            "DST-PORT,1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29,A",
            "intRanges error, too many ranges to use, maximum support 28 ranges",
        ),
        ("DSCP,64,A", "DSCP couldn't be negative or exceed 63"),
        ("NETWORK,icmp,A", "unsupported network type, only TCP/UDP"),
        ("IN-TYPE,HTTP//SOCKS,A", "in type couldn't be empty"),
        ("IN-TYPE,ftp,A", "unknown type: FTP"),
        ("RULE-SET,none,A", "rule set [none] not found"),
        ("AND,((RULE-SET,none)),A", "rule set [none] not found"),
        ("AND,DOMAIN,A", "payload format error"),
        ("AND,(DOMAIN,a.com,A", "payload format error"),
        ("AND,(DOMAIN,a))(DOMAIN,b),A", "missing '('"),
        ("AND,((DOMAIN,a),A", "format error is missing )"),
        ("AND,((MATCH,a)),A", "unsupported rule type [MATCH] on logic rule"),
        ("OR,((SUB-RULE,(NETWORK,tcp))),A", "unsupported rule type [SUB-RULE] on logic rule"),
        ("AND,(( )),A", "[] format is error"),
        ("NOT,((DOMAIN,a),(DOMAIN,b)),A", "not rule must contain one rule"),
        ("NOT,(DOMAIN,a),A", "not rule must contain one rule"),
        ("SUB-RULE,(NETWORK,tcp)(NETWORK,udp),list", "Sub-Rule rule must contain one rule"),
    ] {
        let setup = single(line).sub("list", &[]);
        assert_eq!(errors(&setup), [format!("rules[0] [{line}] error: {text}")]);
    }
}

#[test]
fn all_errors_of_all_lists_are_found_at_once() {
    let setup = Setup::new(&["DOMAIN,a", "MATCH,A", "X,1,A"]).sub("s", &["MATCH,A", "IP-CIDR,x,A"]);
    assert_eq!(
        errors(&setup),
        [
            "rules[0] [DOMAIN,a] error: format invalid",
            "rules[2] [X,1,A] error: unsupported rule type: X",
            "sub-rules[s][1] [IP-CIDR,x,A] error: payloadRule error",
        ]
    );
}

#[test]
fn errors_point_into_the_line_and_hint() {
    for (line, blamed, hint) in [
        (" DOMAIN-SUFIX , a.com, A", "DOMAIN-SUFIX", Some("did you mean DOMAIN-SUFFIX?")),
        ("DOMAIN,a.com, Proxy ", "Proxy", None),
        ("IP-CIDR, 1.2.3.4 ,A", "1.2.3.4", Some("a prefix length is required: 1.2.3.4/32")),
        ("AND,((DOMAIN,a), (IP-CIDR,::1,no-resolve)),A", "::1", Some("a prefix length is required: ::1/128")),
        ("OR,((NOT,((NETWROK,tcp)))),A", "NETWROK", Some("did you mean NETWORK?")),
        ("IP-ASN,AS1,A", "AS1", Some("an AS number is written as digits only, such as 13335")),
    ] {
        let found = single(line).try_compile().unwrap_err();
        assert_eq!(&line[found[0].offset.clone().unwrap()], blamed, "{line}");
        assert_eq!(found[0].hint.as_deref(), hint, "{line}");
    }
    let set = single("RULE-SET,Ads,A").set("ads", Behavior::Domain, "x");
    assert_eq!(set.try_compile().unwrap_err()[0].hint.as_deref(), Some("did you mean ads?"));
    let site = single("GEOSITE,google-ads,A").geo();
    let error = &site.try_compile().unwrap_err()[0];
    assert_eq!(error.kind, RuleErrorKind::UnknownSiteList("google-ads".into()));
    assert_eq!(error.hint.as_deref(), Some("did you mean google?"));
    let mut dat = single("GEOIP,xx,A");
    dat.geo = geo_dat();
    assert_eq!(errors(&dat), ["rules[0] [GEOIP,xx,A] error: code [xx] not found in GeoIP.dat"]);
}

/// F-D4: expressions that would need backtracking are refused with their line and a way out.
#[test]
fn expressions_are_linear_or_refused() {
    for line in [r"DOMAIN-REGEX,^(?!www\.)x,A", r"DOMAIN-REGEX,(a)\1,A", r"AND,((DOMAIN-REGEX,(?<=a)b)),A"] {
        let error = &single(line).try_compile().unwrap_err()[0];
        assert!(matches!(error.kind, RuleErrorKind::Regex(_)), "{line}");
        assert!(error.to_string().starts_with(&format!("rules[0] [{line}] error: ")));
        assert!(error.hint.as_ref().unwrap().contains("AND and NOT"));
        assert!(error.offset.is_some());
    }
    let bomb = single("DOMAIN-REGEX,((a{0,100}){0,100}){0,100},A");
    assert!(errors(&bomb)[0].contains("KiB when compiled"));
}

/// F-D13: payloads with control characters and of any length.
#[test]
fn messages_are_one_escaped_line() {
    let line = format!("DOMAIN,a\u{1b}[31m\u{202e}\n{},X\r", "é".repeat(1 << 19));
    let text = &errors(&single(&line))[0];
    assert!(text.len() < 1000, "{}", text.len());
    assert!(!text.contains(['\u{1b}', '\n', '\u{202e}', '\r']), "{text}");
    let text = &errors(&single("DOMAIN,a,\u{7}"))[0];
    assert!(text.ends_with("proxy [\\u{7}] not found"), "{text}");
}

#[test]
fn what_is_read_and_ignored_is_said() {
    for (line, expected) in [
        ("DOMAIN,a.com,A,no-resolve", &["the parameter `no-resolve` means nothing here and is ignored"][..]),
        ("IP-CIDR,1.0.0.0/8,A,No-Resolve", &["the parameter `No-Resolve` means nothing here and is ignored"]),
        ("IP-CIDR,1.0.0.0/8,A,no-resolve,src,", &[]),
        ("SRC-IP-CIDR,1.0.0.0/8,A,no-resolve", &[]),
        ("MATCH,A,x", &["the parameter `x` means nothing here and is ignored"]),
        ("AND,((DOMAIN,a.b,x),(NETWORK,tcp)),A", &["the parameter `x` means nothing here and is ignored"]),
        ("AND,((DOMAIN,a.b) and (NETWORK,tcp)),A", &["the text `and` between the rules is ignored"]),
        ("REMATCH-NAME,x,A", &["rules of type REMATCH-NAME are not supported and never match"]),
        ("DOMAIN-SUFFIX,+.a.com,A", &["no host name is like `+.a.com`, so this rule never matches"]),
        ("DOMAIN,*.a.com,A", &["no host name is like `*.a.com`, so this rule never matches"]),
        ("DOMAIN,1.2.3.4,A", &["no host name is like `1.2.3.4`, so this rule never matches"]),
    ] {
        assert_eq!(warnings(&single(line)), expected, "{line}");
    }
}

/// F-D10: rules without their database do not match, do not ask for addresses, and say so once.
#[test]
fn missing_databases_are_said_once() {
    let setup = Setup::new(&[
        "GEOIP,cn,A",
        "GEOIP,!us,A",
        "GEOSITE,!cn,A",
        "GEOSITE,google,A",
        "IP-ASN,1,A",
        "GEOIP,lan,B,no-resolve",
    ]);
    let session = session("name.test:443");
    let rules = setup.compile();
    assert!(verdict(rules.decide(&Query::new(&session))).rule.is_none());
    assert_eq!(outbound(&rules, "1.2.3.4:1"), "DIRECT");
    assert_eq!(outbound(&rules, "10.2.3.4:1"), "B");
    assert_eq!(
        warnings(&setup),
        ["GeoIP", "GeoSite", "ASN"].map(|name| {
            format!("the {name} database is not available: this rule and others that need it do not match")
        })
    );
}
