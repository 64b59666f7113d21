//! Carriers that break, clients that stop reading, clients that trickle.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use adit_testkit::client::{Association, To, socks5};
use adit_testkit::middleman::{Manner, Middleman};
use adit_testkit::origin::{HttpOrigin, TcpOrigin, UdpOrigin};
use adit_testkit::peers::Era;
use adit_testkit::stage::{Door, Stage};
use adit_testkit::subject::{Proxy, Subject, Way};

use crate::scenes::{self, MIB};

fn direct() -> Proxy {
    Subject::from_env().start(Way::Direct)
}

/// Reads until the stream ends, and says how: `Ok` is an orderly end, `Err` anything else.
fn end_of(stream: &mut TcpStream) -> std::io::Result<u64> {
    std::io::copy(stream, &mut std::io::sink())
}

#[test]
fn f_b5_a_carrier_cut_in_mid_stream_looks_like_a_failure() {
    for (door, reset) in [(Door::Plain, false), (Door::Plain, true), (Door::Vision, true)] {
        let route = Stage::shared(Era::Xray26_10).route(door);
        let middleman = Middleman::start(route.server, Manner::Plain);
        let proxy = Subject::from_env().start(Way::Vless(&route.through(middleman.addr())));
        let origin = TcpOrigin::echo();
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
        scenes::send(&mut stream, 1_000);
        scenes::receive(&mut stream, 1_000);
        middleman.cut(reset);
        let error = end_of(&mut stream).expect_err("a cut transfer must not look complete");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{door:?}, reset: {reset}");
    }
}

#[test]
fn f_b4_a_reset_of_the_origin_reaches_the_client_after_its_bytes() {
    let proxy = direct();
    let origin = TcpOrigin::start(|mut stream| {
        let _ = stream.write_all(b"half an answer");
        // Time for the bytes to leave, then a reset instead of a FIN.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
        let _ = stream.read(&mut [0]);
        adit_testkit::reset_on_close(&stream);
    });
    let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
    let mut got = [0; 14];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"half an answer");
    assert_eq!(end_of(&mut stream).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn f_b1_half_closes_pass_through_direct_connections() {
    let proxy = direct();
    scenes::client_half_closes(proxy.addr, 3 * MIB + 5);
    scenes::server_half_closes(proxy.addr);
    scenes::half_closes_around_an_answer(proxy.addr);
}

#[test]
fn f_b7_stalled_readers_cost_bounded_memory_and_lose_nothing() {
    for way in [None, Some(Stage::shared(Era::Xray26_10).route(Door::Plain))] {
        let proxy = Subject::from_env().start(way.as_ref().map_or(Way::Direct, Way::Vless));
        let origin = HttpOrigin::start();
        let before = proxy.process.usage();
        let length = 20 * MIB;
        let mut stalled: Vec<TcpStream> = (0..64)
            .map(|_| {
                let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
                write!(stream, "GET /bytes/{length} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                stream
            })
            .collect();
        // Let everything fill up: until nobody's CPU clock moves any more.
        let mut last = proxy.process.usage().cpu;
        loop {
            wait(Duration::from_millis(500));
            let now = proxy.process.usage().cpu;
            if now - last < 0.005 {
                break;
            }
            last = now;
        }
        let during = proxy.process.usage();
        // F §1: at most 64 KiB per direction while a reader stalls.
        let grown = during.anonymous.saturating_sub(before.anonymous);
        assert!(grown < 64 * 2 * 64 + 4_096, "64 stalled downloads cost {grown} KiB");
        for stream in stalled.iter_mut().take(4) {
            scenes::read_head(stream);
            scenes::receive(stream, length);
        }
    }
}

#[test]
fn f_a1_every_handshake_may_arrive_byte_by_byte_or_glued_to_its_payload() {
    let proxy = direct();
    let origin = TcpOrigin::echo();
    let port = origin.port().to_be_bytes();
    let socks5 = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port].concat();
    let socks5_name = [&[5, 1, 0, 5, 1, 0, 3, 9][..], b"localhost", &port].concat();
    let socks4 = [&[4, 1][..], &port, &[127, 0, 0, 1], b"user\0"].concat();
    let socks4a = [&[4, 1][..], &port, &[0, 0, 0, 1], b"user\0localhost\0"].concat();
    let connect = format!("CONNECT 127.0.0.1:{0} HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\n\r\n", origin.port()).into_bytes();
    for (name, handshake) in [
        ("SOCKS5", socks5),
        ("SOCKS5 by name", socks5_name),
        ("SOCKS4", socks4),
        ("SOCKS4a", socks4a),
        ("CONNECT", connect),
    ] {
        for crumbs in [false, true] {
            let middleman = Middleman::start(proxy.addr, if crumbs { Manner::Crumbs(300) } else { Manner::Plain });
            let mut stream = TcpStream::connect(middleman.addr()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(&[&handshake[..], b"the payload"].concat()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let shown = String::from_utf8_lossy(&answer).escape_debug().to_string();
            assert!(answer.ends_with(b"the payload"), "{name}, crumbs: {crumbs}: {shown}");
            let times = answer.windows(11).filter(|window| window == b"the payload").count();
            assert_eq!(times, 1, "{name}, crumbs: {crumbs}: {shown}");
        }
    }
}

#[test]
fn f_a18_f_a19_an_association_serves_its_client_only_and_ends_with_its_connection() {
    let proxy = direct();
    let origin = UdpOrigin::echo("");
    let to = To::from(origin.addr());
    let association = Association::open(proxy.addr).unwrap();
    association.ask(&to, b"mine").unwrap();
    // Another address of this machine, without an association of its own.
    let stranger = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let datagram = [&[0, 0, 0][..], &to.socks5(), b"not mine"].concat();
    stranger.send_to(&datagram, association.relay()).unwrap();
    assert!(stranger.recv(&mut [0; 100]).is_err(), "a stranger was served");
    // The connection ends, and with it the association, within a second.
    let (relay, socket) = (association.relay(), association.socket().try_clone().unwrap());
    drop(association);
    wait(Duration::from_secs(1));
    let before = origin.received();
    socket.send_to(&datagram, relay).unwrap();
    wait(Duration::from_millis(300));
    assert_eq!(origin.received(), before, "the association outlived its connection");
}

#[test]
fn f_a17_damaged_datagrams_are_dropped_one_by_one() {
    let proxy = direct();
    let origin = UdpOrigin::echo("");
    let to = To::from(origin.addr());
    let association = Association::open(proxy.addr).unwrap();
    association.ask(&to, b"first").unwrap();
    let whole = [&[0, 0, 0][..], &to.socks5(), b"payload"].concat();
    for length in 0..10 {
        association.socket().send_to(&whole[..length], association.relay()).unwrap();
    }
    for damaged in
        [&[0, 0, 1, 1, 127, 0, 0, 1, 0, 80, 9][..], &[0, 0, 0, 3, 0, 0, 80, 9], &[0, 0, 0, 9, 1, 2, 3, 4, 5, 6]]
    {
        association.socket().send_to(damaged, association.relay()).unwrap();
    }
    let before = origin.received();
    for size in [0, 1, 60_000] {
        let payload = adit_testkit::data::first(size);
        assert_eq!(association.ask(&to, &payload).unwrap().1, payload, "{size} bytes");
    }
    assert_eq!(origin.received() - before, 3, "a damaged datagram reached the origin");
}

#[test]
fn f_b8_ten_thousand_short_connections_leave_nothing_behind() {
    let proxy = direct();
    let origin = TcpOrigin::banner("hi");
    let to = To::from(origin.addr());
    let once = || {
        let mut stream = socks5(proxy.addr, &to).unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
    };
    (0..500).for_each(|_| once());
    wait(Duration::from_millis(500));
    let before = proxy.process.usage();
    (0..10_000).for_each(|_| once());
    let end = Instant::now() + Duration::from_secs(5);
    while proxy.process.usage().descriptors > before.descriptors && Instant::now() < end {
        wait(Duration::from_millis(50));
    }
    let after = proxy.process.usage();
    assert!(after.descriptors <= before.descriptors, "{} descriptors became {}", before.descriptors, after.descriptors);
    let grown = after.rss.saturating_sub(before.rss);
    assert!(grown < 8 * 1_024, "{grown} KiB stayed");
}

pub(crate) fn wait(time: Duration) {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(time);
}
