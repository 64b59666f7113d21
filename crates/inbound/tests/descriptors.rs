//! Counts descriptors, which only a process of its own can do.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "this is all test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_inbound::{Access, Inbound, Kind, Options, Users};
use adit_net::{Accepted, DialError, Handler, KeepAlive, Packet, Shutdown, Stream as _, Task, farewell};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Refuses whoever gets as far as that.
struct Refusing;

impl Handler for Refusing {
    async fn tcp(&self, client: Accepted) {
        let last_words = client.reply.refused(&DialError::Refused("x".into()));
        farewell(client.stream, &last_words).await;
    }

    fn udp(&self, _: Packet) {}
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// F-A2, F-A3: whatever a client does, its connection is closed.
#[tokio::test]
async fn every_client_gives_its_descriptor_back() {
    let inbound = Inbound::bind(Options {
        name: "here".into(),
        kind: Kind::Mixed,
        listen: "127.0.0.1:0".parse().unwrap(),
        users: Users::none(),
        access: Access::everyone(),
        udp: true,
        keep_alive: KeepAlive::default(),
    })
    .unwrap();
    let addr = inbound.local_addr();
    let shutdown = Shutdown::new();
    let running = Task::spawn("inbound", inbound.run(Arc::new(Refusing), shutdown.clone()));
    visit(addr, b"\x05\xff").await;
    sleep(Duration::from_millis(100)).await;
    let before = descriptors();

    for says in [
        &b"\x05\0"[..],
        b"\x05\x01\0\x05\x01\0\x03\x09a.example\x01\xbb",
        b"\x05\x01\0\x05\x03\0\x01\0\0\0\0\0\0",
        b"\x04\x01\0\x50\0\0\0\x01ann\0a.example\0",
        b"CONNECT a.example:443 HTTP/1.1\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\n\r\n",
        b"POST http://a.example/ HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
    ] {
        for cut in 0..=says.len() {
            visit(addr, &says[..cut]).await;
        }
    }
    let gone = async {
        while descriptors() > before {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(Duration::from_secs(4), gone).await;
    assert!(waited.is_ok(), "{} descriptors before, {} after", before, descriptors());
    shutdown.start();
    timeout(Duration::from_secs(2), running.join()).await.unwrap();
}

/// Says this much, then leaves: once in order, once by a reset.
async fn visit(addr: SocketAddr, says: &[u8]) {
    let mut leaves = TcpStream::connect(addr).await.unwrap();
    let _ = leaves.write_all(says).await;
    let _ = leaves.shutdown().await;
    let _ = timeout(Duration::from_secs(5), leaves.read_to_end(&mut Vec::new())).await.expect("not left");
    let mut resets = TcpStream::connect(addr).await.unwrap();
    let _ = resets.write_all(says).await;
    resets.abort();
}
