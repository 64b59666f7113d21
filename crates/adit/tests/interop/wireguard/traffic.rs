//! What goes through a healthy tunnel.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::bridge::UdpBridge;
use adit_testkit::client::{Association, To};
use adit_testkit::data;
use adit_testkit::lab::{Lab, ORIGIN_V4, PeerOptions};
use adit_testkit::origin::{DnsOrigin, HttpOrigin, QuicOrigin, TcpOrigin, TlsOptions, TlsOrigin, UdpOrigin, quic_echo};
use adit_testkit::programs::curl;
use adit_testkit::stage::FAR_NAME;
use adit_testkit::tls::Version;

use super::{scene, start};
use crate::scenes::{self, KIB, MIB};

#[test]
fn a_client_s_day() {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions { pre_shared_key: true, ..PeerOptions::default() });
    let (http, tls) = lab.inside(|| (HttpOrigin::start(), TlsOrigin::start(TlsOptions::default())));
    lab.client().run(|| {
        let proxy = start(&peer.route());
        let socks = format!("socks5h://{}", proxy.addr);
        for host in [http.addr().to_string(), http.addr_v6().to_string(), format!("{FAR_NAME}:{}", http.port())] {
            let url = format!("http://{host}/bytes/100000");
            let got = curl(&["-sS", "-m", "20", "-x", &socks, "-o", "/dev/null", "-w", "%{size_download}", &url]).ok();
            assert_eq!(got.trim(), "100000", "{url}");
        }
        scenes::plain_http(proxy.addr, &http);
        scenes::inner_tls(proxy.addr, &tls.addr().into(), Version::Tls13, 2 * MIB);
    });
    assert!(peer.stats().last_handshake.is_some());
}

/// F-B1, F-G13: each end may finish first, and the other direction goes on.
#[test]
fn half_closes_pass_both_ways() {
    let (lab, peer) = scene();
    let counted = Arc::new(AtomicUsize::new(usize::MAX));
    let (after, first) =
        lab.inside(|| (TcpOrigin::answers_after_eof(2 * MIB), TcpOrigin::closes_first(300_000, Arc::clone(&counted))));
    lab.client().run(|| {
        let proxy = start(&peer.route());
        let mut stream = scenes::tunnel(proxy.addr, &after.addr().into());
        scenes::send(&mut stream, MIB + 11);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut count = [0; 8];
        stream.read_exact(&mut count).expect("no answer after the half-close");
        assert_eq!(u64::from_be_bytes(count), MIB + 11);
        assert_eq!(scenes::receive_to_end(&mut stream), 2 * MIB);
        let mut stream = scenes::tunnel(proxy.addr, &first.addr().into());
        assert_eq!(scenes::receive_to_end(&mut stream), 300_000);
        scenes::send(&mut stream, MIB);
        drop(stream);
        wait_until("the origin to count", || counted.load(Ordering::Acquire) == MIB as usize);
    });
}

#[test]
fn bulk_both_ways_at_once_is_intact() {
    let (lab, peer) = scene();
    let origin = lab.inside(TcpOrigin::echo);
    lab.client().run(|| {
        let proxy = start(&peer.route());
        scenes::echo(proxy.addr, &origin.addr().into(), 128 * MIB);
    });
}

#[test]
fn a_thousand_downloads_at_once() {
    const STREAMS: usize = 1000;
    let (lab, peer) = scene();
    let origin = lab.inside(HttpOrigin::start);
    lab.client().run(|| {
        adit_net::raise_descriptor_limit().unwrap();
        let proxy = start(&peer.route());
        let mut streams: Vec<_> = (0..STREAMS).map(|_| scenes::tunnel(proxy.addr, &origin.addr().into())).collect();
        for stream in &mut streams {
            write!(stream, "GET /bytes/{} HTTP/1.1\r\nHost: x\r\n\r\n", 64 * KIB).unwrap();
        }
        for stream in &mut streams {
            scenes::read_head(stream);
            scenes::receive(stream, 64 * KIB);
        }
    });
    assert_eq!(origin.accepted(), STREAMS);
}

/// Datagrams of all sizes, also those that have to be fragmented inside; one socket for all targets (full cone).
#[test]
fn datagrams_come_back_from_whom_they_went_to() {
    let (lab, peer) = scene();
    let (one, two) = lab.inside(|| (UdpOrigin::echo("one "), UdpOrigin::echo("two ")));
    lab.client().run(|| {
        let proxy = start(&peer.route());
        let association = Association::open(proxy.addr).expect("no association");
        let targets: [(To, &str); 4] = [
            (one.addr().into(), "one "),
            (two.addr().into(), "two "),
            (one.addr_v6().into(), "one "),
            (To::name(FAR_NAME, two.port()), "two "),
        ];
        for (to, name) in &targets {
            for size in [1, 1_200, 1_472, 7_000] {
                let payload = data::content(0, size);
                let (_, answer) =
                    association.ask(to, payload).unwrap_or_else(|error| panic!("{size} to {to}: {error}"));
                assert!(answer == [name.as_bytes(), payload].concat(), "{size} bytes to {to}");
            }
        }
    });
}

#[test]
fn dns_and_quic_inside() {
    let (lab, peer) = scene();
    let address = IpAddr::from([192, 0, 2, 77]);
    let (dns, quic) = lab.inside(|| (DnsOrigin::start(&[("inside.test", address)]), QuicOrigin::start()));
    lab.client().run(|| {
        let proxy = start(&peer.route());
        let association = Association::open(proxy.addr).expect("no association");
        let question = dns_question("inside.test");
        let (_, answer) = association.ask(&dns.addr().into(), &question).expect("no answer");
        assert!(answer.starts_with(&question[..2]) && answer.ends_with(&[192, 0, 2, 77]), "{answer:?}");
        let bridge = UdpBridge::open(proxy.addr, quic.addr()).expect("no association");
        let payload = data::first(MIB as usize);
        assert!(quic_echo(bridge.addr(), &payload).expect("no QUIC") == payload);
    });
}

/// RFC 1035 §4.1: one question for an A record.
fn dns_question(name: &str) -> Vec<u8> {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    question
}

/// A refusal and an unreachable network inside are told at once, not after a time-out.
#[test]
fn what_packets_inside_say_is_told_at_once() {
    let (lab, peer) = scene();
    lab.client().run(|| {
        let proxy = start(&peer.route());
        let closed = SocketAddr::from((ORIGIN_V4, 9));
        let nowhere: SocketAddr = "203.0.113.9:443".parse().unwrap();
        for (to, code) in [(closed, 5), (nowhere, 3)] {
            let start = Instant::now();
            let error = adit_testkit::client::socks5(proxy.addr, &to.into()).expect_err("nobody is there");
            assert!(error.to_string().contains(&format!("[05, {code:02x}, 00]")), "{to}: {error}");
            assert!(start.elapsed() < Duration::from_secs(2), "{to}: {:?}", start.elapsed());
        }
    });
}

/// Waits for something that another process does.
pub(super) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::yield_now();
    }
}
