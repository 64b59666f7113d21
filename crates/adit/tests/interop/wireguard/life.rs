//! What happens to a tunnel in its life: peers that go, come back and move, networks that fail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use adit_testkit::client::{Association, socks5};
use adit_testkit::lossy::Faults;
use adit_testkit::origin::{HttpOrigin, TcpOrigin, UdpOrigin};

use super::traffic::wait_until;
use super::{scene, start};
use crate::faults::wait;
use crate::scenes::{self, MIB};

/// F-G9: back within 15 seconds.
const BACK: Duration = Duration::from_secs(15);

/// One byte there and back on an open stream.
fn ping(stream: &mut TcpStream, patience: Duration) {
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("no echo within {patience:?}: {error}"));
    assert_eq!(&byte, b"x");
}

/// F-G9: a peer that restarts has forgotten the session; open streams go on with the next one.
#[test]
fn f_g9_a_peer_restarts() {
    let (lab, mut peer) = scene();
    let origin = lab.inside(TcpOrigin::echo);
    lab.client().run(|| {
        let proxy = start(&peer.route());
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
        ping(&mut stream, Duration::from_secs(2));
        peer.restart();
        stream.write_all(b"x").unwrap();
        // The keepalive and the rekey timeout (whitepaper §6.2); then new connections, and open ones when they retransmit.
        let gone = Instant::now();
        while socks5(proxy.addr, &origin.addr().into()).is_err() {
            assert!(gone.elapsed() < BACK + Duration::from_secs(5), "the tunnel is not back");
        }
        stream.set_read_timeout(Some(BACK + Duration::from_secs(10))).unwrap();
        stream.read_exact(&mut [0]).expect("the stream survives");
        ping(&mut stream, Duration::from_secs(2));
    });
}

/// F-G9: our address changes (a NAT forgets us); the peer follows at the next packet.
#[test]
fn f_g9_we_move() {
    let (lab, peer) = scene();
    let origin = lab.inside(TcpOrigin::echo);
    let relay = lab.relay(peer.endpoint_v4(), Faults::NONE, Faults::NONE, 1);
    lab.client().run(|| {
        let proxy = start(&peer.route().through(relay.addr()));
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
        for _ in 0..3 {
            ping(&mut stream, Duration::from_secs(2));
            relay.move_port();
        }
        ping(&mut stream, Duration::from_secs(2));
    });
}

/// F-G9: the network goes away under open streams, and comes back. (A minute of it is in the soak tests.)
#[test]
fn f_g9_the_network_goes_and_comes_back() {
    let (lab, peer) = scene();
    let origin = lab.inside(TcpOrigin::echo);
    lab.client().run(|| {
        let proxy = start(&peer.route());
        let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
        ping(&mut stream, Duration::from_secs(2));
        lab.plug(false);
        stream.write_all(b"x").unwrap();
        wait(Duration::from_secs(7));
        lab.plug(true);
        stream.set_read_timeout(Some(BACK)).unwrap();
        stream.read_exact(&mut [0]).expect("the stream survives");
        ping(&mut stream, BACK);
        scenes::tunnel(proxy.addr, &origin.addr().into());
    });
}

/// A dial hears within five seconds that the peer is dead, and others after it at once; when the peer is back, so is the
/// tunnel. F-G15: nothing goes out by another way meanwhile, names included.
#[test]
fn f_g15_a_dead_peer_is_told_and_nothing_leaks() {
    let (lab, peer) = scene();
    let (origin, udp) = lab.inside(|| (HttpOrigin::start(), UdpOrigin::echo("udp ")));
    let watch = lab.watch(&[peer.endpoint_v4()]);
    lab.client().run(|| {
        peer.admit(false);
        let proxy = start(&peer.route());
        let started = Instant::now();
        let refused = |to: &adit_testkit::client::To| socks5(proxy.addr, to).expect_err("the peer is dead").to_string();
        refused(&origin.addr().into());
        assert!(started.elapsed() < Duration::from_millis(5_500), "{:?}", started.elapsed());
        let again = Instant::now();
        for _ in 0..5 {
            refused(&origin.addr().into());
        }
        refused(&adit_testkit::client::To::name(adit_testkit::stage::FAR_NAME, origin.port()));
        assert!(again.elapsed() < Duration::from_secs(1), "known by now: {:?}", again.elapsed());
        assert!(proxy.process.says("does not answer"), "{}", proxy.process.tail(20));
        let association = Association::open(proxy.addr).expect("no association");
        association.send(&udp.addr().into(), b"lost").unwrap();
        peer.admit(true);
        wait_until("the tunnel to come back", || socks5(proxy.addr, &origin.addr().into()).is_ok());
        scenes::plain_http(proxy.addr, &origin);
    });
    assert_eq!(watch.leaks(), 0);
    assert!(watch.tunnelled() > 0);
}

/// The peer is there and the target is not: the answer says whom nobody heard of.
#[test]
fn a_silent_target_is_not_the_peer_s_fault() {
    let (lab, peer) = scene();
    let origin = lab.inside(HttpOrigin::start);
    lab.client().run(|| {
        let proxy = start(&peer.route());
        scenes::plain_http(proxy.addr, &origin);
        lab.server().ip("route add blackhole 203.0.113.0/24");
        let started = Instant::now();
        socks5(proxy.addr, &"203.0.113.9:443".parse::<std::net::SocketAddr>().unwrap().into())
            .expect_err("a black hole");
        assert!(started.elapsed() < Duration::from_millis(5_500), "{:?}", started.elapsed());
        scenes::plain_http(proxy.addr, &origin);
    });
}

/// F-G7: an idle tunnel is silent, and so is one that nobody has used yet.
#[test]
fn f_g7_an_idle_tunnel_sends_nothing() {
    let (lab, peer) = scene();
    let origin = lab.inside(HttpOrigin::start);
    let watch = lab.watch(&[peer.endpoint_v4()]);
    lab.client().run(|| {
        let proxy = start(&peer.route());
        assert_eq!(watch.tunnelled(), 0, "nothing before the first dial");
        scenes::plain_http(proxy.addr, &origin);
        // Ten seconds after the last data comes a keepalive (whitepaper §6.5), and then nothing.
        let mut last = (watch.tunnelled(), Instant::now());
        let end = Instant::now() + Duration::from_secs(40);
        while last.1.elapsed() < Duration::from_secs(12) {
            wait(Duration::from_millis(200));
            if watch.tunnelled() != last.0 {
                last = (watch.tunnelled(), Instant::now());
            }
            assert!(Instant::now() < end, "it goes on talking");
        }
        scenes::plain_http(proxy.addr, &origin);
    });
    assert_eq!(watch.leaks(), 0);
}

/// F-G1: a bad link; every byte still arrives in order.
#[test]
fn f_g1_streams_survive_a_bad_link() {
    let (lab, peer) = scene();
    let origin = lab.inside(TcpOrigin::echo);
    let bad = Faults {
        loss: adit_testkit::lossy::Loss::Random(0.01),
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(3),
        duplicate: 0.01,
        corrupt: 0.01,
        replay: Some(Duration::from_millis(50)),
        ..Faults::NONE
    };
    let relay = lab.relay(peer.endpoint_v4(), bad, bad, 7);
    lab.client().run(|| {
        let proxy = start(&peer.route().through(relay.addr()));
        scenes::echo(proxy.addr, &origin.addr().into(), 4 * MIB);
    });
}
