//! HTTP heads, as plain functions.

use crate::http::request::{self, Bad, Body, Forward, MAX_HEAD, MAX_TARGET, Request, Version, Wish};
use crate::http::response::{self, BadResponse, Framing, Response};

/// Reads a whole head, checking every cut of it on the way.
fn read(head: &str) -> Result<Request, Bad> {
    let bytes = head.as_bytes();
    let mut reader = request::Reader::default();
    for cut in 0..bytes.len() {
        let (whole, bit_by_bit) = (request::read(&bytes[..cut]), reader.read(&bytes[..cut]));
        assert_eq!(whole, bit_by_bit, "{cut} {head:?}");
        if let Some((_, length)) = whole? {
            panic!("{length} of {cut} bytes of {head:?} taken for whole");
        }
    }
    let glued = [bytes, b"GET http://other/ HTTP/1.1\r\n\r\n"].concat();
    let (request, length) = request::read(&glued)?.expect("a whole head");
    assert_eq!(length, bytes.len(), "{head:?}");
    Ok(request)
}

fn forwarded(head: &str) -> Forward {
    match read(head).unwrap().wish {
        Wish::Forward(forward) => forward,
        Wish::Tunnel(target) => panic!("a tunnel to {target}"),
    }
}

/// F-A10, F-A11
#[test]
fn the_origin_gets_a_head_of_our_own() {
    for (head, sent) in [
        ("GET http://Example.com HTTP/1.1\r\nHost: other\r\n\r\n", "GET / HTTP/1.1\r\nHost: Example.com\r\n\r\n"),
        (
            "\r\n\r\nGET http://u:p@[2001:db8::1]:8080/a?b#c HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
            "GET /a?b HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n",
        ),
        ("OPTIONS http://example.com:80 HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        ("OPTIONS http://example.com/ HTTP/1.1\r\n\r\n", "OPTIONS / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        ("PURGE http://example.com?x HTTP/1.1\r\n\r\n", "PURGE /?x HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        (
            "POST http://a/ HTTP/1.1\r\nhost: a\r\nACCEPT:  */*  \r\nX-Empty:\r\nCookie: a=b\r\ncookie: c=d\r\n\
             Connection: close, x-mine, Content-Length\r\nX-Mine: 1\r\nProxy-Authorization: Basic YTpi\r\n\
             Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\nAuthorization: Basic YTpi\r\n\
             content-length: 007\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nACCEPT: */*\r\nX-Empty: \r\nCookie: a=b\r\ncookie: c=d\r\n\
             Authorization: Basic YTpi\r\nContent-Length: 7\r\n\r\n",
        ),
        (
            "POST http://a/ HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\nTrailer: x\r\nExpect: 100-continue\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "GET ws://a/ HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "GET http://a/ HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "POST http://a/ HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        ),
    ] {
        assert_eq!(String::from_utf8(forwarded(head).head).unwrap(), sent, "{head:?}");
    }
}

#[test]
fn connections_persist_as_their_version_has_it() {
    for (rest, persistent) in [
        ("HTTP/1.1\r\n", true),
        ("HTTP/1.1\r\nConnection: close\r\n", false),
        ("HTTP/1.1\r\nProxy-Connection: Close\r\n", false),
        ("HTTP/1.1\r\nConnection: keep-alive\r\n", true),
        ("HTTP/1.0\r\n", false),
        ("HTTP/1.0\r\nProxy-Connection: keep-alive\r\n", true),
        ("HTTP/1.0\r\nConnection: Keep-Alive\r\n", true),
        // F-A9: what follows an upgrade that did not happen is not a request.
        ("HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", false),
        ("HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n", false),
        ("HTTP/1.1\r\nUpgrade: websocket\r\n", false),
    ] {
        let forward = forwarded(&format!("GET http://a/ {rest}\r\n"));
        assert_eq!(forward.persistent, persistent, "{rest}");
    }
}

#[test]
fn bodies_and_methods() {
    for (head, body) in [
        ("GET http://a/ HTTP/1.1\r\n\r\n", Body::None),
        ("POST http://a/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Body::Length(0)),
        ("POST http://a/ HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n", Body::Length(u64::MAX)),
        ("GET http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Body::Chunked),
    ] {
        assert_eq!(forwarded(head).body, body);
    }
    for (method, is_idempotent) in [("GET", true), ("PUT", true), ("POST", false), ("PATCH", false), ("get", false)] {
        let forward = forwarded(&format!("{method} http://a/ HTTP/1.1\r\n\r\n"));
        assert_eq!((forward.is_idempotent, forward.is_head), (is_idempotent, false));
    }
    assert!(forwarded("HEAD http://a/ HTTP/1.1\r\n\r\n").is_head);
}

/// F-A4
#[test]
fn credentials_are_basic() {
    for (field, name, password) in [
        ("Basic YW5uOmFwcGxl", "ann", "apple"),
        ("bASIC  YW5uOmFwcGxlOjE=", "ann", "apple:1"),
        ("Basic YW5uOmFwcGxlOjE", "ann", "apple:1"),
        ("Basic YW5u", "ann", ""),
        ("Basic Og==", "", ""),
        ("Basic", "", ""),
        ("Basic !!!!", "", ""),
        ("Bearer YW5uOmFwcGxl", "", ""),
        ("", "", ""),
    ] {
        let request = read(&format!("CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: {field}\r\n\r\n")).unwrap();
        let credentials = request.credentials.unwrap();
        assert_eq!(credentials.parts(), (name.as_bytes(), password.as_bytes()), "{field}");
        assert_eq!(format!("{credentials:?}"), "[redacted]");
    }
}

/// F-A9, F-A13
#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let get = |fields: &str| format!("GET http://a/ HTTP/1.1\r\n{fields}\r\n");
    for head in [
        get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        get("Content-Length: 5\r\nContent-Length: 5\r\n"),
        get("Content-Length: 5\r\nContent-Length: 6\r\n"),
        get("Content-Length: +5\r\n"),
        get("Content-Length: 0x5\r\n"),
        get("Content-Length: 5, 5\r\n"),
        get("Content-Length: 99999999999999999999\r\n"),
        get("Content-Length :5\r\n"),
        get("Content-Length\r\n"),
        get("Host: a\r\nHost: a\r\n"),
        get("X: a\r\n b\r\n"),
        get("X: a\r\n\tb\r\n"),
        get(" X: a\r\n"),
        get("X: a\nY: b\r\n"),
        get("X: a\rY: b\r\n"),
        get("X: a\0b\r\n"),
        get("X\u{1}: a\r\n"),
        get("X: \u{7f}\r\n"),
        get(": a\r\n"),
        get("Upgrade: a\r\nUpgrade: b\r\n"),
        get("Proxy-Authorization: a\r\nProxy-Authorization: b\r\n"),
        "GET http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        "GET http://a/\r\n\r\n".into(),
        "GET http://a/ HTTP/0.9\r\n\r\n".into(),
        "GET http://a/ HTTP/1.2\r\n\r\n".into(),
        "GET http://a/ HTTP/2.0\r\n\r\n".into(),
        "GET http://a/ http/1.1\r\n\r\n".into(),
        "GET  http://a/ HTTP/1.1\r\n\r\n".into(),
        "GET http://a/ HTTP/1.1 \r\n\r\n".into(),
        "GET http://a/ b HTTP/1.1\r\n\r\n".into(),
        "GET\thttp://a/\tHTTP/1.1\r\n\r\n".into(),
        "GE(T http://a/ HTTP/1.1\r\n\r\n".into(),
        "GET http://a/ HTTP/1.1\n\n".into(),
        "GET / HTTP/1.1\r\n\r\n".into(),
        "GET * HTTP/1.1\r\n\r\n".into(),
        "GET a:80 HTTP/1.1\r\n\r\n".into(),
        "GET https://a/ HTTP/1.1\r\n\r\n".into(),
        "CONNECT http://a/ HTTP/1.1\r\n\r\n".into(),
        "CONNECT a HTTP/1.1\r\n\r\n".into(),
        "CONNECT u@a:1 HTTP/1.1\r\n\r\n".into(),
        "CONNECT a:0 HTTP/1.1\r\n\r\n".into(),
        "CONNECT a:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n".into(),
        "CONNECT a:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
    ] {
        let why = read(&head).unwrap_err();
        assert_eq!(why.status(), Some(400), "{head:?}: {why}");
    }
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "chunked;q=1", ""] {
        let why = read(&get(&format!("Transfer-Encoding: {coding}\r\n"))).unwrap_err();
        assert_eq!(why.status(), Some(501), "{coding}");
    }
    let twice = "Transfer-Encoding: chunked\r\n".repeat(2);
    assert_eq!(read(&get(&twice)).unwrap_err().status(), Some(501));
}

/// F-A8
#[test]
fn heads_without_end_are_cut() {
    let status = |input: &[u8]| request::read(input).map(|found| found.is_some()).map_err(|bad| bad.status());
    let line = b"GET http://a/ HTTP/1.1\r\n";
    let long_header = [line, &b"X: "[..], &vec![b'x'; MAX_HEAD]].concat();
    assert_eq!(status(&long_header), Err(Some(431)));
    assert_eq!(status(&long_header[..MAX_HEAD]), Ok(false));
    let headers = |n: usize| [&line[..], &b"X: y\r\n".repeat(n)].concat();
    assert_eq!(status(&[&headers(200)[..], b"\r\n"].concat()), Ok(true));
    assert_eq!(status(&[&headers(201)[..], b"\r\n"].concat()), Err(Some(431)));
    assert_eq!(status(&headers(210)), Err(Some(431)));
    let target = |n: usize| format!("GET http://a/{} HTTP/1.1\r\n\r\n", "x".repeat(n - "http://a/".len()));
    assert_eq!(status(target(MAX_TARGET).as_bytes()), Ok(true));
    assert_eq!(status(target(MAX_TARGET + 1).as_bytes()), Err(Some(414)));
    assert_eq!(status(&[b"GET http://a/", &vec![b'x'; MAX_TARGET + 100][..]].concat()), Err(Some(414)));
    assert_eq!(status(&[b'X'; 40]), Err(Some(400)));
    assert_eq!(status(&b"\r\n".repeat(MAX_HEAD)), Err(Some(431)));
}

/// Reads a whole response head, checking every cut of it on the way.
fn answered(head: &str, to_head: bool) -> Result<Response, BadResponse> {
    for cut in 0..head.len() {
        assert_eq!(response::read(&head.as_bytes()[..cut], to_head)?, None, "{cut} {head:?}");
    }
    let glued = format!("{head}body");
    let (response, length) = response::read(glued.as_bytes(), to_head)?.expect("a whole head");
    assert_eq!(length, head.len());
    Ok(response)
}

/// F-A11, F-A12
#[test]
fn the_client_gets_a_head_of_our_own() {
    let head = "HTTP/1.1 200 Fine\r\nServer : x\r\nConnection: keep-alive, x-mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n\
                Proxy-Authenticate: Basic\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nTransfer-Encoding: chunked\r\nTrailer: t\r\n\r\n";
    let response = answered(head, false).unwrap();
    let common = "HTTP/1.1 200 Fine\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nTrailer: t\r\n";
    for (version, close, rest) in [
        (Version::Http11, false, "Transfer-Encoding: chunked\r\n\r\n"),
        (Version::Http11, true, "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"),
        (Version::Http10, true, "Connection: close\r\n\r\n"),
    ] {
        let sent = String::from_utf8(response.head_for(version, close)).unwrap();
        assert_eq!(sent, format!("{common}{rest}"));
    }
    let response = answered("HTTP/1.0 404 Not Found\r\nContent-Length: 3\r\n\r\n", false).unwrap();
    let sent = String::from_utf8(response.head_for(Version::Http10, false)).unwrap();
    assert_eq!(
        sent,
        "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: keep-alive\r\nProxy-Connection: keep-alive\r\n\r\n"
    );
}

/// F-A12
#[test]
fn every_response_has_one_framing() {
    use Framing::*;
    for (head, to_head, framing, persistent) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, Length(5), true),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", false, Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, None, true),
        ("HTTP/1.1 200 OK\r\n\r\n", true, None, true),
        ("HTTP/1.1 200 OK\r\n\r\n", false, UntilClose, false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", false, Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", false, Length(5), false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, Chunked, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", false, Chunked, false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", false, Length(5), false),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false, None, true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, None, true),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false, None, true),
    ] {
        let response = answered(head, to_head).unwrap();
        assert_eq!((response.framing, response.persistent), (framing, persistent), "{head:?}");
    }
    for bad in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
        "\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    ] {
        assert!(answered(bad, false).is_err(), "{bad:?}");
    }
    // The length of what GET would have got.
    let to_head = answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).unwrap();
    let sent = String::from_utf8(to_head.head_for(Version::Http11, false)).unwrap();
    assert_eq!(sent, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let empty = answered("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false).unwrap();
    assert_eq!(empty.head_for(Version::Http11, false), b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(response::read(&vec![b'x'; MAX_HEAD], false), Err(BadResponse::TooLarge));
}

/// Found by fuzzing: whether empty lines before a response were skipped depended on what had arrived with them.
#[test]
fn what_follows_an_empty_line_does_not_matter() {
    let input = b"\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    for cut in 4..=input.len() {
        assert_eq!(response::read(&input[..cut], false), Err(BadResponse::Malformed), "{cut}");
    }
}
