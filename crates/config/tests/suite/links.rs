//! Share links (vless-reality §9.3).

use adit_config::link::parse;
use adit_outbound::options::{Kind, Verify};
use adit_outbound::vless::{Flow, PacketEncoding, Security};
use adit_reality::{Fingerprint, Hybrid, ServerName};
use adit_wireguard::options::{Addresses, Keepalive};

use crate::scene::{PUBLIC_KEY, UUID, vless, wireguard};
use crate::wireguard::{PRIVATE, PUBLIC, SHARED};

fn reality(params: &str) -> String {
    format!("vless://{UUID}@exit.example.com:443?security=reality&pbk={PUBLIC_KEY}{params}#home%20exit%20%F0%9F%87%A9")
}

#[test]
fn a_reality_link_means_the_same_as_the_yaml() {
    let link = reality(
        "&sid=0123456789abcdef&sni=Www.Example.com&fp=firefox&flow=xtls-rprx-vision&type=tcp&encryption=none&spx=%2F&headerType=none",
    );
    let outbound = parse(&link).unwrap();
    assert_eq!(&*outbound.name, "home exit 🇩");
    assert!(outbound.common.udp);
    let options = vless(&outbound);
    assert_eq!(options.server.to_string(), "exit.example.com:443");
    // Xray's meaning: without the suffix, QUIC is refused.
    assert_eq!(options.flow, Flow::Vision { udp443: false });
    let Security::Reality(linked) = &options.security else { panic!() };
    assert_eq!((linked.fingerprint, linked.hybrid), (Fingerprint::Firefox, Hybrid::AsFingerprint));

    let yaml = format!(
        "proxies: [{{name: p, type: vless, server: exit.example.com, port: 443, uuid: {UUID}, tls: true, servername: Www.Example.com, client-fingerprint: firefox, reality-opts: {{public-key: {PUBLIC_KEY}, short-id: 0123456789abcdef}}}}]"
    );
    let plan = crate::scene::plan(&yaml);
    let written = vless(crate::scene::outbound(&plan, "p"));
    let Security::Reality(read) = &written.security else { panic!() };
    assert_eq!(written.id, options.id);
    assert_eq!(
        (&read.server_name, read.public_key, read.short_id),
        (&linked.server_name, linked.public_key, linked.short_id)
    );
}

#[test]
fn parameters_and_their_defaults() {
    let security = |link: &str| match vless(&parse(link).unwrap()).security.clone() {
        Security::Reality(reality) => reality,
        other => panic!("{other:?}"),
    };
    let defaults = security(&reality(""));
    assert_eq!(defaults.fingerprint, Fingerprint::Chrome);
    assert_eq!(defaults.server_name, ServerName::Dns("exit.example.com".into()));
    assert_eq!(security(&reality("&support-x25519mlkem768=false")).hybrid, Hybrid::Strip);
    assert_eq!(security(&reality("&unknown=1&fm=x")).hybrid, Hybrid::AsFingerprint);

    let flow = |params: &str| vless(&parse(&reality(params)).unwrap()).flow;
    assert_eq!(flow("&flow=xtls-rprx-vision-udp443"), Flow::Vision { udp443: true });
    assert_eq!(flow(""), Flow::Plain);
    let encoding = |params: &str| vless(&parse(&reality(params)).unwrap()).packet_encoding;
    assert_eq!((encoding(""), encoding("&packetEncoding=packet")), (PacketEncoding::Xudp, PacketEncoding::PacketAddr));

    let tls = parse(&format!(
        "vless://{UUID}@[2001:db8::1]:8443?security=tls&sni=a.b&alpn=h2%2Chttp%2F1.1&allowInsecure=1&fp=chrome"
    ))
    .unwrap();
    assert_eq!(&*tls.name, "[2001:db8::1]:8443");
    let Security::Tls(options) = &vless(&tls).security else { panic!() };
    assert_eq!((&*options.server_name, options.alpn.join(" ")), ("a.b", "h2 http/1.1".into()));
    assert!(matches!(options.verify, Verify::Off));
    let pinned = parse(&format!("vless://{UUID}@a.b:1?security=tls&pcs={}", "ab".repeat(32))).unwrap();
    let Security::Tls(options) = &vless(&pinned).security else { panic!() };
    assert!(matches!(options.verify, Verify::Pin([0xab, ..])));

    assert!(matches!(vless(&parse(&format!("vless://{UUID}@a.b:1?security=")).unwrap()).security, Security::None));
    assert!(matches!(vless(&parse("vless://my%20name@a.b:1").unwrap()).security, Security::None));
}

#[test]
fn upstream_links() {
    let socks = parse("socks5://us%3Aer:p%40ss@192.0.2.1:1080#office").unwrap();
    let Kind::Socks5(options) = &socks.kind else { panic!() };
    let user = options.credentials.as_ref().unwrap();
    assert_eq!((&*user.user, user.password.reveal(), &*socks.name), ("us:er", "p@ss", "office"));
    assert!(socks.common.udp);
    let Kind::Socks5(coded) = &parse("socks://dXNlcjpwYXNz@192.0.2.1").unwrap().kind else { panic!() };
    let user = coded.credentials.as_ref().unwrap();
    assert_eq!((&*user.user, user.password.reveal(), coded.server.port), ("user", "pass", 1080));
    let http = parse("http://proxy.example.com").unwrap();
    let Kind::Http(options) = &http.kind else { panic!() };
    assert_eq!((options.server.to_string(), options.tls.is_none()), ("proxy.example.com:80".into(), true));
    let Kind::Http(options) = &parse("https://u:p@proxy.example.com:8443?sni=a.b").unwrap().kind else { panic!() };
    assert_eq!(options.tls.as_ref().unwrap().server_name, "a.b");
}

#[test]
fn links_that_cannot_be_used_say_why_and_nothing_else() {
    for (link, why) in [
        (reality("&type=ws"), "`network: ws` is not supported"),
        (reality("&type=http"), "`network: http` is not supported"),
        (reality("&headerType=http"), "`network: http` is not supported"),
        (reality("&encryption=mlkem768x25519plus.x"), "VLESS encryption is not supported"),
        (reality("&sid=123"), "`short-id`: must be an even number"),
        (reality("&fp=android"), "`client-fingerprint`: this preset"),
        (reality("&pqv=AAAA"), "`mldsa65-verify`: must decode"),
        (reality("&flow=xtls-rprx-direct"), "unsupported xtls flow type"),
        (reality("").replace(PUBLIC_KEY, ""), "the link has no public key (pbk)"),
        (reality("").replace(UUID, ""), "the link has no user id"),
        (reality("").replace(UUID, &format!("{UUID}0")), "`uuid` is not a UUID"),
        (reality("").replace(":443", ""), "the link has no port"),
        (reality("").replace(":443", ":0"), "the link has no port"),
        (reality("").replace("=reality", "=xtls"), "unknown security 'xtls'"),
        (format!("vless://{UUID}@a.b:1?flow=xtls-rprx-vision"), "`xtls-rprx-vision` works only inside TLS or REALITY"),
        ("vmess://eyJ2IjoyfQ==".into(), "links of the kind vmess:// are not supported"),
        ("hello".into(), "this is not a link"),
        ("".into(), "this is not a link"),
        (format!("vless://{}", "x".repeat(1 << 20)), "this is not a link"),
        ("socks5://".into(), "the link has no host"),
        ("http://a_b\u{202e}.c:1".into(), "this is not a link"),
    ] {
        let error = parse(&link).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(why), "{link}\n{shown}");
        assert!(!format!("{shown}{error:?}").contains(UUID) && !shown.contains(PUBLIC_KEY), "{shown}");
    }
}

const WIREGUARD: &str = "wireguard://eCtXsJZ27%2B4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU%3D@vpn.example.com:51820";
const PEER: &str = "publickey=Cr8hWlKvtDt7nrvf%2Bf0brNQQzabAqrjfBvas9pmowjo%3D&address=10.0.0.2%2F32";

/// As v2rayN, NekoBox and hand-made links have it.
#[test]
fn wireguard_links_of_every_habit_mean_the_same() {
    let links = [
        format!(
            "{WIREGUARD}?publickey={PUBLIC}&presharedkey={SHARED}&address=10.0.0.2/32,fd00::2/128&mtu=1280&reserved=209,98,59&keepalive=25#a%20b"
        ),
        format!(
            "{WIREGUARD}/?PublicKey={PUBLIC}&preSharedKey={SHARED}&address=10.0.0.2,fd00::2&mtu=1280&reserved=0WI7&persistentKeepalive=25&allowedIPs=0.0.0.0/0,::/0#a%20b"
        ),
        // Nothing encoded that should be.
        format!(
            "wg://{PRIVATE}@vpn.example.com:51820?public_key={PUBLIC}&pre_shared_key={SHARED}&ip=10.0.0.2&ipv6=fd00::2&mtu=1280&reserved=[209,98,59]&keepalive=25#a b"
        ),
        format!(
            "wg://vpn.example.com:51820?private_key={PRIVATE}&peer_public_key={PUBLIC}&pre_shared_key={SHARED}&reserved=209-98-59&persistent_keepalive=25&mtu=1280&use_system_interface=false&local_address=10.0.0.2/32-fd00::2/128&workers=0&enable_amnezia=false#a%20b"
        ),
    ];
    let first = parse(&links[0]).unwrap();
    let options = wireguard(&first);
    assert_eq!((&*first.name, first.common.udp), ("a b", true));
    assert_eq!(options.tunnel.private_key, PRIVATE.parse().unwrap());
    let v6 = "fd00::2".parse().unwrap();
    assert_eq!(options.tunnel.addresses, Addresses::Both([10, 0, 0, 2].into(), v6));
    assert_eq!((options.tunnel.mtu.bytes(), options.endpoints[0].to_string()), (1280, "vpn.example.com:51820".into()));
    let peer = &options.tunnel.peers[0];
    assert_eq!((peer.reserved, &peer.preshared_key), ([209, 98, 59], &Some(SHARED.parse().unwrap())));
    assert_eq!(peer.keepalive, Keepalive::Every(25.try_into().unwrap()));
    for link in &links {
        assert_eq!(wireguard(&parse(link).unwrap()).tunnel, options.tunnel, "{link}");
    }
}

#[test]
fn wireguard_links_with_slashes_and_disguises() {
    let slashes = "bmXOC+F1FxEMF9dyiK2H5/1SUtzH0JuVo51h2wPfgyo=";
    let link = parse(&format!("awg://{slashes}@[2001:db8::1]:1?{PEER}&jc=4&jmin=40&jmax=70&h1=5-9&i1=%3Cb%200x00%3E"))
        .unwrap();
    let options = wireguard(&link);
    assert_eq!(options.tunnel.private_key, slashes.parse().unwrap());
    assert_eq!((&*link.name, options.endpoints[0].to_string()), ("[2001:db8::1]:1", "[2001:db8::1]:1".into()));
    let made = options.tunnel.obfuscation.as_ref().unwrap();
    assert_eq!((made.header.initiation.clone(), made.imitation.len()), (5..=9, 1));
    let long = format!(
        "{WIREGUARD}?{PEER}&enable_amnezia=true&junk_packet_count=4&junk_packet_min_size=40&junk_packet_max_size=70&init_packet_magic_header=9"
    );
    let made = wireguard(&parse(&long).unwrap()).tunnel.obfuscation.clone().unwrap();
    assert_eq!((made.junk.count, made.header.initiation), (4, 9..=9));
    let some = parse(&format!("{WIREGUARD}?{PEER}&allowedips=10.0.0.0/8&dns=10.0.0.1")).unwrap();
    assert_eq!(wireguard(&some).tunnel.peers[0].allowed_ips[0].to_string(), "10.0.0.0/8");
    assert_eq!(format!("{:?}", wireguard(&some).remote_dns.as_ref().unwrap()), r#"["udp://10.0.0.1:53"]"#);
}

#[test]
fn wireguard_links_that_cannot_be_used_say_why_and_nothing_else() {
    let good = format!("{WIREGUARD}?{PEER}");
    for (link, why) in [
        (good.replace("eCtXsJZ27%2B4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU%3D@", ""), "the link has no private key"),
        (good.replace("eCtX", "eCt"), "`private-key`: a key is base64"),
        (good.replace("publickey=", "x="), "the link has no public key (publickey)"),
        (good.replace("Cr8h", "Cr8"), "`public-key`: a key is base64"),
        (good.replace("address=", "x="), "the link has no address"),
        (good.replace("10.0.0.2", "10.0.0"), "ip address parse error"),
        (good.replace(":51820", ""), "the link has no port"),
        (format!("{good}&presharedkey=hunter2"), "`pre-shared-key`: a key is base64"),
        (format!("{good}&reserved=1,2"), "invalid reserved value, required 3 bytes, got 2"),
        (format!("{good}&mtu=100"), "`mtu` must be from 576 to 65440 bytes here, found 100"),
        (format!("{good}&mtu=x"), "`mtu` is not a number in its range: 'x'"),
        (format!("{good}&keepalive=70000"), "`persistent-keepalive` is not a number in its range: '70000'"),
        (format!("{good}&allowedips=x"), "'x' is not a prefix"),
        (format!("{good}&dns=ftp://x"), "`dns`: "),
        (format!("{good}&jc=500"), "`jc` must be a number from 0 to 128"),
    ] {
        let error = parse(&link).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(why), "{link}\n{shown}");
        assert!(!format!("{shown}{error:?}").contains("sJZ27") && !shown.contains("hunter2"), "{shown}");
    }
    assert!(!format!("{:?}", parse(&good).unwrap()).contains("sJZ27"));
}

/// A link comes from anywhere: cut or damaged at every byte, it is refused or read, never a panic.
#[test]
fn damaged_links_are_handled() {
    let link = reality("&sid=0123456789abcdef&sni=www.example.com&fp=chrome&flow=xtls-rprx-vision&alpn=h2");
    let tunnel = format!("{WIREGUARD}?{PEER}&reserved=1,2,3&mtu=1280&i1=<b 0x00>#x");
    for link in [link, tunnel] {
        for end in 0..link.len() {
            let _ = parse(&link[..end]);
            for byte in ["%", "\u{0}", "é", "#", "?", "@", ":", "[", "]", "&"] {
                let _ = parse(&format!("{}{byte}{}", &link[..end], &link[end..]));
            }
        }
    }
}
