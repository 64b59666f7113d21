use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{DialError, Network, Secret, Task};
use adit_outbound::options::{Credentials, Http, Kind, Outbound, Tls, Verify};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::scene::{
    Asked, Flow, Names, asked, book, carry, connect, echo, expect_echo, outbound, refusal, serve, target,
};

/// How a proxy behaves. It takes one CONNECT request, whole, and nothing else.
#[derive(Clone)]
pub(crate) struct Script {
    /// What it answers; with status 200, it connects.
    answer: String,
    /// Bytes per write.
    pieces: usize,
    pub(crate) log: Asked,
}

impl Default for Script {
    fn default() -> Self {
        Self { answer: "HTTP/1.1 200 Connection established\r\n\r\n".into(), pieces: usize::MAX, log: Asked::default() }
    }
}

pub(crate) fn upstream(name: &str, server: SocketAddr) -> Outbound {
    outbound(name, Kind::Http(options(server)))
}

fn options(server: SocketAddr) -> Http {
    Http { server: target(server), credentials: None, tls: None, headers: Vec::new() }
}

pub(crate) async fn proxy<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, script: Script) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    script.log.lock().unwrap().push(head.clone());
    let to =
        head.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(" HTTP/1.1\r\n")).expect("a CONNECT request");
    for piece in script.answer.as_bytes().chunks(script.pieces) {
        client.write_all(piece).await?;
        client.flush().await?;
        if script.pieces == 1 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
    if script.answer.contains(" 200 ") { carry(client, &target(to.0)).await } else { client.shutdown().await }
}

async fn server(script: Script) -> (SocketAddr, Task<()>) {
    serve(move |client| proxy(client, script.clone())).await
}

#[tokio::test]
async fn asks_for_names_and_addresses() {
    let (at, _echo) = echo().await;
    let script = Script::default();
    let (proxy, _server) = server(script.clone()).await;
    let book = book(vec![upstream("up", proxy)], Vec::new(), Names::default());
    for to in [target(at), target(format!("echo.test:{}", at.port())), target(format!("[::1]:{}", at.port()))] {
        let mut stream = connect(&book, "up", &to).await.unwrap();
        assert!(stream.raw_reader().is_some(), "nothing was read behind the head, so it can be spliced");
        expect_echo(&mut stream, b"through the proxy").await;
        let request = format!(
            "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: Go-http-client/1.1\r\nProxy-Connection: Keep-Alive\r\n\r\n"
        );
        assert_eq!(asked(&script.log), [request]);
    }
}

#[tokio::test]
async fn headers_of_the_configuration_override_ours() {
    let (at, _echo) = echo().await;
    let script = Script::default();
    let (proxy, _server) = server(script.clone()).await;
    let mut with_login = options(proxy);
    with_login.credentials = Some(Credentials { user: "user".into(), password: Secret::new("pass") });
    let mut with_headers = with_login.clone();
    with_headers.headers =
        [("user-agent", "curl/8"), ("HOST", "front.test"), ("proxy-authorization", "Bearer t"), ("X-A", "b")]
            .map(|(name, value)| (name.to_owned(), Secret::new(value)))
            .into();
    assert!(!format!("{with_headers:?}").contains("Bearer"), "F-L2");
    let book = book(
        vec![outbound("login", Kind::Http(with_login)), outbound("headers", Kind::Http(with_headers))],
        Vec::new(),
        Names::default(),
    );
    connect(&book, "login", &target(at)).await.unwrap();
    assert!(asked(&script.log)[0].ends_with("Keep-Alive\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"));
    connect(&book, "headers", &target(at)).await.unwrap();
    let request = format!(
        "CONNECT {at} HTTP/1.1\r\nProxy-Connection: Keep-Alive\r\n\
         user-agent: curl/8\r\nHOST: front.test\r\nproxy-authorization: Bearer t\r\nX-A: b\r\n\r\n"
    );
    assert_eq!(asked(&script.log), [request]);
}

/// Interim answers, headers that mean nothing here, heads in pieces, and the target's first bytes glued to the head.
#[tokio::test]
async fn nothing_of_the_tunnel_is_lost_however_the_head_comes() {
    let (at, _echo) = echo().await;
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 5\r\n\
                  Transfer-Encoding: chunked\r\n\r\n220 ready\r\n";
    for pieces in [1, 2, 7, usize::MAX] {
        let (proxy, _server) = server(Script { answer: answer.into(), pieces, ..Script::default() }).await;
        let book = book(vec![upstream("up", proxy)], Vec::new(), Names::default());
        let mut stream = connect(&book, "up", &target(at)).await.unwrap();
        let mut banner = [0; 11];
        stream.read_exact(&mut banner).await.unwrap();
        assert_eq!(&banner, b"220 ready\r\n");
        assert!(stream.raw_reader().is_some(), "bare again, once the banner is read");
        expect_echo(&mut stream, b"after the banner").await;
    }
}

/// F-B6
#[tokio::test]
async fn failures_say_what_to_check() {
    let too_long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(wire_limit()));
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2000);
    for (answer, expected) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP proxy: HTTP need auth"),
        ("HTTP/1.1 405 No\r\n\r\n", "CONNECT method not allowed by proxy"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "denied: t.test:80, says the HTTP proxy: 403 Forbidden"),
        ("HTTP/1.1 504 Gateway Timeout\r\n\r\n", "timed out: t.test:80, says the HTTP proxy: 504"),
        ("HTTP/1.1 502 \x1b[31mBad\r\n\r\n", "HTTP proxy: "),
        ("HTTP/1.1 503 Busy\r\n\r\n", "the proxy answered 503 Busy for t.test:80"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "the proxy answered 204 No Content"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "the proxy answered 101"),
        ("SSH-2.0-OpenSSH\r\n", "the answer is not HTTP"),
        ("HTTP/1.1 20", "it closed the connection before it answered"),
        ("", "it closed the connection before it answered"),
        (&too_long, "more than 16384 bytes of headers"),
        (&endless, "more than 16384 bytes of headers"),
    ] {
        // No 200 with a space behind it: that would make the script connect.
        let (proxy, _server) = server(Script { answer: answer.into(), ..Script::default() }).await;
        let book = book(vec![upstream("up", proxy)], Vec::new(), Names::default());
        let (_, text) = refusal(&book, "up", &target("t.test:80")).await;
        assert!(text.contains(expected), "{text}\nlacks {expected}");
        assert!(text.ends_with(&format!("(proxy [up] at {proxy})")) && !text.contains('\x1b'), "{text}");
    }
}

fn wire_limit() -> usize {
    adit_outbound::http::wire::LIMIT
}

#[tokio::test]
async fn there_is_no_udp() {
    let book = book(vec![upstream("up", "127.0.0.1:9".parse().unwrap())], Vec::new(), Names::default());
    let way = book.find("up").unwrap();
    assert!(!way.udp);
    let error = Flow::open(&way.dialer, &target("192.0.2.1:53")).await.err().unwrap();
    assert!(matches!(error, DialError::Unsupported(Network::Udp)));
}

#[tokio::test]
async fn tls_to_the_proxy() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["proxy.test".into()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (at, _echo) = echo().await;
    let script = Script::default();
    let served = script.clone();
    let (proxy_at, _server) = serve(move |client| {
        let (acceptor, script) = (acceptor.clone(), served.clone());
        async move { proxy(acceptor.accept(client).await?, script).await }
    })
    .await;

    let tls = |verify| Tls { server_name: "proxy.test".into(), alpn: Vec::new(), verify, client_certificate: None };
    let with = |name, verify| outbound(name, Kind::Http(Http { tls: Some(tls(verify)), ..options(proxy_at) }));
    let trusted = Verify::Roots(vec![certificate.der().as_ref().into()]);
    let book = book(vec![with("good", trusted), with("bad", Verify::Roots(Vec::new()))], Vec::new(), Names::default());
    let mut stream = connect(&book, "good", &target(at)).await.unwrap();
    assert!(stream.raw_reader().is_none());
    expect_echo(&mut stream, b"inside TLS").await;
    assert_eq!(asked(&script.log).len(), 1);

    let (error, text) = refusal(&book, "bad", &target(at)).await;
    assert!(matches!(error, DialError::Protocol(_)));
    assert!(
        text.contains("the certificate for proxy.test was not accepted") && text.contains("(proxy [bad] at"),
        "{text}"
    );
    assert_eq!(asked(&script.log).len(), 0, "nothing was asked of a server that was not trusted");
}
