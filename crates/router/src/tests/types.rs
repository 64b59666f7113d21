//! Each row of spec page 3.2, and its details.

use adit_net::{DnsMode, Domain, Network, Protocol};

use super::*;
use crate::{Opener, Process};

#[test]
fn domain_rows() {
    for (rule, yes, no) in [
        ("DOMAIN,Www.Example.com,A", &["www.example.com"][..], &["a.www.example.com", "example.com", "1.2.3.4"][..]),
        ("DOMAIN-SUFFIX,Google.com,A", &["google.com", "a.b.google.com"], &["content-google.com", "com"]),
        ("domain-keyword,Goo,A", &["goo.gl", "a.google.com"], &["g.oo", "1.2.3.4"]),
        ("DOMAIN-WILDCARD,*.Goo?le.com,A", &["a.google.com", "a.b.gooxle.com"], &["google.com", "a.goole.com"]),
        ("DOMAIN-REGEX,^AD[0-9]+\\.,A", &["ad1.example.com", "ad22.x"], &["ad.x", "bad1.x"]),
        ("DOMAIN-REGEX,e{1,2}f,A", &["xeef.com"], &["xf.com"]),
    ] {
        let setup = single(rule);
        for name in yes {
            assert!(hits(&setup, &format!("{name}:443")), "{rule} {name}");
            assert!(hits(&setup, &format!("{}:443", name.to_uppercase())), "{rule} {name}");
        }
        for name in no {
            assert!(!hits(&setup, &format!("{name}:443")), "{rule} {name}");
        }
    }
}

#[test]
fn rules_that_accept_the_empty_name_match_addresses() {
    for (rule, matches) in [
        ("DOMAIN-REGEX,.*,A", true),
        ("DOMAIN-WILDCARD,*,A", true),
        ("DOMAIN-WILDCARD,?*,A", false),
        ("DOMAIN-REGEX,.,A", false),
    ] {
        assert_eq!(hits(&single(rule), "1.2.3.4:80"), matches, "{rule}");
    }
}

#[test]
fn an_address_that_was_given_out_for_a_name_is_compared_as_both() {
    let ip = "203.0.113.5".parse().unwrap();
    let mut session = session("203.0.113.5:443");
    session.dns = DnsMode::RedirHost { name: Domain::new("mapped.example").unwrap(), ip };
    for rule in ["DOMAIN,mapped.example,A", "IP-CIDR,203.0.113.0/24,A"] {
        assert!(verdict(single(rule).compile().decide(&Query::new(&session))).rule.is_some(), "{rule}");
    }
    session.sniffed = Some(Domain::new("sniffed.example").unwrap());
    let rules = single("DOMAIN,mapped.example,A").compile();
    assert!(verdict(rules.decide(&Query::new(&session))).rule.is_none(), "what the client says counts more");
}

#[test]
fn the_sniffed_name_is_the_rule_host() {
    for rule in [
        "DOMAIN,sniffed.example,A",
        "DOMAIN-SUFFIX,example,A",
        "DOMAIN-KEYWORD,sniff,A",
        "DOMAIN-WILDCARD,sniffed.*,A",
        "DOMAIN-REGEX,^sniffed,A",
    ] {
        let rules = single(rule).compile();
        for target in ["1.2.3.4:443", "asked.test:443"] {
            let mut session = session(target);
            session.sniffed = Some(Domain::new("sniffed.example").unwrap());
            let query = Query::new(&session);
            assert!(verdict(rules.decide(&query)).rule.is_some(), "{rule} {target}");
        }
    }
}

#[test]
fn site_rows() {
    for (rule, yes, no) in [
        ("GEOSITE,google,A", &["a.google.com", "exact.example", "youtube.net"][..], &["b.exact.example", "x.cn"][..]),
        ("GEOSITE,GOOGLE@cn@ads,A", &["youtube.net"], &["exact.example", "google.com"]),
        ("GEOSITE,!cn,A", &["google.com", "1.2.3.4"], &["x.cn"]),
    ] {
        let setup = single(rule).geo();
        for name in yes {
            assert!(hits(&setup, &format!("{name}:443")), "{rule} {name}");
        }
        for name in no {
            assert!(!hits(&setup, &format!("{name}:443")), "{rule} {name}");
        }
    }
}

#[test]
fn address_rows() {
    for (rule, yes, no) in [
        ("IP-CIDR,10.1.2.3/8,A", &["10.0.0.1", "[::ffff:10.0.0.1]"][..], &["11.0.0.1", "name.test", "[::1]"][..]),
        ("IP-CIDR6,10.0.0.0/8,A", &["10.0.0.1"], &["11.0.0.1"]),
        ("IP-CIDR,2001:db8::/32,A", &["[2001:db8::1]"], &["[2001:db9::1]", "1.2.3.4"]),
        ("IP-CIDR,fe80::1%eth0/64,A", &["[fe80::2]"], &["[fe81::2]"]),
        ("IP-SUFFIX,8.8.8.8/24,A", &["1.8.8.8"], &["8.8.8.9", "[::808:808]"]),
        ("IP-SUFFIX,8.8.8.8/32,A", &["8.8.8.8"], &["1.8.8.8"]),
        ("IP-SUFFIX,2001:db8::1/128,A", &["[2001:db8::1]"], &["[2001:db9::1]"]),
        ("IP-ASN,13335,A", &["1.1.1.1"], &["2.2.2.2", "name.test"]),
        ("GEOIP,AU,A", &["1.1.1.1"], &["2.2.2.2", "3.3.3.3"]),
        ("GEOIP,Cloudflare,A", &["1.1.1.1"], &["2.2.2.2"]),
        ("GEOIP,!au,A", &["2.2.2.2", "3.3.3.3"], &["1.1.1.1", "name.test"]),
        (
            "GEOIP,LAN,A",
            &["10.0.0.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.1.1", "[fe80::1]", "[::1]", "[fd00::1]"],
            &["1.1.1.1", "[2001:db8::1]"],
        ),
    ] {
        let setup = single(rule).geo();
        for host in yes {
            assert!(hits(&setup, &format!("{host}:443")), "{rule} {host}");
        }
        for host in no {
            assert!(!hits(&setup, &format!("{host}:443")), "{rule} {host}");
        }
    }
}

#[test]
fn country_lists_of_the_other_kind() {
    for (rule, yes, no) in [
        ("GEOIP,CN,A", "1.0.0.1", "2.0.0.1"),
        ("GEOIP,!cn,A", "2.0.0.1", "1.0.0.1"),
        ("GEOIP,not-ten,A", "11.0.0.1", "10.0.0.1"),
        ("GEOIP,lan,A", "10.0.0.1", "1.0.0.1"),
    ] {
        let mut setup = single(rule);
        setup.geo = geo_dat();
        assert!(hits(&setup, &format!("{yes}:1")), "{rule} {yes}");
        assert!(!hits(&setup, &format!("{no}:1")), "{rule} {no}");
    }
}

#[test]
fn source_rows_never_ask() {
    for (rule, matches) in [
        ("SRC-IP-CIDR,192.168.1.0/24,A", true),
        ("SRC-IP-CIDR,192.168.2.0/24,A", false),
        ("IP-CIDR,192.168.1.0/24,A,src", true),
        ("SRC-IP-SUFFIX,0.0.0.20/8,A", true),
        ("IP-SUFFIX,0.0.0.21/8,A,src", false),
        ("SRC-GEOIP,LAN,A", true),
        ("GEOIP,lan,A,src", true),
        ("SRC-GEOIP,!lan,A", false),
        ("SRC-IP-ASN,13335,A", false),
        ("IP-ASN,13335,A,src", false),
    ] {
        let rules = single(rule).geo().compile();
        let session = session("name.test:443");
        assert_eq!(verdict(rules.decide(&Query::new(&session))).rule.is_some(), matches, "{rule}");
        assert_eq!(rules.resolving().count(), 0, "{rule}");
    }
}

#[test]
fn plain_rows() {
    for (rule, matches) in [
        ("DST-PORT,80/443/6000-6500,A", true),
        ("DST-PORT,444-80,A", true),
        ("DST-PORT,80,A", false),
        ("SRC-PORT,50000,A", true),
        ("SRC-PORT,1-49999,A", false),
        ("IN-PORT,7890,A", true),
        ("IN-PORT,7891,A", false),
        ("NETWORK,TCP,A", true),
        ("NETWORK,udp,A", false),
        ("DSCP,0,A", true),
        ("DSCP,*,A", true),
        ("DSCP,1-63,A", false),
        ("IN-TYPE,socks,A", true),
        ("IN-TYPE,HTTP/SOCKS5,A", true),
        ("IN-TYPE,SOCKS4/http/https/redir/tproxy/tun/tunnel/inner,A", false),
        ("IN-TYPE,vmess,A", false),
        ("IN-NAME,other/DEFAULT-MIXED,A", true),
        ("IN-NAME,default-mixed,A", false),
        ("IN-USER,bob/alice,A", true),
        ("IN-USER,Alice,A", false),
        ("MATCH,A", true),
    ] {
        assert_eq!(hits(&single(rule), "name.test:443"), matches, "{rule}");
    }
}

#[test]
fn the_other_values_of_a_session() {
    let mut session = session("name.test:53");
    session.network = Network::Udp;
    session.entry.protocol = Protocol::Tproxy;
    session.entry.user = None;
    session.dscp = 46;
    let query = Query::new(&session);
    for (rule, matches) in
        [("NETWORK,UDP,A", true), ("IN-TYPE,TProxy,A", true), ("IN-USER,alice,A", false), ("DSCP,40-46,A", true)]
    {
        assert_eq!(verdict(single(rule).compile().decide(&query)).rule.is_some(), matches, "{rule}");
    }
}

#[test]
fn process_rows() {
    let curl = Process { path: "/usr/bin/Curl".into(), uid: 1000 };
    let root = Process { path: "/usr/bin/curl".into(), uid: 0 };
    let session = session("name.test:443");
    for (rule, matches) in [
        ("PROCESS-NAME,curl,A", true),
        ("PROCESS-NAME,cur,A", false),
        ("PROCESS-PATH,/USR/bin/curl,A", true),
        ("PROCESS-PATH,curl,A", false),
        ("PROCESS-NAME-WILDCARD,c*L,A", true),
        ("PROCESS-PATH-WILDCARD,*/bin/c?rl,A", true),
        ("PROCESS-NAME-REGEX,^CU.l$,A", true),
        ("PROCESS-PATH-REGEX,^/usr/(s?)bin/,A", true),
        ("UID,1000-2000,A", true),
        ("UID,1,A", false),
    ] {
        let rules = single(rule).compile();
        assert!(rules.needs_process());
        let mut query = Query::new(&session);
        assert!(matches!(rules.decide(&query), Step::NeedProcess(_)), "{rule} asks");
        query.process = Opener::Unknown;
        assert!(verdict(rules.decide(&query)).rule.is_none(), "{rule} without a process");
        query.process = Opener::Known(&curl);
        assert_eq!(verdict(rules.decide(&query)).rule.is_some(), matches, "{rule}");
    }
    let mut query = Query::new(&session);
    query.process = Opener::Known(&root);
    assert!(verdict(single("UID,0-10,A").compile().decide(&query)).rule.is_none(), "0 means unknown");
    let mut blind = single("PROCESS-NAME,curl,A");
    blind.processes = false;
    assert_eq!(warnings(&blind), ["processes are not looked up, so this rule never matches"]);
}

/// What `/rules` shows.
#[test]
fn names_and_payloads_are_echoed() {
    for (rule, echo) in [
        ("DOMAIN,A.com,A", "Domain(a.com)"),
        ("DOMAIN-SUFFIX,A.com,A", "DomainSuffix(a.com)"),
        ("DOMAIN-KEYWORD,A,A", "DomainKeyword(a)"),
        ("DOMAIN-WILDCARD,*.A,A", "DomainWildcard(*.a)"),
        ("DOMAIN-REGEX,^A , b,A", "DomainRegex(^A,b)"),
        ("IP-CIDR,8.8.8.8/24,A", "IPCIDR(8.8.8.8/24)"),
        ("IP-CIDR6,2001:0db8::0001/32,A", "IPCIDR(2001:db8::1/32)"),
        ("IP-CIDR,8.8.8.8/24,A,src", "SrcIPCIDR(8.8.8.8/24)"),
        ("IP-SUFFIX,8.8.8.8/24,A", "IPSuffix(8.8.8.8/24)"),
        ("GEOIP,CN,A", "GeoIP(cn)"),
        ("SRC-GEOIP,LAN,A", "SrcGeoIP(lan)"),
        ("IP-ASN,13335,A", "IPASN(13335)"),
        ("NETWORK,UDP,A", "Network(udp)"),
        ("IN-TYPE,socks/http,A", "InType(SOCKS/HTTP)"),
        ("DST-PORT,[80] / 443,A", "DstPort([80] / 443)"),
        ("AND,((DOMAIN,Baidu.com),(NETWORK,TCP)),A", "AND(((Domain,baidu.com) && (Network,tcp)))"),
        ("OR,((DOMAIN,a),(NETWORK,TCP)),A", "OR(((Domain,a) || (Network,tcp)))"),
        ("NOT,((DST-PORT,6000-6500)),A", "NOT((!(DstPort,6000-6500)))"),
        ("SUB-RULE,(NETWORK,tcp),list", "SubRules((NETWORK,tcp))"),
        ("MATCH,A", "Match"),
    ] {
        let rules = single(rule).sub("list", &[]).compile();
        let info = rules.iter().next().unwrap();
        assert_eq!(info.to_string(), echo);
        assert_eq!(&*info.target, if rule.starts_with("SUB") { "list" } else { "A" });
    }
}

#[test]
fn the_process_is_asked_for_only_by_the_rule_that_looks_at_it() {
    let curl = Process { path: "/usr/bin/curl".into(), uid: 1000 };
    let rules = Setup::new(&[
        "DOMAIN,early.test,A",
        "AND,((NETWORK,UDP),(PROCESS-NAME,curl)),B",
        "NOT,((PROCESS-NAME,curl)),C",
        "MATCH,DIRECT",
    ])
    .compile();
    let early = session("early.test:443");
    assert_eq!(&*verdict(rules.decide(&Query::new(&early))).outbound, "A");
    let late = session("late.test:443");
    let mut query = Query::new(&late);
    let Step::NeedProcess(cursor) = rules.decide(&query) else { panic!("the third rule asks") };
    query.process = Opener::Known(&curl);
    assert_eq!(&*verdict(rules.resume(cursor, &query)).outbound, "DIRECT");
    query.process = Opener::Unknown;
    assert_eq!(&*verdict(rules.resume(cursor, &query)).outbound, "C");
}
