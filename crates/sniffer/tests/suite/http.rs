use adit_sniffer::http::sniff;
use adit_sniffer::{LIMIT, Look, StreamSniffer, Verdict};
use proptest::prelude::*;

use crate::wire::{CHROMIUM_TLS, name, unhex};

const BROWSER: &[u8] =
    b"GET /index.html?q=a:b@c HTTP/1.1\r\nUser-Agent: Some Browser/1.0\r\nHOST: \tWWW.Example.com:8080 \r\n\
    Accept: */*\r\nCookie: host=other.example\r\n\r\n";

#[test]
fn a_request_cut_at_every_byte() {
    for cut in 0..BROWSER.len() {
        assert_eq!(sniff(&BROWSER[..cut]), Verdict::NeedMore, "{cut}");
    }
    assert_eq!(sniff(BROWSER), name("www.example.com"));
    assert_eq!(sniff(&[BROWSER, b"GET / HTTP/1.1\r\nHost: second.example\r\n\r\n"].concat()), name("www.example.com"));
}

#[test]
fn every_method_and_form_of_target() {
    for method in ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(sniff(request.as_bytes()), name("a.example"), "{method}");
    }
    for (line, found) in [
        ("OPTIONS *", Some("a.example")),
        ("GET http://b.example/x", Some("b.example")),
        ("GET HTTP://B.Example:8080?x=http://c/", Some("b.example")),
        ("GET https://b.example", Some("b.example")),
        ("GET http://user@b.example/", None),
        ("GET http://[::1]/", None),
        ("GET http:///", None),
        ("GET ftp://b.example/", None),
        ("GET b.example:80", None),
        // The name is whom a proxy shall reach; the connection goes to the proxy.
        ("CONNECT b.example:443", None),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(sniff(request.as_bytes()), found.map_or(Verdict::NotThis, name), "{line}");
    }
    assert_eq!(sniff(b"GET http://b.example/ HTTP/1.0\r\n\r\n"), name("b.example"));
    assert_eq!(sniff(b"GET / HTTP/1.0\r\n\r\n"), Verdict::NotThis);
}

/// F-A16: a Host that contradicts itself or is no name.
#[test]
fn f_a16_doubtful_hosts_name_nobody() {
    for host in [
        "",
        " ",
        "203.0.113.5",
        "203.0.113.5:80",
        "[2001:db8::1]:80",
        "127.1",
        "a.example, b.example",
        "a b",
        "a\tb",
        "user@a.example",
        "a.example:x",
        "a.example:80:90",
        "a.example/",
        "bücher.example",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(sniff(request.as_bytes()), Verdict::NotThis, "{host:?}");
    }
    for head in [
        "Host: a.example\r\nHost: b.example",
        "Host: a.example\r\nhost: a.example",
        "Host : a.example",
        " Host: a.example",
        "X: y\r\n Host: a.example",
        "Host: a\0.example",
    ] {
        let request = format!("GET / HTTP/1.1\r\n{head}\r\n\r\n");
        assert_eq!(sniff(request.as_bytes()), Verdict::NotThis, "{head:?}");
    }
}

#[test]
fn other_streams_end_the_wait_at_once() {
    for stream in [
        &b"SSH-2.0-OpenSSH"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"EHLO a.example\r\n",
        b"GETS / HTTP/1.1\r\n",
        b"GET\t/",
        b"P/",
        b"\x16\x03\x01",
        b"\0",
        b"GET / HTTP/3.0\r\n",
        b"GET / a",
    ] {
        assert_eq!(sniff(stream), Verdict::NotThis, "{:?}", stream.escape_ascii().to_string());
    }
}

/// F-A16: heads without an end.
#[test]
fn f_a16_the_limit_ends_the_wait() {
    let long = [&BROWSER[..BROWSER.len() - 2], b"X: ", &[b'a'; 2 * LIMIT]].concat();
    assert_eq!(sniff(&long[..LIMIT - 1]), Verdict::NeedMore);
    assert_eq!(sniff(&long[..LIMIT]), Verdict::NotThis);
    assert_eq!(sniff(&long), Verdict::NotThis);
    let many = ["GET / HTTP/1.1\r\nHost: a.example\r\n", &"a: b\r\n".repeat(200), "\r\n"].concat();
    assert_eq!(sniff(many.as_bytes()), Verdict::NotThis);
}

#[test]
fn a_stream_is_looked_at_for_all_that_is_wanted() {
    let hello = unhex(CHROMIUM_TLS);
    for (tls, http, stream, found) in [
        (true, true, &hello[..], true),
        (true, false, &hello, true),
        (false, true, &hello, false),
        (true, true, BROWSER, true),
        (true, false, BROWSER, false),
        (false, true, BROWSER, true),
        (false, false, BROWSER, false),
        (true, true, b"SSH-2.0-OpenSSH\r\n", false),
    ] {
        let sniffer = StreamSniffer::new(tls, http);
        let looks: Vec<_> = (0..=stream.len()).map(|seen| sniffer.look(&stream[..seen])).collect();
        let first = looks.iter().position(|look| *look != Look::NeedMore).unwrap();
        assert_eq!(first == stream.len() && matches!(looks[first], Look::Found(_)), found, "{tls} {http}");
        assert!(found || looks[first..].iter().all(|look| *look == Look::Nothing));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn verdicts_are_final(damage in prop::collection::vec((0..BROWSER.len(), any::<u8>()), 0..3), at in 0..BROWSER.len()) {
        let mut stream = BROWSER.to_vec();
        for (place, byte) in damage {
            stream[place] = byte;
        }
        let (early, late) = (sniff(&stream[..at]), sniff(&stream));
        prop_assert!(early == Verdict::NeedMore || early == late, "{:?} {:?}", early, late);
    }

    #[test]
    fn no_bytes_do_harm(rest in prop::collection::vec(any::<u8>(), 0..300), line in "GET [ -~]{0,40}\r\n") {
        let _ = sniff(&rest);
        let _ = sniff(&[line.as_bytes(), &rest].concat());
    }
}
