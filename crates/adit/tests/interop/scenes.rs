//! What a client does through a proxy, whichever proxy it is. Each scene panics unless everything arrives.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::certificate::TARGET;
use adit_testkit::client::{Association, To, socks5};
use adit_testkit::data;
use adit_testkit::origin::{HttpOrigin, TcpOrigin, TlsOptions, TlsOrigin, UdpOrigin};
use adit_testkit::tls::{self, Version};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;

/// Opens a tunnel or fails with the target's name.
pub(crate) fn tunnel(proxy: SocketAddr, to: &To) -> TcpStream {
    socks5(proxy, to).unwrap_or_else(|error| panic!("no tunnel to {to}: {error}"))
}

/// Sends `length` bytes through an echo while reading them back.
///
/// It does not half-close before everything is back: a stock Xray server ends a connection one second after either
/// side's end of stream, and its way out never passes a half-close on.
pub(crate) fn echo(proxy: SocketAddr, to: &To, length: u64) {
    let mut stream = tunnel(proxy, to);
    let mut writer = stream.try_clone().unwrap();
    let sender = thread::spawn(move || send(&mut writer, length));
    receive(&mut stream, length);
    sender.join().expect("the sender's side broke");
}

/// An HTTPS download and upload through the tunnel; the proxy sees TLS of `version` inside.
pub(crate) fn inner_tls(proxy: SocketAddr, to: &To, version: Version, length: u64) {
    let mut stream = tls::connect(tunnel(proxy, to), TARGET, version);
    download(&mut stream, length);
    let body = data::first(length.min(MIB) as usize);
    write!(stream, "POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(&body).unwrap();
    let expected = format!("{} {}", body.len(), data::sha256(body.len() as u64));
    let answer = read_response(&mut stream);
    assert_eq!(String::from_utf8_lossy(&answer), expected);
}

/// `GET /bytes/N` on an open stream, checked byte by byte.
pub(crate) fn download(stream: &mut (impl Read + Write), length: u64) {
    write!(stream, "GET /bytes/{length} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.flush().unwrap();
    read_head(stream);
    receive(stream, length);
}

/// A plain HTTP origin behind the tunnel.
pub(crate) fn plain_http(proxy: SocketAddr, origin: &HttpOrigin) {
    let mut stream = tunnel(proxy, &origin.addr().into());
    for length in [1, 10_000, 3 * MIB] {
        download(&mut stream, length);
    }
}

/// A server that speaks first: the banner must come although the client stays silent.
pub(crate) fn server_speaks_first(proxy: SocketAddr) {
    let banner = "220 mail.test ESMTP ready\r\n";
    let origin = TcpOrigin::banner(banner);
    let mut stream = tunnel(proxy, &origin.addr().into());
    let started = Instant::now();
    let mut got = vec![0; banner.len()];
    stream.read_exact(&mut got).expect("no banner");
    assert_eq!(got, banner.as_bytes());
    // Xray and we hold a silent client's header back for up to 500 ms (spec §1.4).
    assert!(started.elapsed() < Duration::from_secs(3), "the banner took {:?}", started.elapsed());
    stream.write_all(b"EHLO client\r\n").unwrap();
    let mut got = [0; 13];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"EHLO client\r\n");
}

/// The client half-closes while the answer is on its way: all of it still arrives, then the end. What every server can do.
pub(crate) fn half_closes_around_an_answer(proxy: SocketAddr) {
    let origin = TcpOrigin::answers_after(2 * MIB, 500_000);
    let mut stream = tunnel(proxy, &origin.addr().into());
    send(&mut stream, 2 * MIB);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive_to_end(&mut stream), 500_000);

    let counted = Arc::new(AtomicUsize::new(usize::MAX));
    let origin = TcpOrigin::closes_first(300_000, Arc::clone(&counted));
    let mut stream = tunnel(proxy, &origin.addr().into());
    assert_eq!(receive_to_end(&mut stream), 300_000);
}

/// The client half-closes first; the answer comes afterwards and is complete (F-B1).
pub(crate) fn client_half_closes(proxy: SocketAddr, length: u64) {
    let origin = TcpOrigin::answers_after_eof(length);
    let mut stream = tunnel(proxy, &origin.addr().into());
    send(&mut stream, 2 * MIB + 11);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut counted = [0; 8];
    stream.read_exact(&mut counted).expect("no answer after the half-close");
    assert_eq!(u64::from_be_bytes(counted), 2 * MIB + 11, "bytes reached the origin");
    assert_eq!(receive_to_end(&mut stream), length);
}

/// The server half-closes first; the client goes on and everything arrives (F-B1).
pub(crate) fn server_half_closes(proxy: SocketAddr) {
    let counted = Arc::new(AtomicUsize::new(usize::MAX));
    let origin = TcpOrigin::closes_first(300_000, Arc::clone(&counted));
    let mut stream = tunnel(proxy, &origin.addr().into());
    assert_eq!(receive_to_end(&mut stream), 300_000);
    send(&mut stream, MIB);
    stream.shutdown(Shutdown::Write).unwrap();
    drop(stream);
    let end = Instant::now() + Duration::from_secs(10);
    while counted.load(Ordering::Acquire) == usize::MAX && Instant::now() < end {
        thread::yield_now();
    }
    assert_eq!(counted.load(Ordering::Acquire), MIB as usize, "bytes after the server's half-close");
}

/// Datagrams of many sizes to two origins over one association, replies from the right one; and a name that only the far end resolves,
/// over an association of its own (Xray's way out resolves the first destination of a session as configured, later names by the system).
pub(crate) fn udp(proxy: SocketAddr, far_name: Option<&str>, v6: bool) {
    let (one, two) = (UdpOrigin::echo("one "), UdpOrigin::echo("two "));
    let mut targets: Vec<(To, &str)> = vec![(one.addr().into(), "one "), (two.addr().into(), "two ")];
    if v6 {
        targets.push((SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, one.port())).into(), "one "));
    }
    let association = Association::open(proxy).expect("no association");
    for (to, name) in &targets {
        ask_all_sizes(&association, to, name);
    }
    if let Some(far) = far_name {
        let association = Association::open(proxy).expect("no association");
        ask_all_sizes(&association, &To::name(far, two.port()), "two ");
    }
}

fn ask_all_sizes(association: &Association, to: &To, name: &str) {
    let port = |to: &To| match to {
        To::Addr(addr) => addr.port(),
        To::Name(_, port) => *port,
    };
    for size in [1, 100, 1_200, 1_472, 4_000, 7_000] {
        let payload = data::content(u64::from(port(to)), size);
        let (from, answer) =
            association.ask(to, payload).unwrap_or_else(|error| panic!("{size} bytes to {to}: {error}"));
        assert!(answer == [name.as_bytes(), payload].concat(), "{size} bytes to {to}: {} came back", answer.len());
        assert_eq!(port(&from), port(to), "the answer's source");
    }
}

/// An HTTPS origin of `version` without h2.
pub(crate) fn https(version: Version) -> TlsOrigin {
    TlsOrigin::start(TlsOptions { version, ..TlsOptions::default() })
}

pub(crate) fn send(stream: &mut impl Write, length: u64) {
    let mut at = 0;
    while at < length {
        let chunk = data::content(at, (length - at).min(200_000) as usize);
        stream.write_all(chunk).unwrap_or_else(|error| panic!("after {at} of {length} bytes: {error}"));
        at += chunk.len() as u64;
    }
}

/// Reads `length` bytes of the content.
pub(crate) fn receive(stream: &mut impl Read, length: u64) {
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    while got < length {
        let want = ((length - got) as usize).min(buffer.len());
        let n =
            stream.read(&mut buffer[..want]).unwrap_or_else(|error| panic!("after {got} of {length} bytes: {error}"));
        assert!(n > 0, "the end came after {got} of {length} bytes");
        assert!(data::is_content(got, &buffer[..n]), "wrong bytes after {got}");
        got += n as u64;
    }
}

/// Reads to the end of the stream and returns how much of the content came.
pub(crate) fn receive_to_end(stream: &mut impl Read) -> u64 {
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return got,
            Ok(n) => {
                assert!(data::is_content(got, &buffer[..n]), "wrong bytes after {got}");
                got += n as u64;
            }
            Err(error) => panic!("after {got} bytes: {error}"),
        }
    }
}

/// Reads a response's head and returns it.
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .unwrap_or_else(|error| panic!("no head: {error} after {:?}", String::from_utf8_lossy(&head)));
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads a response with a `Content-Length` and returns its body.
pub(crate) fn read_response(stream: &mut impl Read) -> Vec<u8> {
    let head = read_head(stream);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.expect("a length").parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    body
}
