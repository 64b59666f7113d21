//! A TCP relay that misbehaves on request and remembers what passed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::origin::TcpOrigin;

/// What it keeps of each direction, from the end.
const TAIL: usize = 256 * 1024;

/// What it keeps of each connection, from the beginning: enough for any browser's ClientHello.
const HEAD: usize = 8 * 1024;

/// How the bytes are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As they come.
    Plain,
    /// One byte per segment for the first `n` bytes of each direction, then as they come.
    Crumbs(usize),
}

/// A TCP relay between a proxy and its server.
#[derive(Debug)]
pub struct Middleman {
    tcp: TcpOrigin,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    up: Lane,
    down: Lane,
    open: Mutex<Vec<TcpStream>>,
    /// The first bytes of each connection towards the server, in the order in which they arrived.
    heads: Mutex<Vec<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Lane {
    count: AtomicU64,
    tail: Mutex<Vec<u8>>,
    held: AtomicBool,
}

impl Middleman {
    /// Starts one in front of `server`.
    #[must_use]
    pub fn start(server: SocketAddr, manner: Manner) -> Self {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let tcp = TcpOrigin::start(move |client| {
            let Ok(upstream) = TcpStream::connect(server) else { return };
            let _ = upstream.set_nodelay(true);
            let copy = |stream: &TcpStream| stream.try_clone().expect("a second handle");
            ours.open.lock().expect("a list").extend([copy(&client), copy(&upstream)]);
            let (from, to, shared) = (copy(&client), copy(&upstream), Arc::clone(&ours));
            let up = thread::spawn(move || {
                let mut head = Vec::new();
                pass(from, to, &shared.up, manner, |bytes| {
                    let room = HEAD - head.len();
                    head.extend_from_slice(&bytes[..bytes.len().min(room)]);
                });
                shared.heads.lock().expect("a list").push(head);
            });
            pass(upstream, client, &ours.down, manner, |_| {});
            let _ = up.join();
        });
        Self { tcp, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.tcp.addr()
    }

    /// How many connections it has carried.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.tcp.accepted()
    }

    /// Bytes carried towards the server.
    #[must_use]
    pub fn up(&self) -> u64 {
        self.shared.up.count.load(Ordering::Relaxed)
    }

    /// Bytes carried towards the client.
    #[must_use]
    pub fn down(&self) -> u64 {
        self.shared.down.count.load(Ordering::Relaxed)
    }

    /// The first 8 KiB that each finished connection carried towards the server.
    #[must_use]
    pub fn heads(&self) -> Vec<Vec<u8>> {
        self.shared.heads.lock().expect("a list").clone()
    }

    /// The last 256 KiB carried towards the server, of all connections together.
    #[must_use]
    pub fn up_tail(&self) -> Vec<u8> {
        self.shared.up.tail.lock().expect("a tail").clone()
    }

    /// The last 256 KiB carried towards the client, of all connections together.
    #[must_use]
    pub fn down_tail(&self) -> Vec<u8> {
        self.shared.down.tail.lock().expect("a tail").clone()
    }

    /// Stops carrying towards the client until called again with `false`; what arrives waits.
    pub fn hold_down(&self, hold: bool) {
        self.shared.down.held.store(hold, Ordering::Relaxed);
    }

    /// Ends every connection that is open now, both ways: with a FIN, or with a reset if `reset`.
    pub fn cut(&self, reset: bool) {
        for stream in self.shared.open.lock().expect("a list").drain(..) {
            if reset {
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, lane: &Lane, manner: Manner, mut see: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    let mut crumbs = match manner {
        Manner::Plain => 0,
        Manner::Crumbs(n) => n,
    };
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        while lane.held.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        let bytes = &buffer[..n];
        see(bytes);
        let (slow, rest) = bytes.split_at(crumbs.min(n));
        crumbs -= slow.len();
        for crumb in slow.chunks(1) {
            if to.write_all(crumb).is_err() {
                return;
            }
            // Long enough for the receiver to read it alone, mostly.
            thread::sleep(Duration::from_micros(200));
        }
        lane.count.fetch_add(n as u64, Ordering::Relaxed);
        let mut tail = lane.tail.lock().expect("a tail");
        tail.extend_from_slice(bytes);
        if tail.len() > 2 * TAIL {
            let cut = tail.len() - TAIL;
            tail.drain(..cut);
        }
        drop(tail);
        if to.write_all(rest).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
