//! How long the API takes while ten thousand connections are open: `cargo run --release -p adit-controller --example
//! round-trips`. Requests go over one kept connection on loopback, one after the other.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on fails")]

use std::time::{Duration, Instant};

use adit_controller::{Daemon as _, Options};
use adit_engine::Decision;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[path = "../tests/api/theatre.rs"]
#[expect(dead_code, reason = "tests use the rest of it")]
mod theatre;

const OPEN: usize = 10_000;
const REQUESTS: usize = 200;

#[tokio::main]
async fn main() {
    let scene = theatre::Scene::start(Options::default());
    let engine = scene.daemon.engine();
    let rule = engine.world().rules.iter().next().cloned();
    let rows: Vec<_> = (0..OPEN)
        .map(|n| {
            let row = engine.table().enter(theatre::session(&format!("host-{n}.example.com:443")));
            let chain = vec!["one".into(), "Auto".into(), "Proxy".into()];
            row.decided(Decision { rule: rule.clone(), chain, process: None });
            row.counters().add_down(n as u64);
            row
        })
        .collect();
    println!("{} connections are open", rows.len());
    println!("{:<24} {:>10} {:>10} {:>10}", "GET", "bytes", "median", "99 %");
    let mut stream = TcpStream::connect(scene.at).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for path in ["/version", "/configs", "/proxies", "/rules", "/providers/proxies", "/metrics", "/connections"] {
        let mut took = Vec::with_capacity(REQUESTS);
        let mut bytes = 0;
        for _ in 0..REQUESTS {
            let start = Instant::now();
            bytes = round_trip(&mut stream, path).await;
            took.push(start.elapsed());
        }
        took.sort_unstable();
        let at = |part: usize| took.get(REQUESTS * part / 100).copied().unwrap_or(Duration::ZERO);
        println!("{path:<24} {bytes:>10} {:>10.2?} {:>10.2?}", at(50), at(99));
    }
}

/// Asks for `path` and returns the size of the body.
async fn round_trip(stream: &mut TcpStream, path: &str) -> usize {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::with_capacity(1 << 16);
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the controller hung up");
        let Some(split) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..split]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let (length, mut have): (usize, usize) = (length.parse().unwrap(), bytes.len() - split - 4);
        let mut rest = vec![0; 1 << 20];
        while have < length {
            have += stream.read(&mut rest).await.unwrap();
        }
        return length;
    }
}
