//! Requests that two readers could read in two ways, upgrades, and credentials.

use adit_net::Secret;

use super::origin::*;
use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// F-A9: the origin hears exactly the request that was meant, and what follows a bad one is no request.
#[tokio::test]
async fn nothing_is_smuggled() {
    let next = "GET http://a/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = "POST http://a/ HTTP/1.1\r\nHost: a\r\n";
    for (bad, status) in [
        (format!("{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody"), 400),
        (format!("{head}Content-Length: +4\r\n\r\nbody"), 400),
        (format!("{head}Content-Length : 4\r\n\r\nbody"), 400),
        (format!("{head}Transfer-Encoding: x\r\n\r\n0\r\n\r\n"), 501),
        (format!("{head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{head} Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{head}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{head}Host: b\r\n\r\n"), 400),
        ("GET http://a/\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
    ] {
        let origin = Origin::answering(&[OK]).await;
        let scene = forwarding(&[("a", &origin)]);
        let heard = scene.ask(format!("{bad}{next}").as_bytes()).await;
        let heard = String::from_utf8(heard).unwrap();
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{bad:?}: {heard:?}");
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{bad:?}: {heard:?}");
        assert_eq!(origin.connections(), 0, "{bad:?}");
        scene.end().await;
    }
}

/// F-A9
#[tokio::test]
async fn a_malformed_chunk_ends_the_request_and_the_connection() {
    for body in ["xyz\r\n", "5\nhello\r\n", "ffffffffffffffff1\r\n", "1\r\nab\r\n0\r\n\r\n", "0\r\n\n"] {
        let (heard_by_origin, mut record) = tokio::sync::mpsc::unbounded_channel();
        let origin = Origin::start(move |mut stream, _| {
            let record = heard_by_origin.clone();
            async move {
                let mut heard = Vec::new();
                let _ = stream.read_to_end(&mut heard).await;
                record.send(heard).unwrap();
            }
        })
        .await;
        let scene = forwarding(&[("a", &origin)]);
        let next = "GET http://a/smuggled HTTP/1.1\r\n\r\n";
        let bytes = format!("POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}{next}");
        let heard = scene.ask(bytes.as_bytes()).await;
        assert_eq!(heard, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "{body:?}");
        scene.end().await;
        if let Ok(heard) = record.try_recv() {
            let heard = String::from_utf8(heard).unwrap();
            assert!(!heard.contains("smuggled") && !heard.contains("\r\n0\r\n"), "{heard:?}");
        }
    }
}

const UPGRADE: &[u8] =
    b"GET http://a/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";

/// F-A9: no pass-through before the origin has answered 101.
#[tokio::test]
async fn an_upgrade_passes_bytes_only_after_101() {
    let origin = Origin::start(|mut stream, _| async move {
        let heard = head(&mut stream).await;
        assert!(heard.ends_with("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "{heard}");
        let early = timeout(Duration::from_millis(100), stream.read_u8()).await;
        assert!(early.is_err(), "a byte came before the 101");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nwelcome";
        stream.write_all(answer).await.unwrap();
        assert_eq!(exactly(&mut stream, 9).await, b"earlylate");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        stream.write_all(b"bye").await.unwrap();
    })
    .await;
    let scene = forwarding(&[("a", &origin)]);
    let mut client = scene.connect().await;
    client.write_all(&[UPGRADE, b"early"].concat()).await.unwrap();
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome";
    hear(&mut client, answer).await;
    client.write_all(b"late").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, b"bye");
    scene.end().await;
}

/// F-A9: after an upgrade that did not happen the connection ends, so that what followed is no request.
#[tokio::test]
async fn a_declined_upgrade_ends_the_connection() {
    let origin = Origin::answering(&[OK, OK]).await;
    let scene = forwarding(&[("a", &origin)]);
    let heard = scene.ask(&[UPGRADE, b"GET http://a/smuggled HTTP/1.1\r\n\r\n"].concat()).await;
    assert_eq!(heard, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    assert_eq!(origin.connections(), 1);
    scene.end().await;
}

fn with_users(kind: Kind) -> Options {
    let mut options = options(kind);
    options.users = Users::new([("ann".into(), Secret::new("apple"))]);
    options
}

const CHALLENGE: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\
    Proxy-Authenticate: Basic realm=\"proxy\"\r\nConnection: close\r\n\r\n";

/// F-A4
#[tokio::test]
async fn http_credentials_are_asked_for() {
    let origin = Origin::answering(&[OK, OK, OK]).await;
    let scene = forwarding_within(Budgets::default(), with_users(Kind::Mixed), &[("a", &origin)]);
    for field in [
        "",
        "Proxy-Authorization: Basic YW5uOmFwcGw=\r\n",
        "Proxy-Authorization: Basic YW5uOg==\r\n",
        "Proxy-Authorization: Basic OmFwcGxl\r\n",
        "Proxy-Authorization: Basic\r\n",
        "Proxy-Authorization: Bearer YW5uOmFwcGxl\r\n",
        "Authorization: Basic YW5uOmFwcGxl\r\n",
    ] {
        for request in [
            format!("CONNECT a:80 HTTP/1.1\r\n{field}\r\n"),
            format!("POST http://a/ HTTP/1.1\r\nContent-Length: 5\r\n{field}\r\nhello"),
        ] {
            assert_eq!(scene.ask(request.as_bytes()).await, CHALLENGE, "{request:?}");
        }
    }
    assert!(scene.sessions().is_empty());

    let right = "Proxy-Authorization: basic YW5uOmFwcGxl\r\n";
    let mut client = scene.connect().await;
    client.write_all(format!("GET http://a/ HTTP/1.1\r\n{right}\r\n").as_bytes()).await.unwrap();
    hear(&mut client, OK).await;
    // Proved once for the connection; but what is wrong stays wrong.
    client.write_all(b"GET http://a/ HTTP/1.1\r\n\r\n").await.unwrap();
    hear(&mut client, OK).await;
    client.write_all(b"GET http://a/ HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut client).await, CHALLENGE);
    drop(client);
    assert_eq!(scene.sessions(), [(Protocol::Http, "a:80".into(), Some("ann".into()))]);
    scene.end().await;
}

/// F-C3
#[tokio::test]
async fn skipped_sources_are_not_asked() {
    let mut skipping = with_users(Kind::Mixed);
    skipping.users = skipping.users.skipping(["127.0.0.0/8".parse().unwrap()]);
    let scene = Scene::start(skipping, Manner::Echo);
    let mut client = scene.connect().await;
    client.write_all(b"CONNECT a:80 HTTP/1.1\r\nProxy-Authorization: Basic YW5uOng=\r\n\r\n").await.unwrap();
    hear(&mut client, b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    let mut socks = scene.connect().await;
    socks.write_all(b"\x05\x01\0\x05\x01\0\x01\x01\x02\x03\x04\0\x50").await.unwrap();
    hear(&mut socks, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0").await;
    drop((client, socks));
    assert!(scene.sessions().iter().all(|session| session.2.is_none()));
    scene.end().await;
}

/// F-A8
#[tokio::test]
async fn heads_without_end_are_told_so() {
    let scene = Scene::start(options(Kind::Http), Manner::Echo);
    for (start, more, status) in [
        (&b"GET http://a/ HTTP/1.1\r\nX: "[..], &b"xxxxxxxxxx"[..], 431),
        (b"GET http://a/ HTTP/1.1\r\n", b"X: y\r\n", 431),
        (b"GET http://a/", b"xxxxxxxxxx", 414),
        (b"", b"XXXXXXXXXX", 400),
    ] {
        let bytes = [start, &more.repeat(20_000)].concat();
        let heard = scene.ask(&bytes).await;
        // Whoever pushes on for ever may be left without having read the answer.
        assert!(heard.is_empty() || heard.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
        let heard = scene.ask(&[start, &more.repeat(7_000)].concat()).await;
        assert!(heard.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{status} {}", heard.escape_ascii());
    }
    scene.end().await;
}

/// F-A13
#[tokio::test]
async fn connect_to_nowhere_is_a_bad_request() {
    let scene = Scene::start(options(Kind::Http), Manner::Echo);
    for target in ["a", "u:p@a:1", "2001:db8::1:443", "a:0", "a:65536", ":1"] {
        let heard = scene.ask(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await;
        assert!(heard.starts_with(b"HTTP/1.1 400 "), "{target}");
    }
    assert!(scene.sessions().is_empty());
    scene.end().await;
}
