//! Families, several peers, other ways to them, and narrow paths.

use std::io::Write;
use std::net::SocketAddr;

use adit_testkit::client::{Association, To, socks5};
use adit_testkit::lab::{Key, Lab, ORIGIN_V4, PeerOptions, WireGuardPeer, WireGuardRoute};
use adit_testkit::lossy::Faults;
use adit_testkit::origin::{DnsOrigin, HttpOrigin, UdpOrigin};

use super::traffic::wait_until;
use super::{adit, scene, start};
use crate::scenes::{self, MIB};

#[test]
fn the_peer_is_reached_over_ipv6() {
    let (lab, peer) = scene();
    let origin = lab.inside(HttpOrigin::start);
    lab.client().run(|| {
        let proxy = start(&peer.route().through(peer.endpoint_v6()));
        scenes::plain_http(proxy.addr, &origin);
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr_v6().into());
        scenes::download(&mut stream, 3 * MIB);
    });
}

/// F-G16
#[test]
fn f_g16_without_ipv6_in_the_kernel() {
    let (lab, peer) = scene();
    let origin = lab.inside(HttpOrigin::start);
    lab.client().run(|| {
        let (proxy, lost) = (start(&peer.route()), start(&peer.route().through(peer.endpoint_v6())));
        lab.client().set("ipv6/conf/all/disable_ipv6", "1");
        scenes::plain_http(proxy.addr, &origin);
        // Inside the tunnel there is IPv6 all the same.
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr_v6().into());
        scenes::download(&mut stream, MIB);
        let error = socks5(lost.addr, &origin.addr().into()).expect_err("no way to the peer");
        assert!(error.to_string().contains("[05, 03, 00]"), "{error}");
    });
}

/// F-G11: a path that loses large packets without a word. A lower `mtu` is honoured both ways.
#[test]
fn f_g11_a_narrow_path() {
    let (lab, peer) = scene();
    let origin = lab.inside(HttpOrigin::start);
    let narrow = Faults { max_size: 1280 + 32, ..Faults::NONE };
    let relay = lab.relay(peer.endpoint_v4(), narrow, narrow, 1);
    lab.client().run(|| {
        let route = peer.route().through(relay.addr());
        let proxy = start(&WireGuardRoute { mtu: 1280, ..route });
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
        scenes::download(&mut stream, 4 * MIB);
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr_v6().into());
        scenes::download(&mut stream, 4 * MIB);
    });
    let (up, down) = (relay.up().counts(), relay.down().counts());
    assert_eq!((up.oversized, down.oversized), (0, 0), "no packet was larger than the path");
}

/// A link narrower than the tunnel believes: packets are fragmented on their way out rather than lost, as those of the
/// kernel's WireGuard are. (`wireguard-go` loses its own.)
#[test]
fn a_link_that_is_too_narrow() {
    let (lab, peer) = scene();
    let origin = lab.inside(HttpOrigin::start);
    lab.set_link_mtu(1400);
    lab.client().run(|| {
        let proxy = start(&peer.route());
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
        let body = vec![7; MIB as usize];
        write!(stream, "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(&body).unwrap();
        scenes::read_response(&mut stream);
    });
}

fn proxy_of(name: &str, route: &WireGuardRoute, more: &str) -> String {
    format!(
        "  - {{ name: {name}, type: wireguard, ip: {}, private-key: {}, udp: true, mtu: {}{more} }}\n",
        route.v4.expect("an address"),
        route.private_key.base64(),
        route.mtu
    )
}

/// Several peers: the longest prefix decides, and an address that nobody has is refused.
#[test]
fn several_peers() {
    let lab = Lab::new();
    // The first one does not know this client.
    let (one, two) = (lab.peer(PeerOptions::default()), lab.peer(PeerOptions::default()));
    let client = two.route();
    let origin = lab.inside(HttpOrigin::start);
    let peer = |at: SocketAddr, key: &Key, allowed: &str| {
        format!(
            "{{ server: {}, port: {}, public-key: {}, allowed-ips: [{allowed}] }}",
            at.ip(),
            at.port(),
            key.base64()
        )
    };
    let peers = [
        peer(one.endpoint_v4(), &one.public_key(), "192.0.0.0/8"),
        peer(two.endpoint_v4(), &two.public_key(), &format!("{ORIGIN_V4}/32, 203.0.113.0/24")),
    ];
    lab.client().run(|| {
        let node = proxy_of("node", &client, &format!(", peers: [{}]", peers.join(", ")));
        let proxy = adit(&format!("proxies:\n{node}rules:\n  - MATCH,node\n"));
        scenes::plain_http(proxy.addr, &origin);
        assert!(two.stats().received > 0);
        let error = socks5(proxy.addr, &"198.51.100.7:80".parse::<SocketAddr>().unwrap().into());
        let error = error.expect_err("nobody has that address");
        assert!(error.to_string().contains("[05, 02, 00]"), "{error}");
    });
}

/// `dialer-proxy`: a tunnel inside a tunnel.
#[test]
fn through_another_way_out() {
    let lab = Lab::new();
    let (outer, inner) =
        (lab.peer(PeerOptions::default()), lab.peer(PeerOptions { mtu: 1320, ..PeerOptions::default() }));
    let (origin, udp) = lab.inside(|| (HttpOrigin::start(), UdpOrigin::echo("udp ")));
    let watch = lab.watch(&[outer.endpoint_v4()]);
    let to = |peer: &WireGuardPeer, at: SocketAddr| {
        format!(", server: {}, port: {}, public-key: {}", at.ip(), at.port(), peer.public_key().base64())
    };
    lab.client().run(|| {
        let hop = proxy_of("hop", &outer.route(), &to(&outer, outer.endpoint_v4()));
        // As the outer peer sees it, the inner one listens on the origins' address.
        let at = SocketAddr::from((ORIGIN_V4, inner.endpoint_v4().port()));
        let node = proxy_of("node", &inner.route(), &format!("{}, dialer-proxy: hop", to(&inner, at)));
        let proxy = adit(&format!("proxies:\n{hop}{node}rules:\n  - MATCH,node\n"));
        scenes::plain_http(proxy.addr, &origin);
        let association = Association::open(proxy.addr).expect("no association");
        let (_, answer) = association.ask(&udp.addr().into(), b"x").expect("no echo");
        assert_eq!(answer, b"udp x");
    });
    assert!(inner.stats().last_handshake.is_some());
    assert_eq!(watch.leaks(), 0);
}

/// F-G10, F-G16: an endpoint by name; its addresses that lead nowhere are passed over.
#[test]
fn f_g10_an_endpoint_by_name() {
    let (lab, peer) = scene();
    let origin = lab.inside(HttpOrigin::start);
    lab.client().run(|| {
        let route = peer.route();
        let dead = "10.77.0.99";
        let at = peer.endpoint_v4();
        let key = peer.public_key().base64();
        let node = proxy_of("node", &route, &format!(", server: wg.test, port: {}, public-key: {key}", at.port()));
        let hosts = format!("hosts:\n  wg.test: [{dead}, {}]\n", at.ip());
        let proxy = adit(&format!("{hosts}proxies:\n{node}rules:\n  - MATCH,node\n"));
        wait_until("the second address", || socks5(proxy.addr, &origin.addr().into()).is_ok());
        scenes::plain_http(proxy.addr, &origin);
    });
}

/// F-G15: with `remote-dns-resolve`, no question leaves by another way.
#[test]
fn names_are_looked_up_inside_the_tunnel() {
    let (lab, peer) = scene();
    let (origin, dns) =
        lab.inside(|| (HttpOrigin::start(), DnsOrigin::start(&[("only.inside.test", ORIGIN_V4.into())])));
    let server = format!("dns: ['udp://{}', 'tcp://{}']", dns.addr(), dns.addr());
    let route = peer.route().with("remote-dns-resolve: true").with(&server);
    let watch = lab.watch(&[route.endpoint]);
    lab.client().run(|| {
        let proxy = start(&route);
        let mut stream = scenes::tunnel(proxy.addr, &To::name("only.inside.test", origin.addr().port()));
        scenes::download(&mut stream, MIB);
        let error = socks5(proxy.addr, &To::name("nowhere.test", 80)).expect_err("nobody has that name");
        assert!(error.to_string().contains("[05, 04, 00]"), "{error}");
    });
    let asked = dns.asked();
    assert!(asked.iter().any(|query| query.name == "only.inside.test" && !query.tcp), "{asked:?}");
    assert!(asked.iter().any(|query| query.name == "only.inside.test" && query.tcp), "{asked:?}");
    assert_eq!(watch.leaks(), 0);
}
