//! `type: wireguard` (mihomo-surface §5.5).

use std::time::Duration;

use adit_outbound::options::{IpVersion, Kind, WireGuard};
use adit_wireguard::options::{Addresses, Junk, Keepalive, Mtu, Obfuscation, Piece};

use crate::scene::{errors, loaded, only_error, outbound, plan, warnings, wireguard};

pub(crate) const PRIVATE: &str = "eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=";
pub(crate) const PUBLIC: &str = "Cr8hWlKvtDt7nrvf+f0brNQQzabAqrjfBvas9pmowjo=";
pub(crate) const SHARED: &str = "31aIhAPwktDGpH4JDhA8GNvjFXEf/a6+UaQRyOAiyfM=";

/// A proxy with the required keys and these.
fn one(keys: &str) -> String {
    let server =
        if keys.starts_with("server:") || keys.starts_with("peers:") { "" } else { "server: 192.0.2.1, port: 51820," };
    let ip = if keys.contains("ip: ") || keys.contains("ipv6: ") { "" } else { "ip: 10.0.0.2," };
    format!(
        "proxies:\n  - {{name: w, type: wireguard, {server} {ip} private-key: {PRIVATE}, public-key: {PUBLIC}, {keys}}}\n"
    )
}

fn options(keys: &str) -> WireGuard {
    wireguard(outbound(&plan(&one(keys)), "w")).clone()
}

fn nets(peer: &adit_wireguard::options::Peer) -> Vec<String> {
    peer.allowed_ips.iter().map(ToString::to_string).collect()
}

#[test]
fn the_short_form_has_mihomos_defaults() {
    let text = one("");
    assert_eq!(warnings(&text), [""; 0]);
    let plan = plan(&text);
    let options = wireguard(outbound(&plan, "w"));
    assert!(!outbound(&plan, "w").common.udp);
    assert_eq!(options.tunnel.private_key, PRIVATE.parse().unwrap());
    assert_eq!(options.tunnel.addresses, Addresses::V4([10, 0, 0, 2].into()));
    assert_eq!((options.tunnel.mtu, options.refresh), (Mtu::DEFAULT, None));
    assert_eq!(options.tunnel.obfuscation, None);
    let [peer] = &*options.tunnel.peers else { panic!("{options:?}") };
    assert_eq!(peer.public_key, PUBLIC.parse().unwrap());
    assert_eq!((&peer.preshared_key, peer.reserved, peer.keepalive), (&None, [0; 3], Keepalive::Off));
    assert_eq!(nets(peer), ["0.0.0.0/0"]);
    assert_eq!(options.endpoints[0].to_string(), "192.0.2.1:51820");
}

/// The example of Mihomo's documentation, long form.
#[test]
fn the_documented_example_with_peers() {
    let text = format!(
        "\
proxies:
  - name: \"wg\"
    type: wireguard
    private-key: {PRIVATE}
    ip: 172.16.0.2
    ipv6: fd01:5ca1:ab1e:80fa:ab85:6eea:213f:f4a5
    udp: true
    mtu: 1408
    reserved: \"U4An\"
    persistent-keepalive: 25
    refresh-server-ip-interval: 60
    ip-version: ipv4-prefer
    peers:
      - server: 162.159.192.1
        port: 2480
        public-key: {PUBLIC}
        allowed-ips: ['0.0.0.0/0']
        pre-shared-key: {SHARED}
        reserved: [209, 98, 59]
      - server: '[2001:db8::1]'
        port: 51820
        public-key: bmXOC+F1FxEMF9dyiK2H5/1SUtzH0JuVo51h2wPfgyo=
        allowed-ips: 10.1.2.3/8
"
    );
    assert_eq!(warnings(&text), [""; 0]);
    let plan = plan(&text);
    let common = &outbound(&plan, "wg").common;
    assert_eq!((common.udp, common.ip_version), (true, IpVersion::PreferV4));
    let options = wireguard(outbound(&plan, "wg"));
    assert_eq!(options.refresh, Some(Duration::from_secs(60)));
    let [first, second] = &*options.tunnel.peers else { panic!("{options:?}") };
    // Upstream writes the proxy's own bytes here.
    assert_eq!((first.reserved, second.reserved), ([209, 98, 59], [0x53, 0x80, 0x27]));
    assert_eq!(first.preshared_key, Some(SHARED.parse().unwrap()));
    assert_eq!((nets(first), nets(second)), (vec!["0.0.0.0/0".into()], vec!["10.0.0.0/8".into()]));
    assert_eq!(second.keepalive, Keepalive::Every(25.try_into().unwrap()));
    let endpoints: Vec<String> = options.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["162.159.192.1:2480", "[2001:db8::1]:51820"]);
}

#[test]
fn addresses_take_masks_and_either_key() {
    let addresses = |keys: &str| options(keys).tunnel.addresses;
    let (v4, v6) = ("172.16.0.2".parse().unwrap(), "fd00::2".parse().unwrap());
    assert_eq!(addresses("ip: 172.16.0.2/32, ipv6: 'fd00::2/128'"), Addresses::Both(v4, v6));
    assert_eq!(addresses("ip: 172.16.0.2/12, ipv6: ''"), Addresses::V4(v4));
    assert_eq!(addresses("ipv6: 'fd00::2/64'"), Addresses::V6(v6));
    assert_eq!(addresses("ip: 'fd00::2', ipv6: 172.16.0.2"), Addresses::Both(v4, v6));
    assert_eq!(nets(&options("ipv6: 'fd00::2/64'").tunnel.peers[0]), ["::/0"]);
}

#[test]
fn reserved_in_every_spelling() {
    let reserved = |value: &str| options(&format!("reserved: {value}")).tunnel.peers[0].reserved;
    for value in ["[209, 98, 59]", "0WI7", "'209,98,59'", "[0xd1, 0x62, 0x3b]"] {
        assert_eq!(reserved(value), [209, 98, 59], "{value}");
    }
    assert_eq!((reserved("[]"), reserved("''")), ([0; 3], [0; 3]));
}

#[test]
fn endpoints_are_names_or_addresses() {
    let endpoint = |server: &str| options(&format!("server: {server}, port: 1")).endpoints[0].to_string();
    assert_eq!(endpoint("engage.cloudflareclient.com"), "engage.cloudflareclient.com:1");
    assert_eq!(endpoint("'[2606:4700:d0::a29f:c001]'"), "[2606:4700:d0::a29f:c001]:1");
    assert_eq!(endpoint("'2606:4700:d0::a29f:c001'"), "[2606:4700:d0::a29f:c001]:1");
}

#[test]
fn amnezia_options_become_an_obfuscation() {
    let text = one(
        "reserved: [1, 2, 3], amnezia-wg-option: {version: 2, jc: 4, jmin: 40, jmax: 70, s1: 0, s2: 0, h1: 1, h2: 2, h4: 3, h3: 4, i1: '<b 0xce000001><t><r 16>', i2: '', j1: '', itime: 0}",
    );
    let found = warnings(&text);
    assert_eq!(found, ["`reserved` has no effect with `amnezia-wg-option`: its bytes belong to `h1` to `h4`"]);
    let plan = plan(&text);
    let made = wireguard(outbound(&plan, "w")).tunnel.obfuscation.clone().unwrap();
    assert_eq!(made.junk, Junk { count: 4, length: Some(40..=70) });
    assert_eq!((made.header.cookie, made.header.data), (4..=4, 3..=3));
    assert_eq!(made.imitation, [[Piece::Bytes(vec![0xce, 0, 0, 1]), Piece::Time, Piece::Random(16)]]);
    let ranges = options("amnezia-wg-option: {h1: 100-200, h2: '201-300', S3: 1}");
    assert_eq!(ranges.tunnel.obfuscation.unwrap().header.initiation, 100..=200);
    assert_eq!(options("amnezia-wg-option: {jc: 0, s1: 0}").tunnel.obfuscation, None::<Obfuscation>);
}

/// What we cannot say in a server's dialect is not said at all.
#[test]
fn newer_amnezia_refuses_and_names_the_key() {
    for (option, about) in [
        ("version: 3", "AmneziaWG version 3 is not supported; this proxy refuses all connections"),
        ("j1: '<b 0x00>'", "`j1` of `amnezia-wg-option` is not supported"),
        ("itime: 60", "`itime` of `amnezia-wg-option` is not supported"),
        ("header-protection-key: abc", "`header-protection-key` of `amnezia-wg-option` is not supported"),
        ("random-trailers: true", "`random-trailers` of `amnezia-wg-option` is not supported"),
    ] {
        let text = one(&format!("amnezia-wg-option: {{{option}}}"));
        assert!(warnings(&text)[0].starts_with(about), "{:?}", warnings(&text));
        assert!(matches!(outbound(&plan(&text), "w").kind, Kind::Reject), "{option}");
    }
}

#[test]
fn names_are_asked_inside_the_tunnel_if_wanted() {
    let remote = |keys: &str| options(keys).remote_dns.map(|dns| format!("{dns:?}"));
    let two = remote("remote-dns-resolve: true, dns: [1.1.1.1, 'tls://8.8.8.8', 1.1.1.1]").unwrap();
    assert_eq!(two, r#"["udp://1.1.1.1:53", "tls://8.8.8.8:853"]"#);
    assert!(remote("remote-dns-resolve: true, dns: 1.1.1.1").is_some());
    assert!(remote("dns: [1.1.1.1]").is_none());
    assert!(remote("remote-dns-resolve: true, dns: []").is_none());
    for (dns, message, marked) in [
        ("[1.1.1.1, ftp://x]", "proxy 0: `dns`: ", "ftp"),
        (
            "[https://dns.example/q]",
            "proxy 0: `dns`: the nameserver dns.example is given by name",
            "[https://dns.example/q]",
        ),
        ("[system]", "proxy 0: `dns`: `system` asks beside the way out", "[system]"),
    ] {
        let text = one(&format!("remote-dns-resolve: true, dns: {dns}"));
        assert!(only_error(&text).starts_with(message), "{}", only_error(&text));
        let loaded = loaded(&text);
        assert_eq!(&text[loaded.problems.iter().next().unwrap().span.clone()], marked);
    }
}

#[test]
fn keys_without_effect_are_named_where_they_matter() {
    for (keys, about) in [
        ("workers: 4", Some("`workers` has no effect")),
        ("workers: 1", None),
        ("dns: [1.1.1.1]", Some("`dns` has no effect without `remote-dns-resolve: true`")),
        ("remote-dns-resolve: true", Some("`remote-dns-resolve` has no effect without `dns`")),
        ("remote-dns-resolve: false, dns: []", None),
        ("remote-dns-resolve: true, dns: ['1.1.1.1#RULES']", Some("a way out behind `#` has no effect in the `dns`")),
        ("ip-stack: {mode: gvisor}", Some("`ip-stack` has no effect")),
        ("ip-stack: {mode: auto, congestion-controller: cubic}", None),
        ("allowed-ips: [10.0.0.0/8]", Some("`allowed-ips` has no effect without `peers`")),
        ("allowed-ips: ['0.0.0.0/0', '::/0']", None),
        ("allowed-ips: 0.0.0.0/0", None),
        (
            &format!("peers: [{{server: x.y, port: 1, public-key: {PUBLIC}, allowed-ips: ['::/0']}}]"),
            Some("`public-key` beside `peers` has no effect"),
        ),
        ("dialer-proxy: d}\n  - {name: d, type: socks5, server: x.y, port: 1", Some("'w' reaches its peers over UDP")),
        ("dialer-proxy: d}\n  - {name: d, type: http, server: x.y, port: 1, udp: true", Some("'w' reaches its peers")),
        ("dialer-proxy: d}\n  - {name: d, type: socks5, server: x.y, port: 1, udp: true", None),
    ] {
        let text = one(keys);
        let found = warnings(&text);
        assert_eq!(found.len(), usize::from(about.is_some()), "{keys}: {found:?}");
        assert!(about.is_none_or(|about| found[0].starts_with(about)), "{found:?}");
        assert!(matches!(outbound(&plan(&text), "w").kind, Kind::WireGuard(_)));
    }
}

#[test]
fn errors_are_mihomos_where_it_has_them() {
    let peer = |keys: &str| {
        one(&format!("peers: [{{server: x.y, port: 1, {keys}}}]")).replace("server: 192.0.2.1, port: 51820,", "")
    };
    let ok = format!("public-key: {PUBLIC}, allowed-ips: [0.0.0.0/0]");
    for (text, message) in [
        (one("").replace("ip: 10.0.0.2,", ""), "proxy 0: missing local address"),
        (one("ip: 10.0.0"), "proxy 0: ip address parse error: '10.0.0' is not an address"),
        (one("ipv6: 'fd00::2/129'"), "proxy 0: ipv6 address parse error: 'fd00::2/129' is not an address"),
        (
            one("ip: 10.0.0.2, ipv6: 10.0.0.3"),
            "proxy 0: `ip` and `ipv6` are of one family; a tunnel has one address of each",
        ),
        (one("").replace(PRIVATE, "abc"), "proxy 0: decode private key: a key is base64, as `wg genkey` prints it"),
        (one("").replace(PRIVATE, "AAAA"), "proxy 0: decode private key: a key has 32 bytes, this one has 3"),
        (one("").replace(PUBLIC, "abc"), "proxy 0: decode peer public key: a key is base64, as `wg genkey` prints it"),
        (one("pre-shared-key: abc"), "proxy 0: decode pre shared key: a key is base64, as `wg genkey` prints it"),
        (one("reserved: [1, 2]"), "proxy 0: invalid reserved value, required 3 bytes, got 2"),
        (one("reserved: AAAAAA=="), "proxy 0: invalid reserved value, required 3 bytes, got 4"),
        (one("reserved: [1, 2, 256]"), "`reserved` must be three numbers from 0 to 255, found '256'"),
        (one("mtu: 500"), "proxy 0: `mtu` must be from 576 to 65440 bytes here, found 500"),
        (one("ipv6: 'fd00::2', mtu: 1279"), "proxy 0: `mtu` must be from 1280 to 65440 bytes here, found 1279"),
        (one("mtu: 65441"), "proxy 0: `mtu` must be from 576 to 65440 bytes here, found 65441"),
        (one("mtu: big"), "`mtu` must be a number of bytes, found 'big'"),
        (
            one("persistent-keepalive: 65536"),
            "`persistent-keepalive` must be a number of seconds from 0 to 65535, found '65536'",
        ),
        (
            one("server: 'a b', port: 1"),
            "`server` must be a host name or an address: the name contains a character that host names do not have",
        ),
        (one("amnezia-wg-option: {jc: 200}"), "proxy 0: `jc` must be a number from 0 to 128, found '200'"),
        (peer("allowed-ips: [0.0.0.0/0]"), "proxy 0: 'peers[0]' has unset fields: public-key"),
        (peer(&format!("public-key: {PUBLIC}")), "proxy 0: missing allowed_ips for peer 0"),
        (
            peer("public-key: abc, allowed-ips: [0.0.0.0/0]"),
            "proxy 0: decode public key for peer 0: a key is base64, as `wg genkey` prints it",
        ),
        (
            peer(&format!("{ok}, pre-shared-key: abc")),
            "proxy 0: decode pre shared key for peer 0: a key is base64, as `wg genkey` prints it",
        ),
        (peer(&format!("{ok}, reserved: [1]")), "proxy 0: invalid reserved value for peer 0, required 3 bytes, got 1"),
        (peer(&ok.replace("0.0.0.0/0", "10.0.0.0/33")), "proxy 0: '10.0.0.0/33' is not a prefix"),
        (
            "proxies: [{name: w, type: wireguard, ip: 10.0.0.2}]".into(),
            "proxy 0: '' has unset fields: port, private-key, public-key, server",
        ),
    ] {
        assert_eq!(only_error(&text), message, "{text}");
        let shown = loaded(&text).problems.render(false);
        assert!(!shown.contains(PRIVATE) && !shown.contains(SHARED), "{shown}");
    }
}

#[test]
fn problems_point_at_the_value() {
    let text = format!(
        "\
proxies:
  - name: w
    type: wireguard
    ip: 10.0.0.2
    private-key: {PRIVATE}
    peers:
      - server: x.y
        port: 1
        public-key: {PUBLIC}
        allowed-ips:
          - 10.0.0.0/8
          - 10.0.0.0/99
        reservd: [1, 2, 3]
      - server: x.y
    amnezia-wg-option:
      h1: 5
      h2: 5
"
    );
    let loaded = loaded(&text);
    let found: Vec<(usize, &str)> =
        loaded.problems.iter().map(|problem| (problem.line, &text[problem.span.clone()])).collect();
    assert_eq!(
        found,
        [(12, "10.0.0.0/99"), (13, "reservd"), (14, "server"), (14, "server"), (17, "5")],
        "{}",
        loaded.problems.render(false)
    );
    assert_eq!(loaded.problems.iter().nth(1).unwrap().hint.as_deref(), Some("did you mean 'reserved'?"));
    assert_eq!(errors(&text)[2], "proxy 0: 'peers[1]' has unset fields: port, public-key");
}
