//! `sniffer:`.

use std::net::IpAddr;

use adit_net::Domain;
use adit_sniffer::{AddressSet, NameSet, Options, Sniff};

use crate::scene::{errors, only_error, plan, warnings};

fn sniffer(section: &str) -> Option<Options> {
    plan(&format!("mixed-port: 1\n{section}")).sniffer
}

/// The options of an enabled section with these keys, which are not even doubtful.
#[track_caller]
fn enabled(keys: &str) -> Options {
    let text = format!("sniffer: {{enable: true, {keys}}}\n");
    assert_eq!(warnings(&text), [""; 0]);
    sniffer(&text).unwrap()
}

fn ports(sniff: &Option<Sniff>) -> Vec<(u16, u16)> {
    let ranges = sniff.iter().flat_map(|sniff| &sniff.ports);
    ranges.map(|range| (*range.start(), *range.end())).collect()
}

#[track_caller]
fn check_names(set: &NameSet, expected: &[(&str, bool)]) {
    for (name, is_in) in expected {
        assert_eq!(set.contains(&Domain::new(name).unwrap()), *is_in, "{name}");
    }
}

#[track_caller]
fn check_addresses(set: &AddressSet, expected: &[(&str, bool)]) {
    for (ip, is_in) in expected {
        assert_eq!(set.contains(ip.parse::<IpAddr>().unwrap()), *is_in, "{ip}");
    }
}

#[test]
fn it_is_off_unless_it_is_enabled() {
    for off in [
        "",
        "sniffer: ~\n",
        "sniffer: {}\n",
        "sniffer: {enable: false, sniff: {FTP: ~}}\n",
        "sniffer: {sniff: {TLS: ~}}\n",
    ] {
        assert!(sniffer(off).is_none(), "{off}");
        assert_eq!(warnings(&format!("mixed-port: 1\n{off}")), [""; 0]);
    }
}

#[test]
fn the_defaults_are_those_of_mihomo() {
    let options = enabled("sniff: {TLS: ~, http: {}, Quic: {ports: []}}");
    assert!(options.enable && options.force_dns_mapping && options.parse_pure_ip && options.override_destination);
    assert_eq!(options.tls, Some(Sniff::tls()));
    assert_eq!(options.http, Some(Sniff::http()));
    assert_eq!(options.quic, Some(Sniff::quic()));
    check_names(&options.force_domain, &[("example.com", false)]);
    check_names(&options.skip_domain, &[("example.com", false)]);
    check_addresses(&options.skip_src_address, &[("127.0.0.1", false), ("::1", false)]);
    check_addresses(&options.skip_dst_address, &[("127.0.0.1", false), ("::1", false)]);
}

#[test]
fn every_key_has_its_meaning() {
    let text = "\
rule-providers:
  names: {type: inline, behavior: domain, payload: ['+.listed.example']}
  nets: {type: inline, behavior: ipcidr, payload: [172.16.0.0/12]}
sniffer:
  enable: true
  force-dns-mapping: false
  parse-pure-ip: false
  override-destination: false
  sniff:
    TLS: {ports: [443, 8443]}
    HTTP: {ports: [80, '8080-8880', 90-85], override-destination: true}
    QUIC: {ports: ['443/8443,9000'], override-destination: false}
  force-domain: ['+.v2ex.com', 'rule-set:names']
  skip-domain: [Mijia Cloud, '*.a.example']
  skip-src-address: [192.168.0.3, 'fd00::/8']
  skip-dst-address: [10.0.0.0/8, 'rule-set:nets']
";
    assert_eq!(warnings(text), [""; 0]);
    let options = plan(text).sniffer.unwrap();
    assert!(!options.force_dns_mapping && !options.parse_pure_ip && !options.override_destination);
    assert_eq!(ports(&options.tls), [(443, 443), (8443, 8443)]);
    assert_eq!(ports(&options.http), [(80, 80), (8080, 8880), (85, 90)]);
    assert_eq!(ports(&options.quic), [(443, 443), (8443, 8443), (9000, 9000)]);
    let own = |sniff: &Option<Sniff>| sniff.as_ref().unwrap().override_destination;
    assert_eq!((own(&options.tls), own(&options.http), own(&options.quic)), (None, Some(true), Some(false)));
    let forced = [("v2ex.com", true), ("a.b.v2ex.com", true), ("x.listed.example", true), ("example.com", false)];
    check_names(&options.force_domain, &forced);
    check_names(&options.skip_domain, &[("x.a.example", true), ("a.example", false), ("x.y.a.example", false)]);
    let sources = [("192.168.0.3", true), ("192.168.0.4", false), ("fd12::1", true), ("2001:db8::1", false)];
    check_addresses(&options.skip_src_address, &sources);
    check_addresses(&options.skip_dst_address, &[("10.1.2.3", true), ("172.20.0.1", true), ("11.0.0.1", false)]);
}

#[test]
fn the_old_keys_work_where_the_new_one_is_not() {
    let text = "sniffer: {enable: true, sniffing: [tls, Http], port-whitelist: [443, 8000-8010]}\n";
    let options = sniffer(text).unwrap();
    assert_eq!(ports(&options.tls), [(443, 443), (8000, 8010)]);
    assert_eq!(ports(&options.http), [(443, 443), (8000, 8010)]);
    assert_eq!(options.quic, None);
    assert_eq!(warnings(text), ["`sniffing` and `port-whitelist` are the old way to write `sniff`"]);

    let default = sniffer("sniffer: {enable: true, sniffing: [http]}\n").unwrap();
    assert_eq!((default.tls, default.http), (None, Some(Sniff::http())));

    let both = "sniffer: {enable: true, sniff: {QUIC: ~}, sniffing: [tls, nonsense], port-whitelist: [x]}\n";
    let options = sniffer(both).unwrap();
    assert_eq!((options.tls, options.quic), (None, Some(Sniff::quic())));
    assert_eq!(warnings(both), ["`sniffing` and `port-whitelist` have no effect beside `sniff`"]);
}

#[test]
fn what_is_wrong_is_said_in_known_words() {
    for (keys, message) in [
        ("sniff: {FTP: ~}", "not find the sniffer[FTP]"),
        ("sniffing: [ftp]", "not find the sniffer[ftp]"),
        ("sniff: {TLS: {ports: [443-]}}", "invalid range: 443-"),
        ("sniff: {TLS: {ports: [65536]}}", "invalid range: 65536"),
        ("sniff: {TLS: {ports: ['*']}}", "invalid range: *"),
        ("sniff: {TLS: {ports: [443, a]}}", "invalid range: a"),
        ("sniff: {TLS: {ports: 443}}", "'ports' is not a slice"),
        ("sniff: {TLS: 443}", "`TLS` must be a mapping, found '443'"),
        (
            "sniff: {TLS: {override-destination: perhaps}}",
            "`override-destination` must be true or false, found 'perhaps'",
        ),
        ("sniff: {TLS: ~, tls: ~}", "the sniffer looks for tls already"),
        ("sniffing: [tls], port-whitelist: [x]", "invalid range: x"),
        ("sniff: {TLS: ~}, parse-pure-ip: perhaps", "`parse-pure-ip` must be true or false, found 'perhaps'"),
        ("sniff: {TLS: ~}, force-domain: ['a..b']", "error in force-domain, error:invalid domain: a..b"),
        ("sniff: {TLS: ~}, skip-domain: ['rule-set:x']", "error in skip-domain, error:not found rule-set: x"),
        ("sniff: {TLS: ~}, skip-src-address: [x]", "error in skip-src-address, error:invalid prefix: x"),
        (
            "sniff: {TLS: ~}, skip-dst-address: [10.0.0.0/33]",
            "error in skip-dst-address, error:invalid prefix: 10.0.0.0/33",
        ),
        ("sniff: {TLS: ~}, skip-dst-address: 10.0.0.0/8", "'skip-dst-address' is not a slice"),
    ] {
        assert_eq!(only_error(&format!("sniffer: {{enable: true, {keys}}}\n")), message);
    }
    let many: Vec<String> = (1..=29).map(|port| port.to_string()).collect();
    let too_many = format!("sniffer: {{enable: true, sniff: {{TLS: {{ports: [{}]}}}}}}\n", many.join(", "));
    assert_eq!(errors(&too_many), ["intRanges error, too many ranges to use, maximum support 28 ranges"]);
}

#[test]
fn what_is_doubtful_is_told() {
    for (keys, message) in [
        ("sniff: {}", "the sniffer is enabled and has nothing to look for"),
        ("parse-pure-ip: true", "the sniffer is enabled and has nothing to look for"),
        ("sniff: {TLS: ~}, force-domains: []", "unknown key `force-domains` in `sniffer`; it has no effect"),
        ("sniff: {TLS: {port: [443]}}", "unknown key `port` in an entry of `sniff`; it has no effect"),
    ] {
        assert_eq!(warnings(&format!("sniffer: {{enable: true, {keys}}}\n")), [message]);
    }
}

/// A database that is missing makes its entries mean nothing; it never stops the start (F-D10).
#[test]
fn lists_may_refer_to_databases_that_are_not_there() {
    let lists = "force-domain: ['geosite:netflix', 'a.b'], skip-dst-address: ['geoip:telegram']";
    let text = &format!("sniffer: {{enable: true, sniff: {{TLS: ~}}, {lists}}}\n");
    let found = warnings(text);
    assert!(found.len() == 2 && found.iter().all(|warning| warning.contains("is not available")), "{found:?}");
    let options = sniffer(text).unwrap();
    check_names(&options.force_domain, &[("a.b", true), ("netflix.com", false)]);
    check_addresses(&options.skip_dst_address, &[("91.108.4.1", false)]);
}
