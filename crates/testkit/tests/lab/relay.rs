//! The lossy relay over real sockets, and with a tunnel through it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::data;
use adit_testkit::lab::{Lab, PeerOptions};
use adit_testkit::lossy::{Faults, Loss, LossyRelay};
use adit_testkit::origin::{HttpOrigin, UdpOrigin};

fn client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Sends numbered packets, so paced that no socket overflows, and returns the numbers that come back.
fn numbers_through(relay: &LossyRelay, n: u32) -> Vec<u32> {
    let socket = client();
    socket.connect(relay.addr()).unwrap();
    let mut numbers = Vec::new();
    let mut buffer = [0; 64];
    for first in (0..n).step_by(64) {
        for i in first..n.min(first + 64) {
            socket.send(&i.to_be_bytes()).unwrap();
        }
        let sent = u64::from(n.min(first + 64));
        while (numbers.len() as u64) + relay.up().counts().lost < sent {
            assert_eq!(socket.recv(&mut buffer).unwrap(), 4);
            numbers.push(u32::from_be_bytes(buffer[..4].try_into().unwrap()));
        }
    }
    numbers
}

#[test]
fn the_same_packets_are_lost_every_time() {
    let echo = UdpOrigin::echo("");
    let lossy = Faults::lossy(Loss::Random(0.03), Duration::ZERO);
    let runs = [(); 2].map(|()| {
        let relay = LossyRelay::start(echo.addr(), lossy, Faults::NONE, 7);
        let numbers = numbers_through(&relay, 10_000);
        assert_eq!(relay.up().counts().lost, 10_000 - numbers.len() as u64);
        numbers
    });
    assert!((9_600..9_800).contains(&runs[0].len()), "{} of 10,000", runs[0].len());
    assert!(runs[0].is_sorted());
    assert!(runs[0] == runs[1]);
}

#[test]
fn a_delay_is_kept() {
    let echo = UdpOrigin::echo("");
    let delay = Duration::from_millis(25);
    let relay = LossyRelay::start(echo.addr(), Faults::lossy(Loss::None, delay), Faults::lossy(Loss::None, delay), 1);
    let socket = client();
    for _ in 0..10 {
        let start = Instant::now();
        socket.send_to(b"ping", relay.addr()).unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).unwrap(), 4);
        assert!(start.elapsed() >= 2 * delay);
    }
}

#[test]
fn it_pauses_moves_records_and_makes_up_packets() {
    let server = client();
    let relay = LossyRelay::start(server.local_addr().unwrap(), Faults::NONE, Faults::NONE, 1);
    let mut buffer = [0; 16];
    // Nobody has sent anything yet, so this waits for a client.
    relay.down().inject(b"early");
    relay.up().record(1);
    let socket = client();
    socket.send_to(b"first", relay.addr()).unwrap();
    let (_, before) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(before.port(), relay.port());
    assert_eq!(socket.recv(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"early");

    relay.pause(true);
    socket.send_to(b"lost", relay.addr()).unwrap();
    while relay.up().counts().paused == 0 {
        thread::yield_now();
    }
    relay.pause(false);

    relay.move_port();
    socket.send_to(b"moved", relay.addr()).unwrap();
    let (n, after) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"moved");
    assert_ne!(before, after);
    server.send_to(b"to the old port", before).unwrap();
    server.send_to(b"to the new port", after).unwrap();
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"to the new port");

    relay.up().inject(b"made up");
    let n = server.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"made up");
    assert_eq!(relay.up().recorded(), [b"first".to_vec()]);
}

fn download(origin: SocketAddr, length: usize) {
    let mut stream = TcpStream::connect(origin).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /eof/{length} HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&data::first(length)));
}

#[test]
fn a_tunnel_survives_everything_but_a_cut() {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    let http = lab.inside(HttpOrigin::start);
    let bad = Faults {
        loss: Loss::Bursts { share: 0.01, length: 3.0 },
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(1),
        duplicate: 0.01,
        corrupt: 0.01,
        replay: Some(Duration::from_millis(20)),
        ..Faults::NONE
    };
    let relay = lab.relay(peer.endpoint_v4(), bad, bad, 3);
    let _tunnel = lab.kernel_tunnel(&peer.route().through(relay.addr()));
    lab.client().run(|| download(http.addr(), 1_000_000));
    let counts = relay.down().counts();
    assert!(counts.lost > 0 && counts.corrupted > 0 && counts.duplicated > 0 && counts.replayed > 0, "{counts:?}");
    relay.move_port();
    lab.client().run(|| download(http.addr(), 100_000));
    assert_eq!(peer.stats().endpoint.map(|endpoint| endpoint.port()), Some(relay.port()));
}
