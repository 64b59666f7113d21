//! A relay between two pairs of sockets, of which the test holds the outer ends.

use std::sync::Arc;

use adit_net::{BoxStream, Counters, End, Limits, Task, relay};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Lab {
    /// The client program.
    pub(crate) client: TcpStream,
    /// The server it talks to.
    pub(crate) server: TcpStream,
    pub(crate) counters: Arc<Counters>,
    pub(crate) relay: Task<End>,
}

pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (outer, inner) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (outer.unwrap(), inner.unwrap().0)
}

impl Lab {
    /// `client` and `upstream` make the relay's streams from its sockets.
    pub(crate) async fn new(
        client: impl FnOnce(TcpStream) -> BoxStream,
        upstream: impl FnOnce(TcpStream) -> BoxStream,
    ) -> Self {
        let (outer_client, inner_client) = pair().await;
        let (server, inner_upstream) = pair().await;
        let counters = Arc::new(Counters::default());
        let (client, upstream, count) = (client(inner_client), upstream(inner_upstream), counters.clone());
        let relay = Task::spawn("relay", async move { relay(client, upstream, &count, Limits::default()).await });
        Self { client: outer_client, server, counters, relay }
    }

    pub(crate) async fn raw() -> Self {
        Self::new(raw, raw).await
    }
}

pub(crate) fn raw(socket: TcpStream) -> BoxStream {
    Box::new(socket)
}

/// A generator that is good enough to chop and fill.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// `length` bytes that no shift, loss or repetition leaves equal.
pub(crate) fn payload(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| dice.next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Writes all of `bytes` in chunks of random size, sometimes letting others run in between, then ends the direction.
pub(crate) async fn send(mut to: OwnedWriteHalf, bytes: Vec<u8>, seed: u64) -> OwnedWriteHalf {
    let mut dice = Dice::new(seed);
    let mut left = &bytes[..];
    while !left.is_empty() {
        let most = 1 << (dice.next() % 18);
        let (now, later) = left.split_at(left.len().min(1 + dice.next() as usize % most));
        to.write_all(now).await.unwrap();
        left = later;
        if dice.next().is_multiple_of(4) {
            tokio::task::yield_now().await;
        }
    }
    to.shutdown().await.unwrap();
    to
}

/// Reads to the end in pieces of random size.
pub(crate) async fn receive(mut from: OwnedReadHalf, seed: u64) -> (OwnedReadHalf, Vec<u8>) {
    let mut dice = Dice::new(seed);
    let (mut got, mut buffer) = (Vec::new(), vec![0; 1 << 17]);
    loop {
        let most = 1 + dice.next() as usize % buffer.len();
        match from.read(&mut buffer[..most]).await.unwrap() {
            0 => return (from, got),
            n => got.extend_from_slice(&buffer[..n]),
        }
        if dice.next().is_multiple_of(8) {
            tokio::task::yield_now().await;
        }
    }
}

/// Reads until the stream ends in whatever way; the error, if it was one.
pub(crate) async fn read_out(from: &mut TcpStream) -> (Vec<u8>, Option<std::io::ErrorKind>) {
    let mut got = Vec::new();
    let outcome = from.read_to_end(&mut got).await;
    (got, outcome.err().map(|error| error.kind()))
}
