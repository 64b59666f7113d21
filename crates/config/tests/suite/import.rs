//! `adit import`: `wg-quick` files and links become YAML that means the same.

use adit_config::{Severity, Source, import, link};
use adit_outbound::options::{Kind, WireGuard};
use adit_wireguard::options::{Addresses, Junk, Keepalive, Mtu};

use crate::scene::{PUBLIC_KEY, UUID, outbound, plan, vless, warnings, wireguard};
use crate::wireguard::{PRIVATE, PUBLIC, SHARED};

fn conf(name: &str, text: &str) -> Source {
    Source { name: name.into(), text: text.into(), home: "/nonexistent/adit".into(), overrides: Default::default() }
}

/// Imports a file and loads what came out, which nothing is wrong with. The second value is the warnings.
#[track_caller]
fn round(name: &str, text: &str) -> (WireGuard, Vec<String>, String) {
    let (imports, problems) = import::file(&conf(name, text));
    assert!(!problems.has_errors(), "{}", problems.render(false));
    let [only] = &*imports else { panic!("{imports:?}") };
    let yaml = import::config(&imports);
    assert_eq!(warnings(&yaml), [""; 0], "{yaml}");
    let plan = plan(&yaml);
    let proxy = outbound(&plan, only.name());
    assert!(proxy.common.udp);
    let said = problems.iter().map(ToString::to_string).collect();
    (wireguard(proxy).clone(), said, yaml)
}

fn nets(options: &WireGuard, peer: usize) -> String {
    let nets = &options.tunnel.peers[peer].allowed_ips;
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn mullvad() {
    let (options, said, yaml) = round(
        "de-fra-wg-001.conf",
        &format!(
            "[Interface]\n# Device: Brave Otter\nPrivateKey = {PRIVATE}\nAddress = 10.66.1.2/32,fc00:bbbb:bbbb:bb01::3:102/128\nDNS = 10.64.0.1\n\n[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 0.0.0.0/0,::0/0\nEndpoint = 185.213.155.73:51820\n"
        ),
    );
    assert_eq!(said, [""; 0]);
    assert_eq!(options.tunnel.private_key, PRIVATE.parse().unwrap());
    let v6 = "fc00:bbbb:bbbb:bb01::3:102".parse().unwrap();
    assert_eq!(options.tunnel.addresses, Addresses::Both([10, 66, 1, 2].into(), v6));
    assert_eq!(nets(&options, 0), "0.0.0.0/0 ::/0");
    assert_eq!(options.endpoints[0].to_string(), "185.213.155.73:51820");
    assert!(options.remote_dns.is_some(), "names are looked up where wg-quick would");
    let expected = format!(
        "\
mixed-port: 7890
mode: rule

proxies:
  - name: de-fra-wg-001
    type: wireguard
    server: \"185.213.155.73\"
    port: 51820
    ip: \"10.66.1.2\"
    ipv6: \"fc00:bbbb:bbbb:bb01::3:102\"
    private-key: {PRIVATE}
    public-key: {PUBLIC}
    udp: true
    remote-dns-resolve: true
    dns: [\"10.64.0.1\"]

rules:
  - MATCH,de-fra-wg-001
"
    );
    assert_eq!(yaml, expected);
}

/// As wgcf and its kin write it, for Cloudflare WARP.
#[test]
fn warp_with_reserved() {
    let (options, said, _) = round(
        "wgcf-profile.conf",
        &format!(
            "[Interface]\r\nPrivateKey = {PRIVATE}\r\nAddress = 172.16.0.2/32\r\nAddress = 2606:4700:110:8a07:c9b6:2e4b:59b2:d428/128\r\nDNS = 1.1.1.1\r\nDNS = 2606:4700:4700::1111\r\nMTU = 1280\r\nReserved = 209, 98, 59\r\n[Peer]\r\nPublicKey = bmXOC+F1FxEMF9dyiK2H5/1SUtzH0JuVo51h2wPfgyo=\r\nAllowedIPs = 0.0.0.0/0\r\nAllowedIPs = ::/0\r\nEndpoint = engage.cloudflareclient.com:2408\r\n"
        ),
    );
    assert_eq!(said, [""; 0]);
    assert_eq!((options.tunnel.peers[0].reserved, options.tunnel.mtu.bytes()), ([209, 98, 59], 1280));
    assert_eq!(options.endpoints[0].to_string(), "engage.cloudflareclient.com:2408");
}

/// Comments behind values, keys in small letters, a byte order mark, no line end at the end.
#[test]
fn proton_by_hand() {
    let (options, said, _) = round(
        "/home/joe/proton.conf",
        &format!(
            "\u{feff}[interface]\n; by hand\nprivatekey={PRIVATE}   # mine\naddress=10.2.0.2/32\ndns=10.2.0.1\n\n[PEER]\n# NL#42\npublickey = {PUBLIC}\nPRESHAREDKEY = {SHARED}\nallowedips = 0.0.0.0/1, 128.0.0.0/1\nendpoint = 185.107.56.1:51820\npersistentkeepalive = 25"
        ),
    );
    assert_eq!(said, [""; 0]);
    let peer = &options.tunnel.peers[0];
    assert_eq!(peer.preshared_key, Some(SHARED.parse().unwrap()));
    assert_eq!(peer.keepalive, Keepalive::Every(25.try_into().unwrap()));
    assert_eq!((nets(&options, 0), options.tunnel.mtu), ("0.0.0.0/0".into(), Mtu::DEFAULT));
}

#[test]
fn amnezia() {
    let text = format!(
        "[Interface]\nAddress = 10.8.1.4/32\nDNS = 1.1.1.1, 1.0.0.1\nPrivateKey = {PRIVATE}\nJc = 4\nJmin = 40\nJmax = 70\nS1 = 86\nS2 = 57\nS3 = 10\nS4 = 0\nH1 = 1000-2000\nH2 = 2001\nH3 = 1234567891\nH4 = 4294967295\nI1 = <b 0xc30000000108><r 16><t>\nI2 = \nItime = 0\n[Peer]\nPublicKey = {PUBLIC}\nPresharedKey = {SHARED}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 198.51.100.7:37123\nPersistentKeepalive = 25\nAdvancedSecurity = on\n"
    );
    let (options, said, yaml) = round("awg.conf", &text);
    assert_eq!(
        said,
        ["awg.conf:25:1: warning: `AdvancedSecurity` is not kept: the keys of [Interface] say it already"]
    );
    let made = options.tunnel.obfuscation.unwrap();
    assert_eq!(made.junk, Junk { count: 4, length: Some(40..=70) });
    assert_eq!((made.header.initiation, made.header.data), (1000..=2000, u32::MAX..=u32::MAX));
    assert_eq!((made.prefix.initiation, made.imitation.len()), (86, 1));
    assert!(yaml.contains("      h1: \"1000-2000\"\n      h2: 2001\n"), "{yaml}");
}

#[test]
fn ipv6_only() {
    let (options, _, _) = round(
        "six.conf",
        &format!(
            "[Interface]\nPrivateKey={PRIVATE}\nAddress=fd00::2/64\n[Peer]\nPublicKey={PUBLIC}\nAllowedIPs=::/0\nEndpoint=[2001:db8::1]:51820\n"
        ),
    );
    assert_eq!(options.tunnel.addresses, Addresses::V6("fd00::2".parse().unwrap()));
    assert_eq!(options.endpoints[0].to_string(), "[2001:db8::1]:51820");
}

/// An office: two peers, each with its networks. What leads elsewhere goes there directly.
#[test]
fn several_peers_for_some_networks() {
    let (options, said, yaml) = round(
        "office.conf",
        &format!(
            "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.0.0.2/24\nAddress = 10.9.0.2/24\nDNS = 10.0.0.1, office.example, 9.9.9.9, fd00::1\n[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 10.0.0.0/24, 192.168.10.5\nEndpoint = a.example.com:1\nPersistentKeepalive = 25\n[Peer]\nPublicKey = bmXOC+F1FxEMF9dyiK2H5/1SUtzH0JuVo51h2wPfgyo=\nAllowedIPs = fd00:1::/64\nEndpoint = b.example.com:2\nPersistentKeepalive = 15\n[Peer]\nPublicKey = Z1XXLsKYkYxuiYjJIkRvtIKFepCYHTgON+GwPq7SOV4=\nAllowedIPs = 10.0.0.9/32\n"
        ),
    );
    assert_eq!(
        said,
        [
            "office.conf:4:11: warning: `10.9.0.2` is not kept: a tunnel has one address of each family",
            "office.conf:5:17: warning: the search domain 'office.example' is not kept",
            "office.conf:5:33: warning: the DNS server 9.9.9.9 is not kept: no peer's AllowedIPs hold it",
            "office.conf:5:42: warning: the DNS server fd00::1 is not kept: there is no Address of its family",
            "office.conf:10:1: warning: peers have different `PersistentKeepalive`s; all of them get 15 s",
            "office.conf:16:1: warning: this [Peer] is not kept: it has no `Endpoint`, and nobody connects to us",
        ]
    );
    assert_eq!((nets(&options, 0), nets(&options, 1)), ("10.0.0.0/24 192.168.10.5/32".into(), "fd00:1::/64".into()));
    assert_eq!(options.tunnel.peers[0].keepalive, Keepalive::Every(15.try_into().unwrap()));
    let rules = yaml.split("rules:\n").nth(1).unwrap();
    assert_eq!(
        rules,
        "  - IP-CIDR,10.0.0.0/24,office\n  - IP-CIDR,192.168.10.5/32,office\n  - \"IP-CIDR,fd00:1::/64,office\"\n  - MATCH,DIRECT\n"
    );
}

/// What `wg-quick` does to the host is not done, and said.
#[test]
fn what_is_not_kept_is_said_with_its_line() {
    let (_, said, _) = round(
        "wg0.conf",
        &format!(
            "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.0.0.2\nListenPort = 51820\nFwMark = 0xca6c\nTable = off\nPreUp = echo secret\nPostUp = iptables -A FORWARD -i %i -j ACCEPT; echo hunter2\nPostDown = iptables -D FORWARD -i %i\nSaveConfig = true\nAdress = 10.0.0.3\n[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 0.0.0.0/0\nEndpoint = a.b:1\nEndpoint = a.b:2\n"
        ),
    );
    assert_eq!(
        said,
        [
            "wg0.conf:4:1: warning: `ListenPort` is not kept: the tunnel is the side that calls; it takes any free port",
            "wg0.conf:5:1: warning: `FwMark` is not kept (`routing-mark` of the proxy does the same, and needs CAP_NET_ADMIN)",
            "wg0.conf:6:1: warning: `Table` is not kept: the host's routes stay as they are",
            "wg0.conf:7:1: warning: `PreUp` is not kept: no commands are run",
            "wg0.conf:8:1: warning: `PostUp` is not kept: no commands are run",
            "wg0.conf:9:1: warning: `PostDown` is not kept: no commands are run",
            "wg0.conf:10:1: warning: `SaveConfig` is not kept: nothing writes to the configuration",
            "wg0.conf:11:1: warning: unknown key `Adress` in [Interface]; it is not kept (did you mean 'Address'?)",
            "wg0.conf:16:1: warning: `Endpoint` is there twice; the last one counts",
        ]
    );
}

#[test]
fn files_that_are_wrong_are_refused_with_their_line() {
    let good = format!(
        "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.0.0.2\n[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 0.0.0.0/0\nEndpoint = a.b:1\n"
    );
    for (from, to, message) in [
        (format!("PrivateKey = {PRIVATE}\n"), String::new(), "1:1: error: `PrivateKey` is missing"),
        (PRIVATE.into(), "hunter2".into(), "2:14: error: `PrivateKey`: a key is base64, as `wg genkey` prints it"),
        (PUBLIC.into(), "AAAA".into(), "5:13: error: `PublicKey`: a key has 32 bytes, this one has 3"),
        ("Address = 10.0.0.2\n".into(), String::new(), "1:1: error: missing local address (add `Address`)"),
        (
            "10.0.0.2".into(),
            "10.0.0".into(),
            "3:11: error: ip address parse error: '10.0.0' is not an address (it looks like 10.0.0.2 or fd00::2, a mask may follow)",
        ),
        (
            "Address =".into(),
            "MTU = 100\nAddress =".into(),
            "3:7: error: `mtu` must be from 576 to 65440 bytes here, found 100 (1280 fits through nearly everything)",
        ),
        ("Address =".into(), "MTU = x\nAddress =".into(), "3:7: error: `MTU` must be a number of bytes, found 'x'"),
        (
            "Address =".into(),
            "J1 = <b 0x00>\nAddress =".into(),
            "3:1: error: `J1` belongs to an AmneziaWG that is not supported (1.0, 1.5 without J1 to J3, and 2.0 are)",
        ),
        (
            "Address =".into(),
            "HeaderProtectionKey = hunter2\nAddress =".into(),
            "3:1: error: `HeaderProtectionKey` belongs to an AmneziaWG that is not supported (1.0, 1.5 without J1 to J3, and 2.0 are)",
        ),
        (
            "Address =".into(),
            "Jc = 999\nAddress =".into(),
            "3:6: error: `jc` must be a number from 0 to 128, found '999'",
        ),
        (
            "0.0.0.0/0".into(),
            "0.0.0.0/0, 10.0.0.0/40".into(),
            "6:25: error: '10.0.0.0/40' is not a prefix (it looks like 10.0.0.0/8 or fd00::/8)",
        ),
        (
            "AllowedIPs = 0.0.0.0/0".into(),
            String::new(),
            "4:1: error: this [Peer] has no `AllowedIPs`: nothing would go to it (AllowedIPs = 0.0.0.0/0, ::/0 is everything)",
        ),
        (format!("PublicKey = {PUBLIC}"), String::new(), "4:1: error: this [Peer] has no `PublicKey`"),
        (
            "a.b:1".into(),
            "a.b".into(),
            "7:12: error: `Endpoint` must be a host and a port, found 'a.b' (it looks like vpn.example.com:51820 or [2001:db8::1]:51820)",
        ),
        (
            "Endpoint = a.b:1\n".into(),
            "PersistentKeepalive = often\nEndpoint = a.b:1\n".into(),
            "7:23: error: `PersistentKeepalive` must be off or a number of seconds from 0 to 65535, found 'often'",
        ),
        ("[Peer]".into(), "[Pear]".into(), "4:1: error: unknown section [Pear] (did you mean 'Peer'?)"),
        ("[Interface]\n".into(), "[Interface]\nhello\n".into(), "2:1: error: neither a `[Section]` nor `Key = value`"),
        (
            "[Interface]\n".into(),
            "MTU = 1280\n[Interface]\n".into(),
            "1:1: error: `MTU` stands before the first `[Section]` (the file begins with [Interface])",
        ),
        (good.clone(), "\n".into(), "1:1: error: there is no [Interface] section: this is no wg-quick file"),
        (
            "Endpoint = a.b:1\n".into(),
            String::new(),
            "4:1: error: there is no [Peer] with an `Endpoint`: nobody to connect to",
        ),
        ("Reserved".into(), String::new(), ""),
    ] {
        let (imports, problems) = import::file(&conf("wg0.conf", &good.replace(&from, &to)));
        let errors: Vec<String> =
            problems.iter().filter(|problem| problem.severity == Severity::Error).map(ToString::to_string).collect();
        if message.is_empty() {
            assert_eq!((errors.len(), imports.len()), (0, 1));
            continue;
        }
        assert_eq!(errors, [format!("wg0.conf:{message}")]);
        assert!(imports.is_empty());
        let shown = problems.render(false);
        for secret in ["hunter2", PRIVATE] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// F-L2: keys are hidden even under names that are nearly right, and commands wholly.
#[test]
fn secrets_of_files_are_not_shown() {
    let text = format!(
        "[Interface]\nPrivatKey = hunter2\nPrivate_Key = hunter2\nPrivateKey = {PRIVATE}hunter2\nPostUp = curl hunter2 # hunter2\nhello {PRIVATE}\nwireguard://{PRIVATE}@a.b=1\n[Peer]\nPreSharedKye = hunter2\nPresharedKey = hunter2\n"
    );
    let (imports, problems) = import::file(&conf("wg0.conf", &text));
    assert!(problems.has_errors() && imports.is_empty());
    for shown in [problems.render(false), format!("{problems:?}")] {
        assert!(!shown.contains("hunter2") && !shown.contains(PRIVATE.trim_end_matches('=')), "{shown}");
    }
}

#[test]
fn links_become_yaml() {
    let reality = format!(
        "vless://{UUID}@exit.example.com:443?security=reality&pbk={PUBLIC_KEY}&sid=0123456789abcdef&sni=www.example.com&fp=firefox&flow=xtls-rprx-vision#home, exit"
    );
    let tls =
        format!("vless://{UUID}@a.b:1?security=tls&alpn=h2%2Chttp%2F1.1&allowInsecure=1&packetEncoding=packetaddr#T");
    let links = [
        &*reality,
        &tls,
        "socks5://us%3Aer:p%22%40ss@192.0.2.1:1080#office",
        "https://u:p@proxy.example.com:8443?sni=c.d#DIRECT",
        "wireguard://eCtXsJZ27%2B4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU%3D@x.y:1?publickey=Cr8hWlKvtDt7nrvf%2Bf0brNQQzabAqrjfBvas9pmowjo%3D&address=10.0.0.2/32&reserved=1,2,3#w",
    ];
    let text = links.join("\n");
    let (imports, problems) = import::file(&conf("links.txt", &format!("# mine\n\n{text}\n")));
    assert!(!problems.has_errors(), "{}", problems.render(false));
    let names: Vec<&str> = imports.iter().map(import::Import::name).collect();
    assert_eq!(names, ["home  exit", "T", "office", "DIRECT-1", "w"]);
    let yaml = import::config(&imports);
    assert_eq!(warnings(&yaml), [""; 0], "{yaml}");
    let plan = plan(&yaml);
    assert_eq!(plan.groups[0].members.len(), 5);
    for (text, name) in links.iter().zip(names) {
        // VLESS in YAML lets QUIC pass where Xray's links do not; all else is equal.
        let linked = format!("{:?}", link::parse(text).unwrap().kind).replace("udp443: false", "udp443: true");
        assert_eq!(format!("{:?}", outbound(&plan, name).kind), linked, "{yaml}");
    }
    assert_eq!(vless(outbound(&plan, "home  exit")).id, vless(&link::parse(&reality).unwrap()).id);
    let Kind::Socks5(socks) = &outbound(&plan, "office").kind else { panic!() };
    assert_eq!(socks.credentials.as_ref().unwrap().password.reveal(), "p\"@ss");
}

#[test]
fn wrong_links_of_a_file_have_their_line() {
    let text = format!("socks5://192.0.2.1#a\n  vless://{UUID}@a.b\n");
    let (imports, problems) = import::file(&conf("links.txt", &text));
    assert_eq!(imports.len(), 1);
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["links.txt:2:3: error: the link has no port"]);
    assert!(!problems.render(false).contains("5783"));
}

/// A file comes from anywhere: cut or damaged at every byte, it is refused or read, never a panic.
#[test]
fn damaged_files_are_handled() {
    let text = format!(
        "\u{feff}[Interface]\r\nPrivateKey = {PRIVATE} # é\nAddress = 10.0.0.2/24, fd00::2\nJc = 3\nJmax = 4\nI1 = <b 0x00>\n[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 0.0.0.0/0\nEndpoint = [::1]:1\n"
    );
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        for byte in ["", "\u{0}", "é", "#", "=", "[", "]", ",", "\n", "\u{feff}"] {
            let (imports, problems) = import::file(&conf("x", &format!("{}{byte}{}", &text[..end], &text[end..])));
            let _ = (import::config(&imports), byte.is_empty().then(|| problems.render(false)));
        }
    }
}
