//! Runs VLESS connections of every kind against real Xray servers of both generations, and prints what they carried and
//! how. Needs `scripts/setup`. Ends with an error at the first difference.
//!
//! `cargo run -p adit-outbound --example vless_xray`

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_net::{ClientAddr, Counters, Dial, Dialer, End, Limits, SystemResolver, Tag, Target, relay};
use adit_outbound::Book;
use adit_outbound::options::{Common, Kind, Outbound, Tls, Verify};
use adit_outbound::vless::{Flow, Options, PacketEncoding, Security, UserId};
use adit_testkit::certificate::TARGET;
use adit_testkit::data;
use adit_testkit::origin::{HttpOrigin, TcpOrigin, TlsOptions, TlsOrigin, UdpOrigin};
use adit_testkit::peers::Era;
use adit_testkit::stage::{self, Door, FAR_NAME, Route, Stage};
use adit_testkit::tls::{Version, connect};
use tokio::io::ReadBuf;
use tokio::net::TcpListener;
use tokio::time::timeout;

const MIB: u64 = 1 << 20;

#[tokio::main]
async fn main() {
    for era in Era::ALL {
        println!("{era:?}");
        let stage = tokio::task::spawn_blocking(move || Stage::shared(era)).await.expect("a stage");
        for door in [Door::Vision, Door::Plain, Door::MlDsa, Door::Tls, Door::TlsVision, Door::Bare] {
            let dialer = dialer(&stage.route(door));
            through(era, door, &*dialer).await;
        }
        refused(stage).await;
    }
}

fn dialer(route: &Route) -> Arc<dyn Dialer> {
    let security = match &route.security {
        stage::Security::None => Security::None,
        stage::Security::Tls => Security::Tls(Tls {
            server_name: TARGET.to_owned(),
            alpn: Vec::new(),
            verify: Verify::Off,
            client_certificate: None,
        }),
        stage::Security::Reality(reality) => {
            let mut options = adit_reality::Options::new(
                reality.server_name.parse().expect("a server name"),
                reality.public_key.parse().expect("a public key"),
                reality.short_id.parse().expect("a short id"),
            );
            options.fingerprint = reality.fingerprint.parse().expect("a fingerprint");
            options.mldsa65_verify = reality.mldsa65_verify.as_ref().map(|key| key.parse().expect("an ML-DSA key"));
            Security::Reality(Box::new(options))
        }
    };
    let options = Options {
        server: route.server.into(),
        id: UserId::parse(&route.uuid).expect("a user id"),
        security,
        flow: if route.vision { Flow::Vision { udp443: false } } else { Flow::Plain },
        packet_encoding: PacketEncoding::Xudp,
    };
    let outbound = Outbound {
        name: Tag::new("xray"),
        kind: Kind::Vless(Box::new(options)),
        common: Common { udp: true, ..Common::default() },
    };
    let book = Book::build(vec![outbound], Vec::new(), Arc::new(SystemResolver), Arc::new(SystemResolver));
    book.expect("a book").find("xray").expect("the proxy").dialer
}

async fn through(era: Era, door: Door, dialer: &dyn Dialer) {
    for version in [Version::Tls13, Version::Tls12] {
        let origin = TlsOrigin::start(TlsOptions { version, ..TlsOptions::default() });
        let target = Target::new(FAR_NAME.parse::<adit_net::Domain>().expect("a name"), origin.port());
        let started = Instant::now();
        let (counters, end) = carry(dialer, &target, move |socket| {
            let mut tls = connect(socket, TARGET, version);
            get(&mut tls, 64 * MIB);
            post(&mut tls, 32 * MIB);
        })
        .await;
        report(era, door, &format!("{version:?} inside"), &counters, started, &end);
    }
    let http = HttpOrigin::start();
    let (counters, end) = carry(dialer, &http.addr().into(), |mut socket| {
        get(&mut socket, 8 * MIB);
        post(&mut socket, 8 * MIB);
    })
    .await;
    report(era, door, "HTTP inside", &counters, Instant::now(), &end);

    let banner = TcpOrigin::banner("220 ready\r\n");
    let (counters, end) = carry(dialer, &banner.addr().into(), |mut socket| {
        let mut text = [0; 11];
        socket.read_exact(&mut text).expect("a greeting");
        assert_eq!(&text, b"220 ready\r\n");
    })
    .await;
    report(era, door, "server speaks first", &counters, Instant::now(), &end);

    // Xray does not tell the target of our half-close, and ends the connection when the target then says nothing for a
    // second. What the target says without being told must arrive.
    let slow = TcpOrigin::answers_after(3 * MIB, MIB);
    let (counters, end) = carry(dialer, &slow.addr().into(), |mut socket| {
        socket.write_all(&data::first(3 * MIB as usize)).expect("upload");
        socket.shutdown(Shutdown::Write).expect("half-close");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("answer");
        assert!(data::is_content(0, &answer) && answer.len() as u64 == MIB, "{} bytes", answer.len());
    })
    .await;
    report(era, door, "client half-closes", &counters, Instant::now(), &end);
    datagrams(dialer).await;
    println!("    {door:?}: datagrams");
}

/// Runs `client` on a socket that is relayed to `target`.
async fn carry(
    dialer: &dyn Dialer,
    target: &Target,
    client: impl FnOnce(TcpStream) + Send + 'static,
) -> (Counters, End) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let client = tokio::task::spawn_blocking(move || client(TcpStream::connect(at).expect("a connection")));
    let (socket, from) = listener.accept().await.expect("a client");
    let dial = Dial { target, known: None, client: Some(ClientAddr::from(from)) };
    let upstream = dialer.connect(dial).await.expect("a way through");
    let counters = Counters::default();
    let end = timeout(Duration::from_secs(60), relay(Box::new(socket), upstream, &counters, Limits::default()))
        .await
        .expect("the relay ends");
    client.await.expect("the client is content");
    (counters, end)
}

fn report(era: Era, door: Door, what: &str, counters: &Counters, started: Instant, end: &End) {
    println!(
        "    {door:?}: {what}: up {} ({} spliced), down {} ({} spliced), {:.2} s, {end:?}",
        counters.up(),
        counters.spliced_up(),
        counters.down(),
        counters.spliced_down(),
        started.elapsed().as_secs_f64(),
    );
    let _ = era;
}

fn get(stream: &mut (impl std::io::Read + std::io::Write), length: u64) {
    write!(stream, "GET /bytes/{length} HTTP/1.1\r\nHost: {TARGET}\r\n\r\n").expect("request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("head");
        head.push(byte[0]);
    }
    let (mut got, mut buffer) = (0, vec![0; 64 * 1024]);
    while got < length {
        let n = stream.read(&mut buffer).expect("body");
        assert!(n > 0 && data::is_content(got, &buffer[..n]), "wrong byte near {got}");
        got += n as u64;
    }
}

fn post(stream: &mut (impl std::io::Read + std::io::Write), length: u64) {
    write!(stream, "POST /sink HTTP/1.1\r\nHost: {TARGET}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
        .expect("request");
    stream.write_all(&data::first(length as usize)).expect("body");
    stream.flush().expect("body");
    let mut answer = String::new();
    // The origin may end without close_notify.
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.contains(&format!("{length} {}", data::sha256(length))), "{answer}");
}

async fn datagrams(dialer: &dyn Dialer) {
    let (first, second) = (UdpOrigin::echo("first"), UdpOrigin::echo("second"));
    let target = Target::from(first.addr());
    let client = Some("127.0.0.1:4321".parse::<std::net::SocketAddr>().expect("an address").into());
    let dial = Dial { target: &target, known: None, client };
    let mut way = dialer.datagrams(dial).await.expect("a way for datagrams");
    for size in [1, 100, 1400, 7000] {
        for to in [first.addr(), second.addr()] {
            let to = Target::from(to);
            let payload = data::first(size);
            std::future::poll_fn(|cx| way.send.poll_send(cx, &payload, &to)).await.expect("sent");
            let mut room = vec![0; 65_536];
            let mut buf = ReadBuf::new(&mut room);
            let answer = std::future::poll_fn(|cx| way.recv.poll_recv(cx, &mut buf));
            let from = timeout(Duration::from_secs(10), answer).await.expect("an answer").expect("an answer");
            assert_eq!(from, to);
            assert!(buf.filled().ends_with(&payload), "{size}");
        }
    }
}

async fn refused(stage: &Stage) {
    let strangers = stage.target().accepted();
    for (what, route) in [
        ("short id", stage.route(Door::Vision).reality(|reality| "ff".clone_into(&mut reality.short_id))),
        ("fingerprint", stage.route(Door::Vision).reality(|reality| "ios".clone_into(&mut reality.fingerprint))),
    ] {
        let dialer = dialer(&route);
        let target = "127.0.0.1:9".parse().expect("a target");
        for _ in 0..2 {
            let dial = Dial { target: &target, known: None, client: None };
            match dialer.connect(dial).await {
                Ok(_) => println!("    wrong {what}: accepted"),
                Err(error) => println!("    wrong {what}: {error}"),
            }
        }
    }
    println!("    connections of the target: {}", stage.target().accepted() - strangers);
}
