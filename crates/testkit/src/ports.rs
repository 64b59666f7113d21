//! Ports for programs that cannot be asked to pick their own.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that nobody uses on loopback, TCP or UDP, IPv4 or IPv6, and that this process has not handed out lately.
///
/// Taken from below the system's range for outgoing connections, so that no client socket can grab it before the
/// program that asked for it binds it.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time start in different places.
    let start = (std::process::id().wrapping_mul(61) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_add(n)) % COUNT;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok();
        if free {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Whether a TCP socket of this thread's network namespace listens on `port`, without connecting to it.
#[must_use]
pub fn is_listening(port: u16) -> bool {
    let suffix = format!(":{port:04X}");
    // The thread's own: `/proc/net` shows the namespace of the process's first thread.
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            // Columns: local address, remote address, state; 0A is LISTEN.
            fields.next().is_some_and(|local| local.ends_with(&suffix)) && fields.nth(1) == Some("0A")
        })
    })
}

/// Waits until `port` is listened on; false when it is not within `limit`.
#[must_use]
pub fn wait_for_port(port: u16, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if is_listening(port) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
