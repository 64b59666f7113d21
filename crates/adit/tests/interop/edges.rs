//! What the doors answer to odd and hostile clients. Every row runs against adit and against Mihomo: where the two must agree they share
//! an expectation, elsewhere the row says both.

use std::time::Duration;

use adit_testkit::client::raw;
use adit_testkit::origin::{HttpOrigin, TcpOrigin};
use adit_testkit::subject::{Subject, Way};

/// What a client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// These bytes, or an answer that begins with them, then the end.
    Closed(&'static [u8]),
    /// These bytes, or an answer that begins with them; the connection stays open.
    Open(&'static [u8]),
    /// An answer that begins with these bytes; whether it is closed is a matter of time.
    Begins(&'static [u8]),
}
use Seen::{Begins, Closed, Open};

struct Row {
    /// What is wrong, with the fault's id where it has one.
    name: String,
    sent: Vec<u8>,
    ours: Seen,
    /// `None`: Mihomo does not survive it.
    mihomo: Option<Seen>,
}

/// A row on which both agree.
fn both(name: &str, sent: impl AsRef<[u8]>, seen: Seen) -> Row {
    differ(name, sent, seen.clone(), seen)
}

/// A row on which we do better.
fn differ(name: &str, sent: impl AsRef<[u8]>, ours: Seen, mihomo: Seen) -> Row {
    Row { name: name.to_owned(), sent: sent.as_ref().to_vec(), ours, mihomo: Some(mihomo) }
}

/// A SOCKS5 conversation in one segment: greeting without authentication, then a request.
fn socks5_request(request: &[u8]) -> Vec<u8> {
    [&[5, 1, 0][..], request].concat()
}

/// A CONNECT request for a name.
fn to_name(name: &[u8], port: u16) -> Vec<u8> {
    let request = [&[5, 1, 0, 3, name.len() as u8][..], name, &port.to_be_bytes()].concat();
    socks5_request(&request)
}

/// SOCKS5 (RFC 1928). Mihomo reports success before it connects, and closes where a reply exists (spec mihomo-surface §2.3).
fn socks5_rows(live: u16, dead: u16) -> Vec<Row> {
    let request = |request: &[u8]| socks5_request(&[request, &[0, 1, 127, 0, 0, 1], &live.to_be_bytes()].concat());
    let connect = |port: u16| socks5_request(&[&[5, 1, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat());
    let granted = Open(&[5, 0, 5, 0, 0, 1]);
    let mut rows = vec![
        both("greeting", [5, 1, 0], Open(&[5, 0])),
        both("greeting with several methods", [5, 3, 2, 1, 0], Open(&[5, 0])),
        differ("F-A2 greeting without methods", [5, 0], Closed(&[5, 0xff]), Open(&[5, 0])),
        differ("F-A2 no method in common", [5, 1, 0x80], Closed(&[5, 0xff]), Open(&[5, 0])),
        both("only user/password although no users exist", [5, 1, 2], Open(&[5, 2])),
        both("request in the greeting's segment (F-A1)", connect(live), granted.clone()),
        differ("F-B6 refused target", connect(dead), Closed(&[5, 0, 5, 5]), Begins(&[5, 0, 5, 0])),
        differ("F-A2 port 0", connect(0), Closed(&[5, 0, 5, 1]), Begins(&[5, 0, 5, 0])),
        differ("F-A2 BIND", request(&[5, 2]), Closed(&[5, 0, 5, 7]), Closed(&[5, 0])),
        differ("F-A2 unknown command", request(&[5, 9]), Closed(&[5, 0, 5, 7]), Closed(&[5, 0])),
        differ("F-A2 wrong version in the request", request(&[4, 1]), Closed(&[5, 0, 5, 1]), granted),
        differ(
            "F-A2 unknown address type",
            socks5_request(&[5, 1, 0, 2, 1, 2, 3, 4]),
            Closed(&[5, 0, 5, 8]),
            Closed(&[5, 0]),
        ),
        differ(
            "F-B6 name that does not resolve",
            to_name(b"no-such-name.invalid", 80),
            Closed(&[5, 0, 5, 4]),
            Begins(&[5, 0, 5, 0]),
        ),
    ];
    let names: [(&str, &[u8]); 8] = [
        ("empty", b""),
        ("NUL", b"a\0b.test"),
        ("CR LF", b"a\r\nb.test"),
        ("ESC", b"a\x1b[0m.test"),
        ("space", b"a b.test"),
        ("slash", b"a/b.test"),
        ("non-ASCII", b"\xff\xfe.test"),
        ("over-long label", &[b'a'; 200]),
    ];
    for (what, name) in names {
        let mihomo = if what == "empty" { Closed(&[5, 0]) } else { Begins(&[5, 0, 5, 0]) };
        rows.push(differ(&format!("F-A2 name: {what}"), to_name(name, live), Closed(&[5, 0, 5, 1]), mihomo));
    }
    // 2 + 255 overflows a byte in Mihomo 1.19.27, and the panic ends the process.
    rows.push(Row {
        mihomo: None,
        ..differ("F-A2 name of 255 bytes", to_name(&[b'a'; 255], live), Closed(&[5, 0, 5, 1]), Closed(&[]))
    });
    rows
}

/// SOCKS4 and SOCKS4a.
fn socks4_rows(live: u16, dead: u16) -> Vec<Row> {
    let request = |command: u8, port: u16, rest: &[u8]| [&[4, command][..], &port.to_be_bytes(), rest].concat();
    vec![
        both("SOCKS4 CONNECT", request(1, live, b"\x7f\0\0\x01me\0"), Open(&[0, 90])),
        both("SOCKS4a CONNECT", request(1, live, b"\0\0\0\x01me\0localhost\0"), Open(&[0, 90])),
        differ("F-B6 SOCKS4 refused target", request(1, dead, b"\x7f\0\0\x01\0"), Closed(&[0, 91]), Begins(&[0, 90])),
        differ("SOCKS4 BIND", request(2, live, b"\x7f\0\0\x01\0"), Closed(&[0, 91]), Closed(&[])),
        differ(
            "F-A5 SOCKS4 endless user id",
            request(1, live, &[&b"\x7f\0\0\x01"[..], &[b'u'; 5_000]].concat()),
            Closed(&[0, 91]),
            Closed(&[]),
        ),
    ]
}

/// First bytes that are neither SOCKS nor HTTP (F-A6), and CONNECT.
fn http_rows(live: u16, dead: u16) -> Vec<Row> {
    let connect = |authority: &str| format!("CONNECT {authority} HTTP/1.1\r\nHost: x\r\n\r\n");
    let ok = Open(b"HTTP/1.1 200 ");
    let bad = Closed(b"HTTP/1.1 400 ");
    vec![
        differ("F-A6 TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Closed(&[]), Open(&[])),
        // It begins as a method could, so it is told from one only by what follows.
        differ("F-A6 SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n", bad.clone(), Closed(&[])),
        differ("F-A6 zeros", [0; 64], Closed(&[]), Open(&[])),
        differ("F-A6 HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Closed(&[]), Closed(b"HTTP/2.0 400 ")),
        both("CONNECT", connect(&format!("127.0.0.1:{live}")), ok.clone()),
        both("CONNECT by name", connect(&format!("localhost:{live}")), ok),
        both("CONNECT with HTTP/1.0", format!("CONNECT 127.0.0.1:{live} HTTP/1.0\r\n\r\n"), Open(b"HTTP/1.0 200 ")),
        differ(
            "F-B6 CONNECT refused",
            connect(&format!("127.0.0.1:{dead}")),
            Closed(b"HTTP/1.1 502 "),
            Begins(b"HTTP/1.1 200 "),
        ),
        differ("F-A13 CONNECT without a port", connect("127.0.0.1"), bad.clone(), Begins(b"HTTP/1.1 200 ")),
        differ(
            "F-A13 CONNECT with userinfo",
            connect(&format!("me@127.0.0.1:{live}")),
            bad.clone(),
            Begins(b"HTTP/1.1 200 "),
        ),
        differ("F-A13 CONNECT, bare IPv6", connect("::1:80"), bad.clone(), Closed(&[])),
        differ("F-A13 CONNECT, port 0", connect("127.0.0.1:0"), bad.clone(), Begins(b"HTTP/1.1 200 ")),
        differ("F-A13 CONNECT, port 65536", connect("127.0.0.1:65536"), bad.clone(), Begins(b"HTTP/1.1 200 ")),
        both("origin-form", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", bad),
        // We keep the connection, as HTTP/1.1 has it; Mihomo needs `Proxy-Connection: keep-alive` for that.
        differ(
            "F-B6 GET refused",
            format!("GET http://127.0.0.1:{dead}/ HTTP/1.1\r\nHost: x\r\n\r\n"),
            Open(b"HTTP/1.1 502 "),
            Closed(b"HTTP/1.1 502 "),
        ),
    ]
}

/// Request heads that two parsers could read in two ways (F-A9): refused, or forwarded in one framing.
fn smuggling_rows(live: u16) -> Vec<Row> {
    let post = |headers: &str| {
        format!("POST http://127.0.0.1:{live}/sink HTTP/1.1\r\nHost: 127.0.0.1:{live}\r\n{headers}\r\nabc")
    };
    let bad = || Closed(b"HTTP/1.1 400 ");
    let mut rows = Vec::new();
    let gateway = || Closed(b"HTTP/1.1 502 ");
    for (what, headers, mihomo) in [
        ("differing Content-Length", "Content-Length: 3\r\nContent-Length: 4\r\n", Closed(&[])),
        ("signed Content-Length", "Content-Length: +3\r\n", Closed(&[])),
        ("hex Content-Length", "Content-Length: 0x3\r\n", Closed(&[])),
        ("huge Content-Length", "Content-Length: 99999999999999999999\r\n", Closed(&[])),
        ("space before the colon", "Content-Length : 3\r\n", gateway()),
        ("obs-fold", "X-A: b\r\n c\r\nContent-Length: 3\r\n", Closed(b"HTTP/1.1 200 ")),
        ("NUL in a value", "X-A: b\0c\r\nContent-Length: 3\r\n", Closed(&[])),
        ("bare CR in a value", "X-A: b\rc\r\nContent-Length: 3\r\n", Closed(&[])),
        ("two Hosts", "Host: other\r\nContent-Length: 3\r\n", Closed(&[])),
        ("chunk size overflow", "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", gateway()),
        (
            "Content-Length with Transfer-Encoding",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            Closed(b"HTTP/1.1 200 "),
        ),
    ] {
        rows.push(differ(&format!("F-A9 {what}"), post(headers), bad(), mihomo));
    }
    let coding = post("Transfer-Encoding: gzip, chunked\r\n");
    rows.push(differ("F-A9 unknown transfer coding", coding, Closed(b"HTTP/1.1 501 "), Closed(&[])));
    rows.push(differ("F-A9 HTTP/0.9", format!("GET http://127.0.0.1:{live}/\r\n"), bad(), Closed(&[])));
    let version = format!("GET http://127.0.0.1:{live}/ HTTP/3.7\r\nHost: x\r\n\r\n");
    rows.push(differ("F-A9 wrong version", version, bad(), Closed(b"HTTP/3.7 502 ")));
    let long = format!("GET http://127.0.0.1:{live}/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(20_000));
    rows.push(differ("F-A8 endless URL", long, Closed(b"HTTP/1.1 414 "), gateway()));
    let long = format!("GET http://127.0.0.1:{live}/ HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n", "a".repeat(100_000));
    rows.push(differ("F-A8 endless header", long, Closed(b"HTTP/1.1 431 "), gateway()));
    let many = format!("GET http://127.0.0.1:{live}/ HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(300));
    rows.push(differ("F-A8 many headers", many, Closed(b"HTTP/1.1 431 "), gateway()));
    rows
}

/// Runs all rows against `subject`; returns the ones that went otherwise, one line each.
fn judge(subject: Subject, rows: Vec<Row>, expected: impl Fn(&Row) -> Option<&Seen>) -> Vec<String> {
    let mut proxy = subject.start(Way::Direct);
    let addr = proxy.addr;
    let wrong = std::thread::scope(|scope| {
        // Most of the time is spent in seeing that nothing more comes, so the rows wait together.
        let threads: Vec<_> = rows
            .into_iter()
            .filter(|row| expected(row).is_some())
            .map(|row| scope.spawn(move || (raw(addr, &row.sent, false, Duration::from_millis(1_500)).unwrap(), row)))
            .collect();
        let mut wrong = Vec::new();
        for thread in threads {
            let ((answer, closed), row) = thread.join().unwrap();
            let Some(expected) = expected(&row) else { continue };
            let fits = match expected {
                Closed(bytes) => closed && answer.starts_with(bytes) && bytes.is_empty() == answer.is_empty(),
                Begins(bytes) => answer.starts_with(bytes),
                Open(bytes) => !closed && answer.starts_with(bytes) && bytes.is_empty() == answer.is_empty(),
            };
            if !fits {
                let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).escape_debug().to_string();
                wrong.push(format!("{}: expected {:02x?}, got \"{shown}\" {closed}", row.name, expected));
            }
        }
        wrong
    });
    assert!(proxy.process.is_running(), "a client ended the proxy:\n{}", proxy.process.tail(40));
    wrong
}

fn all_rows() -> (TcpOrigin, HttpOrigin, Vec<Row>) {
    let (echo, http, dead) = (TcpOrigin::echo(), HttpOrigin::start(), adit_testkit::free_port());
    let mut rows = socks5_rows(echo.port(), dead);
    rows.extend(socks4_rows(echo.port(), dead));
    rows.extend(http_rows(echo.port(), dead));
    rows.extend(smuggling_rows(http.port()));
    (echo, http, rows)
}

#[test]
fn odd_clients_get_the_right_answer() {
    let (_echo, _http, rows) = all_rows();
    let wrong = judge(Subject::Adit, rows, |row| Some(&row.ours));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reference_still_answers_as_the_table_says() {
    let (_echo, _http, rows) = all_rows();
    let wrong = judge(Subject::Mihomo, rows, |row| row.mihomo.as_ref());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
