//! A UDP server around a function.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::home;

/// A UDP server that runs a function for every datagram and answers with what it returns.
#[derive(Debug)]
pub struct UdpOrigin {
    v4: SocketAddrV4,
    v6: SocketAddrV6,
    received: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl UdpOrigin {
    /// Sends every datagram back to where it came from, with `name` in front; it may be empty.
    #[must_use]
    pub fn echo(name: &'static str) -> Self {
        Self::start(move |payload, _| [name.as_bytes(), payload].concat())
    }

    /// Sends every datagram back with its sender's address and a space in front.
    #[must_use]
    pub fn mirror() -> Self {
        Self::start(|payload, from| [from.to_string().as_bytes(), b" ", payload].concat())
    }

    /// Answers with what `answer` makes of a datagram and its sender.
    #[must_use]
    pub fn start(answer: impl Fn(&[u8], SocketAddr) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        let (v4, v6) = home();
        let port = crate::free_port();
        let (v4, v6) = (SocketAddrV4::new(v4, port), SocketAddrV6::new(v6, port, 0, 0));
        let sockets =
            [UdpSocket::bind(v4).expect("a socket"), UdpSocket::bind(v6).expect("a socket of the other family")];
        let received = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        for socket in sockets {
            let (answer, received, stop) = (Arc::clone(&answer), Arc::clone(&received), Arc::clone(&stop));
            thread::spawn(move || {
                let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
                    received.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.send_to(&answer(&buffer[..n], from), from);
                }
            });
        }
        Self { v4, v6, received, stop }
    }

    /// The IPv4 address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.v4.into()
    }

    /// The IPv6 address.
    #[must_use]
    pub fn addr_v6(&self) -> SocketAddr {
        self.v6.into()
    }

    /// The port, of both families.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.v4.port()
    }

    /// How many datagrams it has got.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for UdpOrigin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
