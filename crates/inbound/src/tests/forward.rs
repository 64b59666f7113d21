//! Requests that are forwarded, and what comes back.

use std::time::Instant;

use adit_net::Stream as _;

use super::origin::*;
use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(host: &str) -> Vec<u8> {
    format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// F-A1
#[tokio::test]
async fn requests_are_forwarded_however_they_are_cut() {
    let origin = Origin::start(|mut stream, _| async move {
        while head(&mut stream).await == "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" {
            assert_eq!(exactly(&mut stream, 5).await.len(), 5);
            let mut body = Vec::new();
            while !body.ends_with(b"0\r\n\r\n") {
                body.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let scene = forwarding(&[("a", &origin)]);
    let whole = b"POST http://a/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6;e\r\nabcdef\r\n0\r\n\r\n";
    let mut client = scene.connect().await;
    for cut in 1..whole.len() {
        client.write_all(&whole[..cut]).await.unwrap();
        tokio::time::sleep(Duration::from_micros(300)).await;
        client.write_all(&whole[cut..]).await.unwrap();
        hear(&mut client, OK).await;
    }
    client.write_all(&whole.repeat(3)).await.unwrap();
    hear(&mut client, &OK.repeat(3)).await;
    drop(client);
    assert_eq!(origin.connections(), 1, "the origin's connection persists");
    scene.end().await;
}

/// F-A12: leftovers of one origin are not the answer of another, and each request gets its own answer.
#[tokio::test]
async fn a_client_may_alternate_between_origins() {
    const A: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    const B: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nbHTTP/1.1 200 OK\r\n\r\nEVIL";
    let a = Origin::answering(&[A; 3]).await;
    let b = Origin::answering(&[B; 3]).await;
    let scene = forwarding(&[("a", &a), ("b", &b)]);
    let mut client = scene.connect().await;
    for host in ["a", "b", "a", "b", "a", "b"] {
        client.write_all(&get(host)).await.unwrap();
        let expected = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{host}");
        hear(&mut client, expected.as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    assert_eq!((a.connections(), b.connections()), (1, 3));
    scene.end().await;
}

/// F-A12
#[tokio::test]
async fn every_answer_ends_where_it_should() {
    for (request, answer, hears, stays) in [
        ("GET", &b"HTTP/1.1 200 OK\r\n\r\nuntil close"[..], &b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil close"[..], false),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", true),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", true),
        (
            "GET",
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            true,
        ),
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 6\r\nContent-Length: 9\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 6\r\n\r\n",
            true,
        ),
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            true,
        ),
        ("GET", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        ("GET", b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        ("GET", b"", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        ("GET", b"HTTP/1.1 200", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
    ] {
        let shown = answer.escape_ascii();
        let origin = Origin::start(move |mut stream, n| async move {
            head(&mut stream).await;
            stream.write_all(if n == 0 { answer } else { OK }).await.unwrap();
        })
        .await;
        let scene = forwarding(&[("a", &origin)]);
        let mut client = scene.connect().await;
        let start = Instant::now();
        client.write_all(format!("{request} http://a/ HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        hear(&mut client, hears).await;
        if stays {
            client.write_all(&get("a")).await.unwrap();
            hear(&mut client, OK).await;
        } else {
            assert_eq!(rest(&mut client).await, b"", "{shown}");
        }
        assert!(start.elapsed() < Duration::from_secs(1), "{shown}");
        drop(client);
        scene.end().await;
    }
}

/// F-A12, F-B4, F-B5: what was cut off must not look whole.
#[tokio::test]
async fn a_short_body_ends_in_a_reset() {
    for (answer, reset) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"[..], false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nx\r\n", false),
        (b"HTTP/1.1 200 OK\r\n\r\nshort", true),
    ] {
        let origin = Origin::start(move |mut stream, _| async move {
            head(&mut stream).await;
            stream.write_all(answer).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            if reset {
                stream.abort();
            }
        })
        .await;
        let scene = forwarding(&[("a", &origin)]);
        let mut client = scene.connect().await;
        client.write_all(&get("a")).await.unwrap();
        let mut heard = Vec::new();
        let end = timeout(PATIENCE, client.read_to_end(&mut heard)).await.unwrap();
        let kind = end.unwrap_err().kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{}", answer.escape_ascii());
        assert!(heard.windows(5).any(|part| part == b"short"));
        scene.end().await;
    }
}

/// The HTTP/1.0 behaviour that the module documents.
#[tokio::test]
async fn clients_of_http_1_0_get_what_they_understand() {
    let chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    for (fields, answer, hears) in [
        ("", &chunked[..], "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"),
        ("Connection: keep-alive\r\n", chunked, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"),
        ("", OK, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
    ] {
        let origin = Origin::start(move |mut stream, _| async move {
            head(&mut stream).await;
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let scene = forwarding(&[("a", &origin)]);
        let heard = scene.ask(format!("GET http://a/ HTTP/1.0\r\n{fields}\r\n").as_bytes()).await;
        assert_eq!(String::from_utf8(heard).unwrap(), hears);
        scene.end().await;
    }
    let origin = Origin::answering(&[OK, OK]).await;
    let scene = forwarding(&[("a", &origin)]);
    let mut client = scene.connect().await;
    for _ in 0..2 {
        client.write_all(b"GET http://a/ HTTP/1.0\r\nProxy-Connection: Keep-Alive\r\n\r\n").await.unwrap();
        let hears =
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nProxy-Connection: keep-alive\r\n\r\nok";
        hear(&mut client, hears).await;
    }
    drop(client);
    scene.end().await;
}

/// Both directions at once, with more than fits anywhere on the way (F-B7: a reader that stalls loses nothing).
#[tokio::test]
async fn bodies_flow_both_ways_at_once() {
    const SIZE: usize = 4 * 1024 * 1024;
    let origin = Origin::start(|mut stream, _| async move {
        head(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.split();
        let copied = tokio::io::copy(&mut (&mut from).take(SIZE as u64), &mut to).await.unwrap();
        assert_eq!(copied, SIZE as u64);
    })
    .await;
    let scene = forwarding(&[("a", &origin)]);
    let mut client = scene.connect().await;
    let sent: Vec<u8> = (0..SIZE).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let (mut from, mut to) = client.split();
    let sending = async {
        let head = format!("PUT http://a/ HTTP/1.1\r\nContent-Length: {SIZE}\r\n\r\n");
        to.write_all(head.as_bytes()).await.unwrap();
        to.write_all(&sent).await.unwrap();
    };
    let receiving = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut heard = vec![0; format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").len() + SIZE];
        from.read_exact(&mut heard).await.unwrap();
        heard.split_off(heard.len() - SIZE)
    };
    let ((), heard) = timeout(PATIENCE, async { tokio::join!(sending, receiving) }).await.unwrap();
    assert!(heard == sent);
    drop(client);
    scene.end().await;
}

#[tokio::test]
async fn an_expectation_is_the_origins_to_meet() {
    let origin = Origin::start(|mut stream, _| async move {
        assert!(head(&mut stream).await.contains("Expect: 100-continue\r\n"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        assert_eq!(exactly(&mut stream, 4).await, b"body");
        stream.write_all(OK).await.unwrap();
    })
    .await;
    let scene = forwarding(&[("a", &origin)]);
    let mut client = scene.connect().await;
    client.write_all(b"POST http://a/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await.unwrap();
    hear(&mut client, b"HTTP/1.1 100 Continue\r\n\r\n").await;
    client.write_all(b"body").await.unwrap();
    hear(&mut client, OK).await;
    drop(client);
    scene.end().await;
}

/// An origin that answers before it has the whole request is heard, and the rest of the request is not taken for
/// another one.
#[tokio::test]
async fn an_early_answer_is_passed_on_and_ends_the_connection() {
    for closes in [false, true] {
        let origin = Origin::start(move |mut stream, _| async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            if !closes {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await;
        let scene = forwarding(&[("a", &origin)]);
        let mut client = scene.connect().await;
        client.write_all(b"POST http://a/ HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
        hear(&mut client, b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await;
        let _ = client.write_all(&get("a").repeat(10)).await;
        assert_eq!(rest(&mut client).await, b"");
        drop(client);
        assert_eq!(scene.sessions().len(), 1);
        scene.end().await;
    }
}

/// F-A14
#[tokio::test]
async fn an_origin_that_is_silent_is_left_with_the_client() {
    for resets in [false, true] {
        let (left, mut hears_left) = tokio::sync::mpsc::unbounded_channel();
        let origin = Origin::start(move |mut stream, _| {
            let left = left.clone();
            async move {
                head(&mut stream).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                left.send(()).unwrap();
            }
        })
        .await;
        let scene = forwarding(&[("a", &origin)]);
        let mut client = scene.connect().await;
        client.write_all(&get("a")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        if resets {
            client.abort();
        }
        drop(client);
        timeout(Duration::from_secs(1), hears_left.recv()).await.expect("the origin was not left");
        scene.end().await;
    }
}

#[tokio::test]
async fn a_connection_that_went_stale_costs_a_harmless_request_nothing() {
    // The first answer is followed by silence; the second request on the same connection meets a close.
    let origin = Origin::start(|mut stream, _| async move {
        head(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        head(&mut stream).await;
    })
    .await;
    let scene = forwarding(&[("a", &origin)]);
    let mut client = scene.connect().await;
    for _ in 0..3 {
        client.write_all(&get("a")).await.unwrap();
        hear(&mut client, OK).await;
    }
    assert_eq!(origin.connections(), 3);
    // A request that might have been carried out is not repeated.
    client.write_all(b"POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
    assert!(rest(&mut client).await.starts_with(b"HTTP/1.1 502 "));
    drop(client);
    assert_eq!(origin.connections(), 3);
    scene.end().await;
}

#[tokio::test]
async fn a_refusal_is_one_answer_among_others() {
    let scene = Scene::start(options(Kind::Http), Manner::Refuse(|| DialError::Denied("x".into())));
    let mut client = scene.connect().await;
    for _ in 0..3 {
        client.write_all(&get("a")).await.unwrap();
        hear(&mut client, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    }
    drop(client);
    assert_eq!(scene.sessions().len(), 3);
    scene.end().await;
}

#[tokio::test]
async fn a_tunnel_may_follow_a_request_on_the_same_connection() {
    let origin = Origin::answering(&[OK, b"hello"]).await;
    let scene = forwarding(&[("a", &origin)]);
    let mut client = scene.connect().await;
    client.write_all(&get("a")).await.unwrap();
    hear(&mut client, OK).await;
    client.write_all(b"CONNECT a:80 HTTP/1.1\r\n\r\nto the origin\r\n\r\n").await.unwrap();
    hear(&mut client, b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    hear(&mut client, OK).await;
    drop(client);
    let protocols: Vec<Protocol> = scene.sessions().into_iter().map(|session| session.0).collect();
    assert_eq!(protocols, [Protocol::Http, Protocol::Https]);
    scene.end().await;
}

#[tokio::test]
async fn an_idle_connection_ends_after_a_while_and_at_shutdown() {
    let budgets = Budgets { keep_alive: Duration::from_millis(200), ..Budgets::default() };
    let origin = Origin::answering(&[OK, OK]).await;
    let scene = forwarding_within(budgets, options(Kind::Http), &[("a", &origin)]);
    let mut client = scene.connect().await;
    client.write_all(&get("a")).await.unwrap();
    hear(&mut client, OK).await;
    assert_eq!(rest(&mut client).await, b"");
    scene.end().await;

    let scene = forwarding(&[("a", &origin)]);
    let mut client = scene.connect().await;
    client.write_all(&get("a")).await.unwrap();
    hear(&mut client, OK).await;
    // No connection may be left although this one is not closed by its client.
    scene.end().await;
    assert_eq!(rest(&mut client).await, b"");
}
