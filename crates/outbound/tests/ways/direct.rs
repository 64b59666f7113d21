use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use adit_net::{Dial, DialError, Listener};
use adit_outbound::Book;
use adit_outbound::options::{IpVersion, Kind};
use socket2::{Domain as Family, Socket, Type};
use tokio::net::TcpListener;

use crate::scene::{
    Flow, Names, book, connect, dial, direct, echo, expect_echo, outbound, refusal, soon, target, udp_echo,
};

fn plain(names: Names) -> Arc<Book> {
    book(vec![outbound("direct", Kind::Direct)], Vec::new(), names)
}

/// A listening socket that answers no more SYN: its queue is full.
struct BlackHole {
    _listener: Socket,
    _queue: Vec<Socket>,
}

impl BlackHole {
    fn at(ip: &str, port: u16) -> Self {
        let at = SocketAddr::new(ip.parse().unwrap(), port);
        let socket = || Socket::new(Family::for_address(at), Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&at.into()).unwrap();
        listener.listen(0).unwrap();
        let queue: Vec<Socket> = (0..4).map(|_| socket()).collect();
        for filler in &queue {
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&at.into());
        }
        Self { _listener: listener, _queue: queue }
    }
}

#[tokio::test]
async fn a_stream_to_an_address_or_a_name_is_bare_and_half_closes() {
    let (at, _echo) = echo().await;
    let book = plain(Names::new(&[("echo.test", "127.0.0.1")]));
    for to in [target(at), target(format!("echo.test:{}", at.port()))] {
        let mut stream = connect(&book, "direct", &to).await.unwrap();
        assert!(stream.raw_reader().is_some() && stream.raw_writer().is_some());
        expect_echo(&mut stream, b"over and out").await;
    }
}

/// F-H7: the second family gets its turn after 250 ms.
#[tokio::test]
async fn a_black_holed_family_costs_a_quarter_of_a_second() {
    let (at, _echo) = echo().await;
    let _hole = BlackHole::at("::1", at.port());
    let book = plain(Names::new(&[("both.test", "::1 127.0.0.1")]));
    let start = Instant::now();
    let mut stream = connect(&book, "direct", &target(format!("both.test:{}", at.port()))).await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(240) && took < Duration::from_millis(1500), "{took:?}");
    expect_echo(&mut stream, b"by the other family").await;
}

/// F-H7
#[tokio::test]
async fn an_unreachable_family_costs_nothing() {
    let (at, _echo) = echo().await;
    // Nobody listens on ::1 at this port, and a link-local address without an interface cannot be reached.
    for dead in ["::1", "fe80::1"] {
        let book = plain(Names::new(&[("both.test", &format!("{dead} 127.0.0.1"))]));
        let start = Instant::now();
        connect(&book, "direct", &target(format!("both.test:{}", at.port()))).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "{dead}: {:?}", start.elapsed());
    }
}

/// The budgets of faults §1: 5 s for one address, 10 s for a name and everything behind it. Time is simulated.
#[tokio::test]
async fn silence_has_a_limit() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let _hole = BlackHole::at("127.0.0.1", port);
    let mut silent = Names::default();
    silent.delay = Duration::from_secs(3600);
    let book = plain(silent);
    let dialer = book.find("direct").unwrap().dialer;
    tokio::time::pause();
    for (to, seconds, udp_seconds) in [(format!("127.0.0.1:{port}"), 5, None), ("silent.test:80".into(), 10, Some(5))] {
        let to = target(&to);
        let start = tokio::time::Instant::now();
        let error = dialer.connect(dial(&to)).await.err().unwrap();
        assert!(matches!(&error, DialError::TimedOut(step) if step.contains(&to.to_string())), "{error:?}");
        assert_eq!(start.elapsed().as_secs(), seconds, "{to}");
        let Some(udp_seconds) = udp_seconds else { continue };
        let start = tokio::time::Instant::now();
        assert!(matches!(dialer.datagrams(dial(&to)).await.err().unwrap(), DialError::TimedOut(_)));
        assert_eq!(start.elapsed().as_secs(), udp_seconds, "{to}");
    }
}

#[tokio::test]
async fn ip_version_decides_which_family_is_used() {
    let four = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = four.local_addr().unwrap().port();
    let six = TcpListener::bind(("::1", port)).await.unwrap();
    let to = target(format!("both.test:{port}"));
    for (version, expected) in [
        (IpVersion::V4, "127.0.0.1"),
        (IpVersion::V6, "::1"),
        (IpVersion::PreferV4, "127.0.0.1"),
        (IpVersion::PreferV6, "::1"),
        (IpVersion::Dual, "::1"),
    ] {
        let names = Names::new(&[("both.test", "::1 127.0.0.1")]);
        let book = book(vec![direct("direct", version)], Vec::new(), names);
        let stream = connect(&book, "direct", &to).await.unwrap();
        let peer = stream.raw_reader().unwrap().peer_addr().unwrap();
        assert_eq!(peer.ip(), expected.parse::<IpAddr>().unwrap(), "{version:?}");
    }
    drop((four, six));
}

#[tokio::test]
async fn a_known_address_saves_the_question() {
    let (at, _echo) = echo().await;
    let names = Arc::new(Names::default());
    let book = Book::build(Vec::new(), Vec::new(), Arc::clone(&names) as _, Arc::clone(&names) as _).unwrap();
    let to = target(format!("unknown.test:{}", at.port()));
    let dialer = book.find("DIRECT").unwrap().dialer;
    let known = Dial { known: Some(at.ip()), ..dial(&to) };
    soon(dialer.connect(known)).await.unwrap();
    soon(dialer.datagrams(known)).await.unwrap();
    assert_eq!(names.questions.load(Ordering::Relaxed), 0);
    let error = soon(dialer.connect(dial(&to))).await.err().unwrap();
    assert!(matches!(&error, DialError::Unresolved(why) if why.starts_with("unknown.test")), "{error}");
}

/// F-B6: every failure is told at once, and says which.
#[tokio::test]
async fn failures_have_their_kind_and_name_the_peer() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let book = plain(Names::new(&[("closed.test", "127.0.0.1")]));
    let (error, text) = refusal(&book, "direct", &target(format!("closed.test:{}", closed.port()))).await;
    assert!(matches!(error, DialError::Refused(_)));
    assert_eq!(text, format!("connection refused by closed.test ({closed})"));
    let (error, text) = refusal(&book, "direct", &target("[fe80::1]:80")).await;
    assert!(matches!(error, DialError::Io { .. }) && text.contains("connect to [fe80::1]:80"), "{text}");
}

/// F-B18
#[tokio::test]
async fn nothing_goes_to_what_names_no_host() {
    let book = plain(Names::new(&[("group.test", "224.0.0.1 ff02::1"), ("zero.test", "0.0.0.0")]));
    let dialer = book.find("direct").unwrap().dialer;
    for to in
        ["0.0.0.0:80", "[::]:80", "224.0.0.1:80", "255.255.255.255:80", "240.0.0.1:80", "group.test:80", "zero.test:1"]
    {
        let to = target(to);
        let (error, _) = refusal(&book, "direct", &to).await;
        assert!(matches!(error, DialError::Denied(_)), "{to}: {error:?}");
        let error = Flow::open(&dialer, &to).await.err().unwrap();
        assert!(matches!(error, DialError::Denied(_)), "{to}: {error:?}");
    }
    // A subnet's broadcast address does not look like one; the kernel knows, because the socket did not ask for it.
    let (error, _) = refusal(&book, "direct", &target("127.255.255.255:80")).await;
    assert!(matches!(error, DialError::Unreachable(_)), "{error:?}");
}

/// F-B11
#[tokio::test]
async fn our_own_listeners_are_not_dialled() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr();
    let (other, _echo) = echo().await;
    let book = plain(Names::new(&[("self.test", "127.0.0.1")]));
    for to in
        [target(at), target(format!("self.test:{}", at.port())), target(format!("[::ffff:127.0.0.1]:{}", at.port()))]
    {
        let (error, text) = refusal(&book, "direct", &to).await;
        assert!(matches!(error, DialError::Denied(_)) && text.contains("a listener of this proxy"), "{to}: {text}");
    }
    connect(&book, "direct", &target(other)).await.unwrap();
}

/// Full cone: one socket, whatever the destination, and anybody may answer.
#[tokio::test]
async fn datagrams_of_a_flow_leave_from_one_port() {
    let (one, _one) = udp_echo().await;
    let (two, _two) = udp_echo().await;
    let book = plain(Names::new(&[("two.test", "127.0.0.1")]));
    let dialer = book.find("direct").unwrap().dialer;
    let mut flow = Flow::open(&dialer, &target(one)).await.unwrap();
    let (port, from) = flow.echo(b"first", &target(one)).await;
    assert_eq!(from, target(one));
    assert_eq!(flow.echo(b"", &target(two)).await.0, port, "an empty payload passes (F-A17)");
    assert_eq!(flow.echo(&[7; 60_000], &target(format!("two.test:{}", two.port()))).await, (port, target(two)));

    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(b"unasked", ("127.0.0.1", port)).await.unwrap();
    assert_eq!(flow.recv().await.unwrap(), (b"unasked".to_vec(), target(stranger.local_addr().unwrap())));
}

#[tokio::test]
async fn an_icmp_answer_does_not_end_a_flow() {
    let (at, _echo) = udp_echo().await;
    let closed = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let book = plain(Names::default());
    let mut flow = Flow::open(&book.find("direct").unwrap().dialer, &target(closed)).await.unwrap();
    for _ in 0..5 {
        flow.send(b"anybody?", &target(closed)).await.unwrap();
    }
    // Nor does one that cannot be sent at all.
    flow.send(b"no route", &target("[fe80::1]:9")).await.unwrap();
    flow.send(b"multicast", &target("224.0.0.1:9")).await.unwrap();
    flow.send(b"broadcast", &target("127.255.255.255:9")).await.unwrap();
    flow.echo(b"still here", &target(at)).await;
}

/// A slow name holds up nothing else, and its own datagrams arrive once it is known.
#[tokio::test]
async fn names_are_looked_up_beside_the_flow() {
    let (at, _echo) = udp_echo().await;
    let mut names = Names::new(&[("slow.test", "127.0.0.1")]);
    names.delay = Duration::from_millis(150);
    let names = Arc::new(names);
    let book = Book::build(Vec::new(), Vec::new(), Arc::clone(&names) as _, Arc::clone(&names) as _).unwrap();
    let mut flow = Flow::open(&book.find("DIRECT").unwrap().dialer, &target(at)).await.unwrap();
    let slow = target(format!("slow.test:{}", at.port()));
    let start = Instant::now();
    for n in 0..20 {
        flow.send(&[n], &slow).await.unwrap();
    }
    flow.echo(b"at once", &target(at)).await;
    assert!(start.elapsed() < Duration::from_millis(120), "{:?}", start.elapsed());
    for n in 0..8 {
        assert_eq!(flow.recv().await.unwrap().0[2..], [n]);
    }
    assert!(flow.is_silent().await, "the rest was dropped");
    flow.echo(b"remembered", &slow).await;
    assert_eq!(names.questions.load(Ordering::Relaxed), 1);
    // A name that does not exist is remembered, too.
    for _ in 0..3 {
        flow.send(b"?", &target("nowhere.test:9")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(names.questions.load(Ordering::Relaxed), 2);
}

/// F-H7: a datagram goes to the family that has a route.
#[tokio::test]
async fn datagrams_skip_addresses_without_a_route() {
    let (at, _echo) = udp_echo().await;
    let names = Names::new(&[("both.test", "2001:db8::1 127.0.0.1")]);
    let mut loopback_only = direct("direct", IpVersion::PreferV6);
    loopback_only.common.socket.interface = Some("lo".into());
    let book = book(vec![loopback_only], Vec::new(), names);
    let to = target(format!("both.test:{}", at.port()));
    let mut flow = Flow::open(&book.find("direct").unwrap().dialer, &to).await.unwrap();
    flow.echo(b"by the other family", &to).await;
}
