//! Absolute-form HTTP: what the origin is sent, what the client gets back, and how a connection is reused.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use adit_testkit::client::raw;
use adit_testkit::data;
use adit_testkit::origin::{HttpOrigin, TcpOrigin};
use adit_testkit::subject::{Proxy, Subject, Way};

use crate::scenes::{read_head, read_response, receive, receive_to_end};

fn direct() -> Proxy {
    Subject::from_env().start(Way::Direct)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn get(stream: &mut TcpStream, origin: &HttpOrigin, path: &str) {
    write!(stream, "GET http://{0}{path} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr()).unwrap();
}

#[test]
fn f_a10_f_a11_the_origin_sees_a_clean_request() {
    let proxy = direct();
    let origin = HttpOrigin::start();
    let mut stream = connect(&proxy);
    let request = format!(
        "GET http://me:secret@{}/path?q=1#fragment HTTP/1.1\r\nHost: somewhere.else\r\nProxy-Connection: keep-alive\r\n\
         Proxy-Authorization: Basic bWU6c2VjcmV0\r\nKeep-Alive: timeout=4\r\nTE: trailers\r\nConnection: X-Hop, keep-alive\r\n\
         X-Hop: 1\r\nX-End: stays\r\nAccept: */*\r\nUser-Agent: somebody\r\n\r\n",
        origin.addr()
    );
    stream.write_all(request.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream), b"hello");
    let head = origin.last_head();
    let lower = head.to_ascii_lowercase();
    assert!(head.starts_with("GET /path?q=1 HTTP/1.1\r\n"), "{head}");
    assert!(lower.contains(&format!("\r\nhost: {}\r\n", origin.addr())), "Host comes from the URI:\n{head}");
    for kept in ["x-end: stays", "accept: */*", "user-agent: somebody"] {
        assert!(lower.contains(kept), "{kept} must stay:\n{head}");
    }
    for gone in ["proxy-", "keep-alive:", "te:", "x-hop", "secret", "fragment", "\r\nvia", "forwarded", "adit"] {
        assert!(!lower.contains(gone), "{gone} must go:\n{head}");
    }
}

#[test]
fn one_connection_serves_requests_to_several_origins() {
    let proxy = direct();
    let origins = [HttpOrigin::start(), HttpOrigin::start()];
    let mut stream = connect(&proxy);
    for round in 0..6 {
        let length = 1_000 + round;
        get(&mut stream, &origins[round % 2], &format!("/bytes/{length}"));
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
        receive(&mut stream, length as u64);
    }
    // Pipelined requests are answered in order.
    for length in [10, 20, 30] {
        get(&mut stream, &origins[0], &format!("/bytes/{length}"));
    }
    for length in [10, 20, 30] {
        assert!(read_head(&mut stream).contains(&format!("Content-Length: {length}\r\n")));
        receive(&mut stream, length);
    }
}

#[test]
fn f_a12_every_framing_of_a_response_reaches_the_client() {
    let proxy = direct();
    let origin = HttpOrigin::start();
    // Ends of their own: the connection goes on.
    let mut stream = connect(&proxy);
    for status in [204, 304] {
        get(&mut stream, &origin, &format!("/status/{status}"));
        assert!(read_head(&mut stream).starts_with(&format!("HTTP/1.1 {status}")));
    }
    write!(stream, "HEAD http://{0}/bytes/500 HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr()).unwrap();
    assert!(read_head(&mut stream).contains("Content-Length: 500"));
    get(&mut stream, &origin, "/bytes/3");
    read_head(&mut stream);
    receive(&mut stream, 3);
    // Chunks with a trailer.
    get(&mut stream, &origin, "/chunked/25000");
    assert!(read_head(&mut stream).to_ascii_lowercase().contains("transfer-encoding: chunked"));
    assert_eq!(read_chunks(&mut stream), data::first(25_000));
    // Framed by the end: the client's wait ends at once.
    let mut stream = connect(&proxy);
    get(&mut stream, &origin, "/eof/70000");
    let head = read_head(&mut stream).to_ascii_lowercase();
    let started = Instant::now();
    if head.contains("transfer-encoding: chunked") {
        assert_eq!(read_chunks(&mut stream), data::first(70_000));
    } else {
        assert_eq!(receive_to_end(&mut stream), 70_000);
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    // A short body ends in a closed connection, not in a hang and not in a whole answer.
    let mut stream = connect(&proxy);
    get(&mut stream, &origin, "/short/100000");
    read_head(&mut stream);
    let started = Instant::now();
    let mut body = Vec::new();
    let _ = stream.read_to_end(&mut body);
    assert!(
        body.len() <= 50_000 && started.elapsed() < Duration::from_secs(2),
        "{} bytes in {:?}",
        body.len(),
        started.elapsed()
    );
}

/// Reads a chunked body and its trailer.
fn read_chunks(stream: &mut TcpStream) -> Vec<u8> {
    let line = |stream: &mut TcpStream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    };
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(stream), 16).unwrap();
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).unwrap();
        if size == 0 {
            while !line(stream).is_empty() {}
            return body;
        }
        assert_eq!(line(stream), "");
    }
}

#[test]
fn an_upgrade_turns_the_connection_into_a_tunnel() {
    let proxy = direct();
    let origin = HttpOrigin::start();
    let mut stream = connect(&proxy);
    write!(
        stream,
        "GET http://{0}/upgrade HTTP/1.1\r\nHost: {0}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        origin.addr()
    )
    .unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101"));
    for text in [&b"one"[..], b"two\r\n\r\nGET / HTTP/1.1\r\n\r\n"] {
        stream.write_all(text).unwrap();
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    }
}

#[test]
fn f_a14_a_client_that_leaves_takes_its_request_along() {
    let proxy = direct();
    let (sender, left) = std::sync::mpsc::channel();
    let silent = TcpOrigin::start(move |mut stream| {
        // Answers nothing; says when its client is gone.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        let _ = sender.send(());
    });
    let mut stream = connect(&proxy);
    write!(stream, "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", silent.addr()).unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while silent.accepted() == 0 && Instant::now() < end {
        std::thread::yield_now();
    }
    drop(stream);
    left.recv_timeout(Duration::from_secs(5)).expect("the origin still waits");
}

const USERS: &str = "authentication:\n  - \"user:pass word\"\n  - \"other:x\"";

#[test]
fn f_a4_users_are_asked_for_and_checked_on_every_door() {
    let origin = HttpOrigin::start();
    let port = origin.port().to_be_bytes();
    let proxy = Subject::from_env().start_with(Way::Direct, USERS, |command| command);
    let socks5 = |user: &[u8], password: &[u8]| {
        let login = [&[1, user.len() as u8][..], user, &[password.len() as u8], password].concat();
        let bytes = [&[5, 1, 2][..], &login, &[5, 1, 0, 1, 127, 0, 0, 1], &port].concat();
        raw(proxy.addr, &bytes, false, Duration::from_millis(700)).unwrap()
    };
    let (answer, closed) = socks5(b"user", b"pass word");
    assert!(answer.starts_with(&[5, 2, 1, 0, 5, 0]) && !closed, "{answer:02x?}");
    let long = [b'a'; 255];
    for (user, password) in [
        (&b"user"[..], &b"pass wor"[..]),
        (b"user", b"pass wordd"),
        (b"user", b""),
        (b"use", b"pass word"),
        (b"", b"pass word"),
        (b"", b""),
        (b"other", b"pass word"),
        (&long, &long),
    ] {
        let (answer, closed) = socks5(user, password);
        assert!(
            answer.len() == 4 && answer[..3] == [5, 2, 1] && answer[3] != 0 && closed,
            "{user:?} {password:?}: {answer:02x?}"
        );
    }
    // A client that offers no authentication only.
    let (answer, closed) = raw(proxy.addr, &[5, 1, 0], false, Duration::from_millis(700)).unwrap();
    if Subject::from_env() == Subject::Adit {
        assert!(answer == [5, 0xff] && closed, "{answer:02x?}");
    }
    // SOCKS4 carries no password, and no user here has an empty one.
    let socks4 = [&[4, 1][..], &port, &[127, 0, 0, 1], b"user\0"].concat();
    let (answer, closed) = raw(proxy.addr, &socks4, false, Duration::from_millis(700)).unwrap();
    assert!(answer.starts_with(&[0, 93]) && closed, "{answer:02x?}");
    // HTTP: `user:pass word` is dXNlcjpwYXNzIHdvcmQ=.
    let http = |line: &str| {
        let request = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n{line}\r\n", origin.addr());
        let (answer, _) = raw(proxy.addr, request.as_bytes(), false, Duration::from_millis(700)).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let asked = http("");
    assert!(
        asked.starts_with("HTTP/1.1 407 ") && asked.to_ascii_lowercase().contains("proxy-authenticate: basic"),
        "{asked}"
    );
    assert!(http("Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n").starts_with("HTTP/1.1 200 "));
    assert!(http("Proxy-Authorization: bAsIc dXNlcjpwYXNzIHdvcmQ=\r\n").starts_with("HTTP/1.1 200 "));
    for wrong in ["Basic dXNlcjpwYXNzIHdvcg==", "Basic !!!", "Bearer dXNlcjpwYXNzIHdvcmQ=", "Basic"] {
        let answer = http(&format!("Proxy-Authorization: {wrong}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 407 "), "{wrong}: {answer}");
    }
}
