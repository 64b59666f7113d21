//! A UDP echo.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Sends every datagram back to where it came from, with `name` in front.
#[derive(Debug)]
pub struct UdpOrigin {
    port: u16,
    received: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl UdpOrigin {
    /// Starts one. `name` may be empty.
    #[must_use]
    pub fn echo(name: &'static str) -> Self {
        let v4 = UdpSocket::bind((Ipv4Addr::LOCALHOST, crate::free_port())).expect("a socket");
        let port = v4.local_addr().expect("a bound socket").port();
        let v6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, port)).expect("a socket of the other family");
        let received = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        for socket in [v4, v6] {
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            thread::spawn(move || {
                let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
                let mut buffer = vec![0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
                    received.fetch_add(1, Ordering::Relaxed);
                    let answer = [name.as_bytes(), &buffer[..n]].concat();
                    let _ = socket.send_to(&answer, from);
                }
            });
        }
        Self { port, received, stop }
    }

    /// The IPv4 address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port, of both families.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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
