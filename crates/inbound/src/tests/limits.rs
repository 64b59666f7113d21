//! Clients that want too much, and clients that are not wanted.

use std::time::Instant;

use super::*;

/// F-A7
#[tokio::test]
async fn unfinished_handshakes_end_at_their_deadline_however_they_trickle() {
    let budgets = Budgets { handshake: Duration::from_millis(400), ..Budgets::default() };
    let scene = Scene::start_within(budgets, options(Kind::Mixed), Manner::Echo);
    let start = Instant::now();
    let mut tricklers = Vec::new();
    for _ in 0..200 {
        tricklers.push(scene.connect().await);
    }
    let mut byte = b"GET http://example.com/".iter().cycle();
    while start.elapsed() < Duration::from_millis(300) {
        let next = *byte.next().unwrap();
        for client in &mut tricklers {
            client.write_all(&[next]).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = Instant::now();
    let mut served = scene.connect().await;
    served.write_all(b"\x05\x01\0\x05\x01\0\x01\x01\x02\x03\x04\0\x50").await.unwrap();
    hear(&mut served, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0").await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    drop(served);
    for client in &mut tricklers {
        assert_eq!(rest(client).await, b"");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    scene.end().await;
}

/// F-A5
#[tokio::test]
async fn endless_socks4_texts_are_cut() {
    let scene = Scene::start(options(Kind::Socks), Manner::Echo);
    for start in [&b"\x04\x01\0\x50\x01\x02\x03\x04"[..], b"\x04\x01\0\x50\0\0\0\x01\0"] {
        let bytes = [start, &[b'x'; 600]].concat();
        assert_eq!(scene.ask(&bytes).await, b"\0\x5b\0\0\0\0\0\0");
        // A sender that does not stop is left, and what it sends is not kept.
        let endless = [start, &vec![b'x'; 1024 * 1024]].concat();
        let mut client = scene.connect().await;
        let sent = client.write_all(&endless).await;
        let heard = rest(&mut client).await;
        assert!(sent.is_err() || heard == b"\0\x5b\0\0\0\0\0\0" || heard.is_empty());
    }
    scene.end().await;
}

/// F-C3
#[tokio::test]
async fn a_source_that_is_not_allowed_is_closed_before_a_byte() {
    for access in [
        Access::listed(["10.0.0.0/8".parse().unwrap()]),
        Access::listed([]),
        Access::everyone().denying(["127.0.0.0/8".parse().unwrap()]),
    ] {
        let mut closed = options(Kind::Mixed);
        closed.access = access;
        let scene = Scene::start(closed, Manner::Echo);
        assert_eq!(scene.ask(b"\x05\x01\0").await, b"");
        assert_eq!(scene.ask(b"GET / HTTP/1.1\r\n\r\n").await, b"");
        scene.end().await;
    }
    let mut private = options(Kind::Mixed);
    private.access = Access::private_only();
    let scene = Scene::start(private, Manner::Echo);
    assert_eq!(scene.ask(b"\x05\x01\x01").await, b"\x05\xff");
    scene.end().await;
}

/// A dual-stack listener sees IPv4 clients as IPv4.
#[tokio::test]
async fn mapped_sources_are_judged_by_their_real_address() {
    let mut dual = options(Kind::Socks);
    dual.listen = "[::]:0".parse().unwrap();
    dual.access = Access::listed(["127.0.0.0/8".parse().unwrap()]);
    let scene = Scene::start(dual, Manner::Echo);
    let mut client = TcpStream::connect(("127.0.0.1", scene.addr.port())).await.unwrap();
    client.write_all(b"\x05\x01\0\x05\x01\0\x01\x01\x02\x03\x04\0\x50").await.unwrap();
    hear(&mut client, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0").await;
    let session = scene.recorder.sessions.lock().unwrap()[0].clone();
    assert!(session.client.ip().is_ipv4() && session.entry.local.is_ipv4(), "{session:?}");
    drop(client);
    scene.end().await;
}

/// The part of a connection that stays while it is a tunnel is small; performance notes §2.
#[tokio::test]
async fn a_tunnel_keeps_nothing_of_its_handshake() {
    struct Nothing;
    impl Handler for Nothing {
        async fn tcp(&self, client: Accepted) {
            drop(client);
        }
        fn udp(&self, _: Packet) {}
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stream = TcpStream::connect(addr).await.unwrap();
    let door = Arc::new(crate::door::Door::new(options(Kind::Mixed), Budgets::default(), None, Shutdown::new()));
    let handler = Arc::new(Nothing);
    let handlers = size_of::<Accepted>();
    let size = size_of_val(&crate::serve::serve(stream, addr.into(), door, handler));
    assert!(size <= 1024 + handlers, "{size} bytes, of which the handler's {handlers}");
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let scene = Scene::start(options(Kind::Socks), Manner::Echo);
    let mut same = options(Kind::Socks);
    same.listen = scene.addr;
    let error = Inbound::bind(same).unwrap_err().to_string();
    assert!(error.contains(&scene.addr.to_string()) && error.contains("TCP"), "{error}");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut taken = options(Kind::Socks);
    taken.listen = udp.local_addr().unwrap();
    let error = Inbound::bind(taken.clone()).unwrap_err().to_string();
    assert!(error.contains("UDP"), "{error}");
    taken.udp = false;
    Inbound::bind(taken).unwrap();
    scene.end().await;
}
