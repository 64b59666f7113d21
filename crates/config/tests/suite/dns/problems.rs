//! What is wrong, in the words that people search for.

use crate::dns::section;
use crate::scene::{errors, loaded, only_error, warnings};

#[test]
fn each_key_is_refused_in_known_words() {
    for (keys, message) in [
        ("respect-rules: true", "if “respect-rules” is turned on, “proxy-server-nameserver” cannot be empty"),
        (
            "proxy-server-nameserver-policy: {a.example: 1.1.1.1}",
            "disallow empty `proxy-server-nameserver` when `proxy-server-nameserver-policy` is set",
        ),
        ("default-nameserver: []", "default nameserver should have at least one nameserver"),
        ("default-nameserver: ['tls://dns.example']", "default nameserver should be pure IP"),
        ("default-nameserver: [192.0.2.1, dns.example]", "default nameserver should be pure IP"),
        ("listen: localhost:53", "`listen` in `dns` must be an address and a port, found 'localhost:53'"),
        ("listen: 1053", "`listen` in `dns` must be an address and a port, found '1053'"),
        ("enhanced-mode: fakeip", "invalid enhanced-mode: fakeip"),
        ("fake-ip-range: 'fd00::/64'", "dns.fake-ip-range must be a IPv4 prefix, found 'fd00::/64'"),
        ("fake-ip-range: 198.18.0.1", "dns.fake-ip-range must be a IPv4 prefix, found '198.18.0.1'"),
        ("fake-ip-range6: 10.0.0.0/8", "dns.fake-ip-range6 must be a IPv6 prefix, found '10.0.0.0/8'"),
        (
            "enhanced-mode: fake-ip, fake-ip-range: ''",
            "disallow `fake-ip-range` and `fake-ip-range6` both empty with fake-ip mode",
        ),
        ("enhanced-mode: fake-ip, fake-ip-range: 10.0.0.0/30", "ipnet don't have valid ip"),
        ("enhanced-mode: fake-ip, fake-ip-range6: 'fd00::/126'", "ipnet don't have valid ip"),
        ("fake-ip-filter-mode: blocklist", "invalid fake-ip-filter-mode: blocklist"),
        ("nameserver-policy: {a..example: 1.1.1.1}", "DNS ResoverRule invalid domain: a..example"),
        ("nameserver-policy: {'a.example,b.': 1.1.1.1}", "DNS ResoverRule invalid domain: b."),
        ("nameserver-policy: {'rule-set:x': 1.1.1.1}", "not found rule-set: x"),
        ("nameserver-policy: {a.example: []}", "no nameserver is written for 'a.example'"),
        ("nameserver-policy: {a.example: x://1.1.1.1}", "DNS NameServer[0] unsupport scheme: x"),
        ("fallback-filter: {ipcidr: [10.0.0.0/8, x]}", "DNS FallbackIP[1] format error: this is no prefix"),
        (
            "fallback: [1.1.1.1], fallback-filter: {geoip: false, domain: [a.]}",
            "dns.fallback-filter: invalid domain: a.",
        ),
        ("nameserver: 1.1.1.1", "'nameserver' is not a slice"),
        ("ipv6-timeout: soon", "`ipv6-timeout` must be a number of milliseconds, found 'soon'"),
        ("cache-max-size: -1", "`cache-max-size` must be a number of answers, found '-1'"),
    ] {
        // A key that the section has already is replaced rather than doubled.
        let text = match keys.strip_prefix("nameserver: ") {
            Some(written) => format!("dns: {{nameserver: {written}}}\n"),
            None => section(keys),
        };
        assert_eq!(only_error(&text), message, "{keys}");
    }
}

#[test]
fn nobody_is_asked_whom_the_file_does_not_name() {
    let message = "if DNS configuration is turned on, NameServer cannot be empty";
    for text in
        ["dns: {enable: true}\n", "dns: {enable: true, nameserver: []}\n", "dns: {enable: true, nameserver: ~}\n"]
    {
        assert_eq!(errors(text), [message], "{text}");
    }
    assert_eq!(errors("dns: {enable: false, nameserver: []}\n"), [""; 0]);
}

#[test]
fn nameservers_are_refused_in_known_words() {
    for (server, message) in [
        ("ftp://1.1.1.1", "unsupport scheme: ftp"),
        ("rcode://nxdomain", "format error: unsupported RCode type: nxdomain"),
        ("1.1.1.1:0", "format error: no server listens on port 0"),
        ("tls://", "format error: there is no server here"),
        ("udp://1.1.1.1/path", "format error: only `https://` has a path"),
        ("https://1.1.1.1/dns-query#h4=true", "format error: `h4` is not a parameter of a nameserver"),
    ] {
        let text = format!("dns: {{enable: true, nameserver: [192.0.2.53, '{server}']}}\n");
        assert_eq!(only_error(&text), format!("DNS NameServer[1] {message}"));
    }
}

#[test]
fn problems_have_their_place_and_a_hint() {
    let text = "\
dns:
  enable: true
  nameserver:
    - 192.0.2.53
    - 'tsl://192.0.2.54'
    - https://192.0.2.55/dns-query#Prxy
  enhanced-mode: fakeip
proxies: [{name: Proxy, type: direct}]
";
    let loaded = loaded(text);
    let found: Vec<(usize, &str, Option<&str>)> = loaded
        .problems
        .iter()
        .map(|problem| (problem.line, &text[problem.span.clone()], problem.hint.as_deref()))
        .collect();
    let expected = [
        (5, "tsl", Some("did you mean 'tls'?")),
        (6, "Prxy", Some("did you mean 'Proxy'?")),
        (7, "fakeip", Some("did you mean 'fake-ip'?")),
    ];
    assert_eq!(found, expected);
}

/// To ask another list instead would be asking somebody who was not written for that.
#[test]
fn servers_that_we_cannot_ask_are_left_out_unless_nobody_is_left() {
    for server in ["h3://192.0.2.1/dns-query", "http://192.0.2.1/dns-query", "dhcp://eth0", "ts://home"] {
        let with = format!("dns: {{enable: true, nameserver: ['{server}', 192.0.2.53]}}\n");
        assert_eq!(errors(&with), [""; 0]);
        assert_eq!(warnings(&with).len(), 1, "{server}");
        assert!(warnings(&with)[0].starts_with("DNS NameServer[0]: adit does not"), "{server}");
        let alone = section(&format!("direct-nameserver: ['{server}']"));
        assert!(only_error(&alone).starts_with("DNS NameServer[0]: adit does not"), "{server}");
    }
}

#[test]
fn users_of_nameservers_are_not_shown() {
    let text = "\
dns:
  enable: true
  nameserver: ['https://jo:hunter2@dns.example/q?id=hunter3#nowhere', 'https://jo:hunt@er4@dns.example:0/dns-query']
  fake-ip-filter: [https://jo:hunter5@dns.example/.]
  enhanced-mode: fake-ip
";
    let loaded = loaded(text);
    assert_eq!(loaded.problems.counts().errors, 3, "{}", loaded.problems.render(false));
    let shown = loaded.problems.render(false);
    for part in ["jo:", "hunter2", "hunter3", "er4", "hunter5"] {
        assert!(!shown.contains(part), "{part}: {shown}");
    }
    let good =
        crate::dns::dns("default-nameserver: [192.0.2.1], direct-nameserver: ['https://jo:hunter2@dns.example/']");
    let shown = format!("{good:?} {:?}", good.upstreams.direct);
    assert!(!shown.contains("hunter2"), "{shown}");
}
