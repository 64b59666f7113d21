//! Streams without an end, for measuring.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::TcpOrigin;

/// Of one read or write.
const BLOCK: usize = 256 * 1024;

/// A TCP server that sends or takes as much as a connection carries; the first byte of a client says what it wants.
#[derive(Debug)]
pub struct BulkOrigin {
    origin: TcpOrigin,
    ledger: Arc<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    taken: AtomicU64,
    busy: AtomicUsize,
    kept: Mutex<Vec<TcpStream>>,
}

impl BulkOrigin {
    /// First byte of a client that wants bytes until it goes away.
    pub const SEND: u8 = b's';
    /// First byte of a client that sends until its half-close and then wants the count of what followed this byte, as 8 bytes,
    /// big-endian. Nothing is kept of it.
    pub const TAKE: u8 = b't';
    /// First byte of a client that wants this byte back, and the connection left open with no thread on it.
    pub const KEEP: u8 = b'k';

    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let ledger = Arc::new(Ledger::default());
        let shared = Arc::clone(&ledger);
        Self { origin: TcpOrigin::start(move |stream| serve(stream, &shared)), ledger }
    }

    /// The IPv4 address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.origin.addr()
    }

    /// As [`TcpOrigin::set_congestion_control`].
    pub fn set_congestion_control(&self, name: &str) {
        self.origin.set_congestion_control(name);
    }

    /// How many bytes it has taken on all connections.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.ledger.taken.load(Ordering::Relaxed)
    }

    /// How many connections send or take.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.ledger.busy.load(Ordering::Relaxed)
    }

    /// How many connections it has kept open.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.ledger.kept.lock().map_or(0, |kept| kept.len())
    }

    /// Closes the connections that it has kept open.
    pub fn close_kept(&self) {
        self.ledger.kept.lock().expect("a list").clear();
    }
}

fn serve(mut stream: TcpStream, ledger: &Ledger) {
    let mut wish = [0];
    if stream.read_exact(&mut wish).is_err() {
        return;
    }
    if wish == [BulkOrigin::KEEP] {
        if stream.write_all(&wish).is_ok() {
            ledger.kept.lock().expect("a list").push(stream);
        }
        return;
    }
    ledger.busy.fetch_add(1, Ordering::Relaxed);
    if wish == [BulkOrigin::SEND] {
        let block = vec![0x5a; BLOCK];
        while stream.write_all(&block).is_ok() {}
    } else {
        let mut block = vec![0; BLOCK];
        let mut count = 0;
        let ended = loop {
            match stream.read(&mut block) {
                Ok(0) => break true,
                Ok(n) => {
                    count += n as u64;
                    ledger.taken.fetch_add(n as u64, Ordering::Relaxed);
                }
                Err(_) => break false,
            }
        };
        if ended {
            let _ = stream.write_all(&count.to_be_bytes());
        }
    }
    ledger.busy.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    #[test]
    fn it_sends_takes_and_keeps() {
        let origin = BulkOrigin::start();
        let open = |wish| {
            let mut stream = TcpStream::connect(origin.addr()).unwrap();
            stream.write_all(&[wish]).unwrap();
            stream
        };
        let mut bytes = vec![0; 3 * BLOCK];
        open(BulkOrigin::SEND).read_exact(&mut bytes).unwrap();

        let mut taking = open(BulkOrigin::TAKE);
        taking.write_all(&bytes).unwrap();
        taking.shutdown(Shutdown::Write).unwrap();
        let mut count = [0; 8];
        taking.read_exact(&mut count).unwrap();
        assert_eq!((u64::from_be_bytes(count), origin.taken()), (bytes.len() as u64, bytes.len() as u64));

        let mut kept = open(BulkOrigin::KEEP);
        kept.read_exact(&mut [0]).unwrap();
        while origin.kept() == 0 {
            std::thread::yield_now();
        }
        origin.close_kept();
        assert_eq!(kept.read(&mut [0]).unwrap(), 0);
    }
}
