//! `proxies:` and `proxy-groups:`.

use std::time::Duration;

use adit_net::Tag;
use adit_outbound::options::{GroupKind, IpVersion, Kind, Verify};
use adit_outbound::vless::{Flow, PacketEncoding, Security};
use adit_reality::{Fingerprint, Hybrid, ServerName};

use crate::scene::{PUBLIC_KEY, UUID, errors, only_error, outbound, plan, vless, warnings};

fn one(keys: &str) -> String {
    format!("proxies:\n  - {{name: p, {keys}}}\n")
}

fn with_reality(keys: &str, opts: &str) -> String {
    one(&format!(
        "type: vless, server: Exit.Example.com, port: 443, uuid: {UUID}, tls: true, {keys} reality-opts: {{public-key: {PUBLIC_KEY}{opts}}}"
    ))
}

#[test]
fn reality_has_the_defaults_of_a_browser() {
    let plan = plan(&with_reality("", ""));
    let options = vless(outbound(&plan, "p"));
    assert_eq!(options.server.to_string(), "exit.example.com:443");
    assert_eq!((options.flow, options.packet_encoding), (Flow::Plain, PacketEncoding::Xudp));
    let Security::Reality(reality) = &options.security else { panic!("{options:?}") };
    assert_eq!(reality.server_name, ServerName::Dns("exit.example.com".into()));
    assert_eq!((reality.fingerprint, reality.hybrid), (Fingerprint::Chrome, Hybrid::AsFingerprint));
    assert!(!outbound(&plan, "p").common.udp);
}

#[test]
fn reality_takes_all_keys_and_our_extensions() {
    let keys = "flow: xtls-rprx-vision, servername: Www.Example.com, client-fingerprint: firefox, udp: true, network: tcp, encryption: none,";
    let plan = plan(&with_reality(
        keys,
        ", short-id: 0123, support-x25519mlkem768: false, spider-x: /, client-version: 26.3.27",
    ));
    let options = vless(outbound(&plan, "p"));
    assert_eq!(options.flow, Flow::Vision { udp443: true });
    let Security::Reality(reality) = &options.security else { panic!("{options:?}") };
    assert_eq!(reality.server_name, ServerName::Dns("Www.Example.com".into()));
    assert_eq!(reality.short_id.0, [0x01, 0x23, 0, 0, 0, 0, 0, 0]);
    assert_eq!((reality.fingerprint, reality.hybrid), (Fingerprint::Firefox, Hybrid::Strip));
    assert_eq!(reality.client_version.to_string(), "26.3.27");
    let exponent = crate::scene::plan(&with_reality("", ", short-id: 1e50, support_x25519mlkem768: true"));
    let Security::Reality(reality) = &vless(outbound(&exponent, "p")).security else { panic!() };
    assert_eq!((reality.short_id.0[..2].to_vec(), reality.hybrid), (vec![0x1e, 0x50], Hybrid::AsFingerprint));
}

#[test]
fn reality_warns_of_hellos_that_current_servers_refuse() {
    let refused = |text: &str| warnings(text).iter().any(|warning| warning.contains("X25519MLKEM768"));
    assert!(refused(&with_reality("", ", support-x25519mlkem768: false")));
    assert!(refused(&with_reality("client-fingerprint: ios,", "")));
    assert!(!refused(&with_reality("client-fingerprint: random,", "")));
}

#[test]
fn wrong_reality_options_are_named_but_not_repeated() {
    for (text, message) in [
        (with_reality("", ", short-id: 123"), "proxy 0: `short-id`: must be an even number of hexadecimal digits"),
        (with_reality("", ", mldsa65-verify: AAAA"), "proxy 0: `mldsa65-verify`: must decode to exactly 1952 bytes"),
        (with_reality("", ", client-version: 26"), "proxy 0: `client-version`: must be x.y.z"),
        (
            with_reality("client-fingerprint: android,", ""),
            "proxy 0: `client-fingerprint`: this preset speaks TLS 1.2 only",
        ),
        (with_reality("servername: 'a b',", ""), "proxy 0: `servername`: not a host name"),
        (with_reality("", "").replace("tls: true", "tls: false"), "`reality-opts` has an effect with `tls: true` only"),
        (
            with_reality("", "").replace(UUID, "00000000000000000000000000000000000000000"),
            "proxy 0: `uuid` is not a UUID",
        ),
        (with_reality("flow: xtls-rprx-direct,", ""), "proxy 0: unsupported xtls flow type: xtls-rprx-direct"),
        (with_reality("network: tpc,", ""), "proxy 0: unknown network 'tpc'"),
        (with_reality("encryption: aes,", ""), "proxy 0: unknown VLESS encryption"),
    ] {
        let error = only_error(&text);
        assert!(error.starts_with(message), "{text}\n{error}");
    }
}

/// A REALITY server shows strangers the real site with its real certificate. A client that fell back to ordinary TLS
/// would believe it, and show it the user id.
#[test]
fn reality_without_a_key_never_becomes_ordinary_tls() {
    let text = with_reality("", ", short-id: aa").replace("public-key", "public-kye");
    assert!(errors(&text).contains(&"proxy 0: `reality-opts` has no `public-key`".into()), "{:?}", errors(&text));
    let empty = one(&format!(
        "type: vless, server: a.b, port: 1, uuid: {UUID}, tls: true, reality-opts: {{public-key: '', short-id: ''}}"
    ));
    assert!(matches!(vless(outbound(&plan(&empty), "p")).security, Security::Tls(_)));
}

/// What is right but beyond us refuses connections; it never becomes something else.
#[test]
fn what_we_cannot_do_is_a_stub_that_refuses() {
    for (text, about) in [
        (with_reality("network: grpc,", ""), "`network: grpc` is not supported"),
        (with_reality("encryption: mlkem768x25519plus.native.0rtt.x,", ""), "VLESS encryption is not supported"),
        (
            one(&format!("type: vless, server: x.y, port: 1, uuid: {UUID}, flow: xtls-rprx-vision")),
            "only inside TLS or REALITY",
        ),
        (one("type: ss, server: x.y, port: 1, cipher: a, password: b"), "proxies of type ss are not supported"),
        (one("type: tuic, server: x.y, port: 1"), "proxies of type tuic are not supported"),
    ] {
        assert!(warnings(&text).iter().any(|warning| warning.contains(about)), "{:?}", warnings(&text));
        let plan = plan(&format!("{text}proxy-groups: [{{name: G, type: select, proxies: [p]}}]\n"));
        assert!(matches!(outbound(&plan, "p").kind, Kind::Reject), "{about}");
        assert!(outbound(&plan, "p").common.udp, "UDP would go on to the next rule");
    }
    let many: String = (0..50).map(|n| format!("  - {{name: n{n}, type: ss, server: x.y, port: 1}}\n")).collect();
    let about = warnings(&format!("proxies:\n{many}"));
    assert_eq!(about.len(), 1, "named once");
    assert!(about[0].ends_with("(and in 49 more places)"));
}

#[test]
fn proxies_that_are_wrong_are_refused_in_known_words() {
    for (text, message) in [
        (one("server: x.y"), "proxy 0: missing type"),
        (one("type: shadow"), "proxy 0: unsupport proxy type: shadow"),
        (one("type: vless, tls: true"), "proxy 0: '' has unset fields: port, server, uuid"),
        ("proxies: [{type: socks5}]".into(), "proxy 0: '' has unset fields: name, port, server"),
        (
            one("type: socks5, server: 'a b', port: 1"),
            "`server` must be a host name or an address: the name contains a character that host names do not have",
        ),
        (one("type: socks5, server: x.y, port: 0"), "`port` must be a port from 1 to 65535, found '0'"),
        (one("type: direct}\n  - {name: p, type: reject"), "proxy p is the duplicate name"),
        ("proxies: [{name: DIRECT, type: direct}]".into(), "proxy DIRECT is the duplicate name"),
        (one("type: direct, dialer-proxy: q"), "proxy [p] dialer-proxy [q] not found"),
        (one("type: direct, dialer-proxy: p"), "proxy [p] has circular dialer-proxy dependency"),
        (
            one("type: socks5, server: x.y, port: 1, tls: true, fingerprint: chrome"),
            "proxy 0: `fingerprint` must be a SHA-256 in hexadecimal (64 digits)",
        ),
        (
            one("type: socks5, server: x.y, port: 1, tls: true, certificate: '-----BEGIN X'"),
            "proxy 0: `certificate` needs `private-key` beside it",
        ),
        (
            one("type: socks5, server: x.y, port: 1, tls: true, private-key: ./none.pem"),
            "cannot read the file of `private-key`: there is no such file",
        ),
        (
            one("type: socks5, server: x.y, port: 1, tls: true, private-key: /etc/passwd"),
            "path is not subpath of home directory or SAFE_PATHS: of `private-key`",
        ),
        (one("type: http, server: x.y, port: 1, headers: {A: \"b\\r\\nC: d\"}"), "`A` is not a valid HTTP header"),
    ] {
        assert_eq!(errors(&text).first().map(String::as_str), Some(message), "{text}");
    }
}

#[test]
fn a_broken_proxy_is_one_error_and_not_one_for_everybody_who_uses_it() {
    let text = "\
proxies: [{name: a, type: vles}, {name: b, type: direct, dialer-proxy: a}]
proxy-groups: [{name: G, type: selekt, proxies: [a]}, {name: H, type: select, proxies: [a, G]}]
";
    assert_eq!(errors(text), ["proxy 0: unsupport proxy type: vles", "unsupported type: selekt"]);
}

#[test]
fn dialer_proxy_cycles_are_found_through_proxies_and_groups() {
    let two = "proxies: [{name: a, type: direct, dialer-proxy: b}, {name: b, type: direct, dialer-proxy: a}]";
    assert_eq!(errors(two).len(), 2);
    let group = "\
proxies: [{name: a, type: direct, dialer-proxy: G}, {name: b, type: direct}]
proxy-groups: [{name: G, type: select, proxies: [b, H]}, {name: H, type: select, proxies: [a]}]
";
    assert_eq!(only_error(group), "proxy [a] has circular dialer-proxy dependency");
    let fine = group.replace("proxies: [a]", "proxies: [b]");
    assert_eq!(outbound(&plan(&fine), "a").common.dialer_proxy, Some(Tag::new("G")));
}

#[test]
fn common_keys_and_upstreams() {
    let text = "\
interface-name: eth0
routing-mark: 7
keep-alive-idle: 30
keep-alive-interval: 5
proxies:
  - {name: d, type: direct, ip-version: ipv6-prefer, routing-mark: 0x10}
  - {name: r, type: reject}
  - {name: s, type: socks5, server: '2001:db8::1', port: 1080, username: u, interface-name: wg0, udp: true, ip-version: what}
  - {name: h, type: http, server: proxy.example.com, port: 8443, username: u, password: p, tls: true, sni: other.example.com, headers: {X-A: b}, skip-cert-verify: true}
  - name: pin
    type: http
    server: 192.0.2.7
    port: 8443
    tls: true
    fingerprint: 'AA:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb:aa:bb'
";
    let plan = plan(text);
    let direct = outbound(&plan, "DIRECT");
    assert_eq!((direct.common.socket.mark, direct.common.socket.interface.as_deref()), (7, Some("eth0")));
    assert_eq!(direct.common.socket.keep_alive.idle, Duration::from_secs(30));
    let d = outbound(&plan, "d");
    assert_eq!((d.common.ip_version, d.common.socket.mark, d.common.udp), (IpVersion::PreferV6, 16, true));
    let s = outbound(&plan, "s");
    assert_eq!((s.common.ip_version, s.common.socket.interface.as_deref()), (IpVersion::Dual, Some("wg0")));
    let Kind::Socks5(socks) = &s.kind else { panic!("{s:?}") };
    assert_eq!(socks.server.to_string(), "[2001:db8::1]:1080");
    let user = socks.credentials.as_ref().unwrap();
    assert_eq!((&*user.user, user.password.reveal()), ("u", ""));
    let Kind::Http(http) = &outbound(&plan, "h").kind else { panic!() };
    let tls = http.tls.as_ref().unwrap();
    assert_eq!((&*tls.server_name, http.headers[0].0.as_str()), ("other.example.com", "X-A"));
    assert!(matches!(tls.verify, Verify::Off));
    let Kind::Http(pinned) = &outbound(&plan, "pin").kind else { panic!() };
    let tls = pinned.tls.as_ref().unwrap();
    assert!(matches!(tls.verify, Verify::Pin(pin) if pin[0] == 0xaa && pin[31] == 0xbb));
    assert_eq!(tls.server_name, "192.0.2.7");
}

#[test]
fn the_global_ipv6_switch_reaches_every_outbound() {
    let text = "ipv6: false\nproxies: [{name: a, type: direct, ip-version: ipv6-prefer}, {name: b, type: direct, ip-version: ipv6}]\n";
    let plan = plan(text);
    assert_eq!(outbound(&plan, "DIRECT").common.ip_version, IpVersion::V4);
    assert_eq!(outbound(&plan, "a").common.ip_version, IpVersion::V4);
    assert!(matches!(outbound(&plan, "b").kind, Kind::Reject), "never the other family");
    assert!(warnings(text)[0].contains("contradicts"));
}

#[test]
fn plain_and_tls_vless() {
    let text = format!(
        "\
proxies:
  - {{name: plain, type: vless, server: x.y, port: 1, uuid: my-name, packet-encoding: packet}}
  - {{name: tls, type: vless, server: x.y, port: 1, uuid: {UUID}, tls: true, servername: z.y, alpn: [h2, http/1.1], packet-addr: true, client-fingerprint: chrome}}
"
    );
    let plan = plan(&text);
    let plain = vless(outbound(&plan, "plain"));
    assert!(matches!(plain.security, Security::None));
    assert_eq!(plain.packet_encoding, PacketEncoding::PacketAddr);
    let tls = vless(outbound(&plan, "tls"));
    assert_eq!(tls.packet_encoding, PacketEncoding::PacketAddr);
    let Security::Tls(options) = &tls.security else { panic!() };
    assert_eq!((&*options.server_name, options.alpn.len()), ("z.y", 2));
    assert!(warnings(&text)[0].contains("has an effect with REALITY only"));
}

fn members(text: &str, group: &str) -> Vec<String> {
    let plan = plan(text);
    let group = plan.groups.iter().find(|found| &*found.name == group).unwrap();
    group.members.iter().map(ToString::to_string).collect()
}

const NODES: &str = "\
proxies:
  - {name: 香港 02, type: socks5, server: x.y, port: 1}
  - {name: HK 01, type: http, server: x.y, port: 1}
  - {name: US 01, type: socks5, server: x.y, port: 1}
  - {name: expires soon, type: reject}
proxy-groups:
";

#[test]
fn groups_include_and_filter_as_mihomo_does() {
    let all = format!("{NODES}  - {{name: G, type: select, include-all: true}}\n");
    assert_eq!(members(&all, "G"), ["HK 01", "US 01", "expires soon", "香港 02"]);
    let explicit = format!(
        "{NODES}  - {{name: G, type: select, proxies: [US 01, DIRECT], include-all-proxies: true, filter: '(?i)hk|香港'}}\n"
    );
    assert_eq!(members(&explicit, "G"), ["US 01", "DIRECT", "HK 01", "香港 02"]);
    let ordered = format!("{NODES}  - {{name: G, type: select, include-all: true, filter: 'US`港`01'}}\n");
    assert_eq!(members(&ordered, "G"), ["US 01", "香港 02", "HK 01"]);
    let look_around =
        format!("{NODES}  - {{name: G, type: select, include-all: true, filter: '^(?!.*(expires|US)).*$'}}\n");
    assert_eq!(members(&look_around, "G"), ["HK 01", "香港 02"]);
    let excluded = format!(
        "{NODES}  - {{name: G, type: select, include-all: true, proxies: [DIRECT], exclude-filter: soon, exclude-type: 'socks5|direct'}}\n"
    );
    assert_eq!(members(&excluded, "G"), ["HK 01"]);
}

/// F-0.3: Mihomo would put DIRECT in.
#[test]
fn an_empty_group_refuses_and_never_goes_direct() {
    let used = format!(
        "{NODES}  - {{name: G, type: select, use: [sub]}}\nproxy-providers: {{sub: {{type: http, url: 'https://example.com/'}}}}\n"
    );
    assert_eq!(members(&used, "G"), ["REJECT"]);
    let refuses = "the group 'G' has no members (its providers have nothing for it yet): it refuses all connections";
    assert_eq!(warnings(&used), [refuses]);
    let direct = format!("empty-group: direct\n{used}");
    assert_eq!(members(&direct, "G"), ["COMPATIBLE"]);
    assert!(warnings(&direct)[0].ends_with("all its connections are DIRECT"));
    assert_eq!(only_error("empty-group: open\n"), "invalid empty-group: open");
    let filtered = format!("{NODES}  - {{name: G, type: select, include-all: true, filter: nothing}}\n");
    assert_eq!(members(&filtered, "G"), ["REJECT"]);
    let fallback =
        format!("{NODES}  - {{name: G, type: select, include-all: true, filter: nothing, empty-fallback: US 01}}\n");
    assert_eq!(members(&fallback, "G"), ["US 01"]);
}

#[test]
fn default_selected_is_the_first_choice() {
    let text = format!("{NODES}  - {{name: G, type: select, proxies: [US 01, HK 01], default-selected: HK 01}}\n");
    let GroupKind::Select { default } = &plan(&text).groups[0].kind else { panic!() };
    assert_eq!(default.as_deref(), Some("HK 01"));
    assert!(warnings(&text.replace("selected: HK", "selected: KH"))[0].contains("is not a member"));
}

/// F-D12
#[test]
fn groups_that_are_wrong_are_refused_in_known_words() {
    for (group, message) in [
        ("{type: select}", "proxy group 0: missing name"),
        ("{name: G}", "ProxyGroup G: '' has unset fields: type"),
        ("{name: '', type: select}", "proxy group[0]: format error"),
        ("{name: G, type: select}", "G: `use` or `proxies` missing"),
        ("{name: G, type: select, proxies: [x]}", "G: 'x' not found"),
        ("{name: G, type: select, use: [x]}", "G: 'x' not found"),
        ("{name: US 01, type: select, proxies: [DIRECT]}", "proxy group US 01: the duplicate name"),
        ("{name: REJECT, type: select, proxies: [DIRECT]}", "proxy group REJECT: the duplicate name"),
        (
            "{name: G, type: select, proxies: [DIRECT]}, {name: G, type: select, proxies: [DIRECT]}",
            "ProxyGroup G: duplicate group name",
        ),
        (
            "{name: G, type: select, proxies: [G]}",
            "loop is detected in ProxyGroup, please check following ProxyGroups: [G]",
        ),
        (
            "{name: a, type: select, proxies: [b, c]}, {name: b, type: select, proxies: [DIRECT, a]}, {name: c, type: select, proxies: [DIRECT]}, {name: d, type: select, proxies: [a]}",
            "loop is detected in ProxyGroup, please check following ProxyGroups: [a b]",
        ),
        (
            "{name: G, type: relay, proxies: [US 01, S]}, {name: S, type: select, proxies: [US 01]}",
            "G: only the first step of a relay can be 'S'",
        ),
        ("{name: G, type: select, use: [G]}", "proxy group G can't contains in `use`"),
        ("{name: G, type: fallback, proxies: [DIRECT], expected-status: 2xx}", "G: invalid range: 2xx"),
        (
            "{name: G, type: url-test, proxies: [DIRECT], tolerance: 70000}",
            "`tolerance` must be milliseconds from 0 to 65535",
        ),
        ("{name: G, type: smart, proxies: [DIRECT]}", "unsupported type: smart"),
        ("{name: G, type: load-balance, strategy: x, proxies: [DIRECT]}", "unsupported strategy: x"),
        (
            "{name: G, type: select, include-all: true, filter: nothing, empty-fallback: x}",
            "G: empty fallback proxy 'x' not found",
        ),
        ("{name: G, type: select, include-all: true, filter: '(a'}", "not a regular expression: (a"),
    ] {
        let error = only_error(&format!("{NODES}  [{group}]\n"));
        assert!(error.starts_with(message), "{group}\n{error}");
    }
}
