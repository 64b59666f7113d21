//! Other programs' WireGuard through the lab: what adit is measured against.

use std::io;
use std::net::SocketAddr;

use adit_testkit::bridge::UdpBridge;
use adit_testkit::client::{Association, To, http_connect, socks5};
use adit_testkit::lab::{Lab, ORIGIN_V4, PeerOptions};
use adit_testkit::origin::{DnsOrigin, HttpOrigin, QuicOrigin, TcpOrigin, UdpOrigin, quic_echo};
use adit_testkit::peers::Era;
use adit_testkit::stage::FAR_NAME;
use adit_testkit::subject::{Subject, Way};
use adit_testkit::{Scratch, data, programs};

use crate::kernel::exchange;

/// A megabyte, with curl.
fn downloads(proxy: SocketAddr, origin: SocketAddr) {
    let scratch = Scratch::new("download");
    let file = scratch.path().join("file");
    let url = format!("http://{origin}/bytes/1000000");
    assert_eq!(programs::curl(&["--socks5", &proxy.to_string(), "-o", file.to_str().unwrap(), &url]).ok(), "");
    assert!(std::fs::read(file).unwrap() == data::first(1_000_000));
}

/// A peer gives up a dial after five seconds, which its first may need on a busy machine; a client would try again.
fn persist(mut attempt: impl FnMut() -> io::Result<()>) {
    let outcomes: Vec<_> = (0..4).map(|_| attempt()).take_while(Result::is_err).collect();
    assert!(outcomes.len() < 4, "{outcomes:?}");
}

fn carries_everything(subject: Subject) {
    for v6 in [false, true] {
        let lab = Lab::new();
        let peer = lab.peer(PeerOptions { pre_shared_key: v6, ..PeerOptions::default() });
        let (echo, http) = lab.inside(|| (TcpOrigin::echo(), HttpOrigin::start()));
        let (udp, quic) = lab.inside(|| (UdpOrigin::echo("far "), QuicOrigin::start()));
        let endpoint = if v6 { peer.endpoint_v6() } else { peer.endpoint_v4() };
        let route = peer.route().through(endpoint);
        let watch = lab.watch(&[endpoint]);
        lab.client().run(|| {
            let proxy = subject.start(Way::WireGuard(&route));
            for to in [echo.addr(), echo.addr_v6()] {
                persist(|| exchange(socks5(proxy.addr, &to.into())?));
            }
            if subject == Subject::Mihomo {
                persist(|| exchange(http_connect(proxy.addr, &To::name(FAR_NAME, echo.port()))?));
            }
            downloads(proxy.addr, http.addr());
            for to in [udp.addr(), udp.addr_v6()] {
                // One for each: Mihomo's flow has the family of its first datagram.
                let association = Association::open(proxy.addr).unwrap();
                assert_eq!(association.ask(&to.into(), b"datagram").unwrap(), (to.into(), b"far datagram".to_vec()));
            }
            let bridge = UdpBridge::open(proxy.addr, quic.addr()).unwrap();
            assert!(quic_echo(bridge.addr(), &data::first(100_000)).unwrap() == data::first(100_000));
        });
        let stats = peer.stats();
        assert!(stats.sent > 1_000_000 && stats.last_handshake.is_some(), "{stats:?}");
        assert_eq!(watch.leaks(), 0);
    }
}

#[test]
fn mihomo_carries_everything() {
    carries_everything(Subject::Mihomo);
}

#[test]
fn xray_carries_everything() {
    carries_everything(Subject::Xray(Era::Xray26_10));
}

#[test]
fn mihomo_asks_a_server_in_the_tunnel() {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    let (echo, dns) = lab.inside(|| (TcpOrigin::echo(), DnsOrigin::start(&[("only.inside.test", ORIGIN_V4.into())])));
    let server = format!("dns: ['udp://{}']", dns.addr());
    let route = peer.route().with("remote-dns-resolve: true").with(&server);
    let watch = lab.watch(&[route.endpoint]);
    lab.client().run(|| {
        let proxy = Subject::Mihomo.start(Way::WireGuard(&route));
        persist(|| exchange(socks5(proxy.addr, &To::name("only.inside.test", echo.port()))?));
    });
    assert!(dns.asked().iter().any(|query| query.name == "only.inside.test"));
    assert_eq!(watch.leaks(), 0);
}
