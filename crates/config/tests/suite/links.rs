//! Share links (vless-reality §9.3).

use adit_config::link::parse;
use adit_outbound::options::{Kind, Verify};
use adit_outbound::vless::{Flow, PacketEncoding, Security};
use adit_reality::{Fingerprint, Hybrid, ServerName};

use crate::scene::{PUBLIC_KEY, UUID, vless};

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

/// A link comes from anywhere: cut or damaged at every byte, it is refused or read, never a panic.
#[test]
fn damaged_links_are_handled() {
    let link = reality("&sid=0123456789abcdef&sni=www.example.com&fp=chrome&flow=xtls-rprx-vision&alpn=h2");
    for end in 0..link.len() {
        let _ = parse(&link[..end]);
        for byte in ["%", "\u{0}", "é", "#", "?", "@", ":", "[", "]", "&"] {
            let _ = parse(&format!("{}{byte}{}", &link[..end], &link[end..]));
        }
    }
}
