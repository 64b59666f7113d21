use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use adit_net::{DialError, Network, Secret, Target, Task};
use adit_outbound::options::{Credentials, Kind, Outbound, Socks5};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use crate::scene::{
    Asked, Flow, Names, asked, book, carry, connect, echo, expect_echo, outbound, refusal, serve, target, udp_echo,
};

/// How a server behaves. It takes exactly the bytes that RFC 1928 and 1929 want, in the order they want.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// The user and password it insists on.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// Answers with this instead of doing what was asked.
    reply: Option<Vec<u8>>,
    /// Writes everything one byte at a time.
    slow: bool,
    /// Sends this glued to its reply.
    glued: &'static [u8],
    /// Calls its relay by its address instead of 0.0.0.0.
    names_relay: bool,
    /// Ends an association after this many datagrams.
    datagrams: Option<usize>,
    /// The port from which the client sends datagrams.
    client_port: Arc<AtomicU16>,
    pub(crate) log: Asked,
}

pub(crate) fn upstream(name: &str, server: SocketAddr, credentials: Option<(&str, &str)>) -> Outbound {
    let credentials =
        credentials.map(|(user, password)| Credentials { user: user.into(), password: Secret::new(password) });
    outbound(name, Kind::Socks5(Socks5 { server: target(server), credentials, tls: None }))
}

/// Serves one client.
pub(crate) async fn socks5<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, script: Script) -> io::Result<()> {
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting).await?;
    let method = u8::from(script.login.is_some()) * 2;
    if greeting != [5, 1, method] {
        script.log.lock().unwrap().push(format!("greeting {greeting:?}"));
        return say(&mut client, &script, &[5, 0xff]).await;
    }
    say(&mut client, &script, &[5, method]).await?;
    if let Some((user, password)) = script.login {
        let expected =
            [&[1, user.len() as u8][..], user.as_bytes(), &[password.len() as u8], password.as_bytes()].concat();
        let mut login = vec![0; expected.len()];
        client.read_exact(&mut login).await?;
        say(&mut client, &script, &[1, u8::from(login != expected)]).await?;
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let to = address(&mut client, head[3]).await?;
    script.log.lock().unwrap().push(format!("{} {to}", ["?", "connect", "bind", "associate"][usize::from(head[1])]));
    if let Some(reply) = &script.reply {
        return say(&mut client, &script, reply).await;
    }
    match head[..3] {
        [5, 1, 0] => {
            say(&mut client, &script, &[&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0], script.glued].concat()).await?;
            carry(client, &to).await
        }
        [5, 3, 0] => associate(client, &script).await,
        _ => Ok(()),
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(client: &mut S, script: &Script, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(if script.slow { 1 } else { bytes.len().max(1) }) {
        client.write_all(piece).await?;
        client.flush().await?;
        tokio::time::sleep(Duration::from_millis(u64::from(script.slow))).await;
    }
    Ok(())
}

async fn address<S: AsyncRead + AsyncWrite + Unpin>(client: &mut S, kind: u8) -> io::Result<Target> {
    let mut host = vec![
        0;
        match kind {
            1 => 4,
            4 => 16,
            3 => client.read_u8().await?.into(),
            other => panic!("address type {other}"),
        }
    ];
    client.read_exact(&mut host).await?;
    let port = client.read_u16().await?;
    Ok(match kind {
        1 => SocketAddr::from((<[u8; 4]>::try_from(host).unwrap(), port)).into(),
        4 => SocketAddr::from((<[u8; 16]>::try_from(host).unwrap(), port)).into(),
        _ => target(format!("{}:{port}", String::from_utf8(host).unwrap())),
    })
}

/// A relay for one client; every destination is on this machine.
async fn associate<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, script: &Script) -> io::Result<()> {
    let relay = UdpSocket::bind("127.0.0.1:0").await?;
    let outside = UdpSocket::bind("127.0.0.1:0").await?;
    let port = relay.local_addr()?.port().to_be_bytes();
    let ip = if script.names_relay { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    say(&mut client, script, &[&[5, 0, 0, 1][..], &ip.octets(), &port].concat()).await?;
    let (mut from_client, mut from_outside) = (vec![0; 65_536], vec![0; 65_536]);
    let (mut peer, mut left) = (None, script.datagrams.unwrap_or(usize::MAX));
    while left > 0 {
        tokio::select! {
            got = relay.recv_from(&mut from_client) => {
                let (length, from) = got?;
                peer = Some(from);
                script.client_port.store(from.port(), Ordering::Relaxed);
                let datagram = &from_client[..length];
                assert_eq!(datagram[..3], [0, 0, 0]);
                let mut rest = &datagram[4..];
                let to = match datagram[3] {
                    1 => { rest = &rest[4..]; "v4" }
                    3 => { let n = usize::from(rest[0]); rest = &rest[1 + n..]; "name" }
                    other => panic!("address type {other}"),
                };
                script.log.lock().unwrap().push(format!("datagram to {to}"));
                let port = u16::from_be_bytes([rest[0], rest[1]]);
                outside.send_to(&rest[2..], ("127.0.0.1", port)).await?;
            }
            got = outside.recv_from(&mut from_outside) => {
                let (length, from) = got?;
                let framed = [&[0, 0, 0, 1, 127, 0, 0, 1][..], &from.port().to_be_bytes(), &from_outside[..length]].concat();
                // What a client must not be confused by comes first.
                let mut fragment = framed.clone();
                fragment[2] = 1;
                for datagram in [&b""[..], b"\0\0", &fragment, b"\0\0\0\x03\x04evil\0\x35spoof", &framed] {
                    relay.send_to(datagram, peer.unwrap()).await?;
                }
                left -= 1;
            }
            got = client.read_u8() => { got?; }
        }
    }
    Ok(())
}

async fn server(script: Script) -> (SocketAddr, Task<()>) {
    serve(move |client| socks5(client, script.clone())).await
}

#[tokio::test]
async fn connects_by_address_and_by_name_with_and_without_login() {
    let (at, _echo) = echo().await;
    for login in [None, Some(("user", "pass")), Some(("u", ""))] {
        let script = Script { login, ..Script::default() };
        let (proxy, _server) = server(script.clone()).await;
        let book = book(vec![upstream("up", proxy, login)], Vec::new(), Names::default());
        let by_name = target(format!("echo.test:{}", at.port()));
        for to in [&target(at), &by_name] {
            let mut stream = connect(&book, "up", to).await.unwrap();
            assert!(stream.raw_reader().is_some(), "nothing is held back, so it can be spliced");
            expect_echo(&mut stream, b"through the proxy").await;
            assert_eq!(asked(&script.log), [format!("connect {to}")]);
        }
    }
}

/// F-A1 from the other side: replies in pieces, payload glued to the reply.
#[tokio::test]
async fn replies_may_come_in_pieces_and_payload_with_them() {
    let (at, _echo) = echo().await;
    let script = Script { slow: true, login: Some(("user", "pass")), glued: b"220 ready\r\n", ..Script::default() };
    let (proxy, _server) = server(script).await;
    let book = book(vec![upstream("up", proxy, Some(("user", "pass")))], Vec::new(), Names::default());
    let mut stream = connect(&book, "up", &target(at)).await.unwrap();
    let mut banner = [0; 11];
    stream.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"220 ready\r\n");
    expect_echo(&mut stream, b"after the banner").await;
}

/// F-B6 and F-L2: who failed and why, but not the password.
#[tokio::test]
async fn failures_say_what_to_check() {
    let reply = |code| Some(vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    let plain = Script::default();
    for (script, login, expected) in [
        (Script { reply: reply(1), ..plain.clone() }, None, "SOCKS5: general failure of the server, for t.test:80"),
        (
            Script { reply: reply(2), ..plain.clone() },
            None,
            "denied: t.test:80, says the SOCKS5 server: connection not allowed by ruleset",
        ),
        (Script { reply: reply(3), ..plain.clone() }, None, "network unreachable"),
        (Script { reply: reply(4), ..plain.clone() }, None, "host unreachable"),
        (Script { reply: reply(5), ..plain.clone() }, None, "connection refused by t.test:80, says the SOCKS5 server"),
        (
            Script { reply: reply(6), ..plain.clone() },
            None,
            "timed out: t.test:80, says the SOCKS5 server: TTL expired",
        ),
        (Script { reply: reply(99), ..plain.clone() }, None, "unknown code 99"),
        (Script { reply: Some(vec![5, 5]), ..plain.clone() }, None, "connection refused by"),
        (
            Script { reply: Some(vec![5, 0, 0, 1, 1]), ..plain.clone() },
            None,
            "closed the connection during the handshake",
        ),
        (
            Script { reply: Some(b"HTTP/1.1 400".to_vec()), ..plain.clone() },
            None,
            "this is not SOCKS5 (version byte 72)",
        ),
        (
            Script { login: Some(("user", "pass")), ..plain.clone() },
            Some(("user", "hunter2")),
            "refused the user name or password",
        ),
        (Script { login: Some(("user", "pass")), ..plain.clone() }, None, "wants a user name and password"),
        (plain.clone(), Some(("user", "hunter2")), "does not take a user name and password"),
    ] {
        let (proxy, _server) = server(script).await;
        let outbound = upstream("up", proxy, login);
        assert!(!format!("{outbound:?}").contains("hunter2"));
        let book = book(vec![outbound], Vec::new(), Names::default());
        let (error, text) = refusal(&book, "up", &target("t.test:80")).await;
        assert!(text.contains(expected), "{text}\nlacks {expected}");
        assert!(text.contains(&format!("(proxy [up] at {proxy})")), "{text}");
        assert!(!format!("{error:?} {text}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_blamed() {
    let (at, server) = echo().await;
    drop(server);
    tokio::task::yield_now().await;
    let book = book(vec![upstream("up", at, None)], Vec::new(), Names::default());
    let (error, text) = refusal(&book, "up", &target("t.test:80")).await;
    assert!(matches!(error, DialError::Refused(_)), "{error:?}");
    assert_eq!(text, format!("connection refused by {at} (proxy [up] at {at})"));
}

#[tokio::test]
async fn datagrams_go_through_the_relay() {
    let (one, _one) = udp_echo().await;
    let (two, _two) = udp_echo().await;
    for names_relay in [false, true] {
        let script = Script { names_relay, login: Some(("user", "pass")), ..Script::default() };
        let (proxy, _server) = server(script.clone()).await;
        let book = book(vec![upstream("up", proxy, script.login)], Vec::new(), Names::default());
        let mut flow = Flow::open(&book.find("up").unwrap().dialer, &target(one)).await.unwrap();
        let (port, from) = flow.echo(b"first", &target(one)).await;
        assert_eq!(from, target(one));
        let by_name = target(format!("two.test:{}", two.port()));
        assert_eq!(flow.echo(&[9; 40_000], &by_name).await, (port, target(two)), "one mapping for all");
        assert_eq!(flow.echo(b"", &target(one)).await.0, port);
        assert_eq!(asked(&script.log), ["associate 0.0.0.0:0", "datagram to v4", "datagram to name", "datagram to v4"]);
    }
}

/// F-A18 from the other side: only the relay is listened to.
#[tokio::test]
async fn strangers_cannot_speak_for_the_relay() {
    let (at, _echo) = udp_echo().await;
    let script = Script::default();
    let (proxy, _server) = server(script.clone()).await;
    let book = book(vec![upstream("up", proxy, None)], Vec::new(), Names::default());
    let mut flow = Flow::open(&book.find("up").unwrap().dialer, &target(at)).await.unwrap();
    flow.echo(b"hello", &target(at)).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = script.client_port.load(Ordering::Relaxed);
    stranger.send_to(b"\0\0\0\x01\x7f\0\0\x01\0\x35spoof", ("127.0.0.1", port)).await.unwrap();
    assert!(flow.is_silent().await);
}

/// F-B15, F-A19: the association ends with its TCP connection, and the flow learns it.
#[tokio::test]
async fn an_association_ends_with_its_connection() {
    let (at, _echo) = udp_echo().await;
    let (proxy, _server) = server(Script { datagrams: Some(1), ..Script::default() }).await;
    let book = book(vec![upstream("up", proxy, None)], Vec::new(), Names::default());
    let dialer = book.find("up").unwrap().dialer;
    for _ in 0..2 {
        let mut flow = Flow::open(&dialer, &target(at)).await.unwrap();
        flow.echo(b"only one", &target(at)).await;
        let error = flow.recv().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("ended the UDP association"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_udp_is_named() {
    let script = Script { reply: Some(vec![5, 7, 0, 1, 0, 0, 0, 0, 0, 0]), ..Script::default() };
    let (proxy, _server) = server(script).await;
    let mut tcp_only = upstream("tcp-only", proxy, None);
    tcp_only.common.udp = false;
    let book = book(vec![upstream("up", proxy, None), tcp_only], Vec::new(), Names::default());
    for name in ["up", "tcp-only"] {
        let way = book.find(name).unwrap();
        let error = Flow::open(&way.dialer, &target("192.0.2.1:53")).await.err().unwrap();
        assert!(matches!(error, DialError::Unsupported(Network::Udp)), "{error:?}");
        assert_eq!(way.udp, name == "up");
    }
}

/// The handshake has ten seconds in all, however the bytes trickle; time is simulated.
#[tokio::test]
async fn a_silent_server_is_left() {
    let (proxy, _server) = serve(async |mut client| {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.map(drop)
    })
    .await;
    let book = book(vec![upstream("up", proxy, None)], Vec::new(), Names::default());
    let dialer = book.find("up").unwrap().dialer;
    let to = target("t.test:80");
    let dialled = dialer.connect(crate::scene::dial(&to));
    tokio::pin!(dialled);
    // Connect for real, then let the clock run.
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut dialled).await.is_err());
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = dialled.await.err().unwrap();
    assert!(matches!(&error, DialError::TimedOut(step) if step.contains("handshake (proxy [up]")), "{error:?}");
    let took = start.elapsed();
    assert!(took > Duration::from_secs(9) && took <= Duration::from_secs(10), "{took:?}");
}

/// A chain is looked up in its book at each dial; an outbound that outlives the book must not guess.
#[tokio::test]
async fn a_book_that_is_gone_takes_its_chains_with_it() {
    let (at, _echo) = echo().await;
    let (proxy, _server) = server(Script::default()).await;
    let chained = crate::scene::via(upstream("a", proxy, None), "DIRECT");
    let book = book(vec![chained], Vec::new(), Names::default());
    let dialer = book.find("a").unwrap().dialer;
    connect(&book, "a", &target(at)).await.unwrap();
    drop(Arc::try_unwrap(book).unwrap());
    let to = target(at);
    let error = dialer.connect(crate::scene::dial(&to)).await.err().unwrap();
    assert!(matches!(error, DialError::Denied(_)), "{error:?}");
}
