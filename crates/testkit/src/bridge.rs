//! UDP through a proxy for those who speak no SOCKS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::{Association, To};

/// How often its threads look whether they shall stop.
const TICK: Duration = Duration::from_millis(100);

/// A UDP port of loopback behind which a SOCKS5 association leads to one target. Stops when dropped.
///
/// It answers who sent to it last.
#[derive(Debug)]
pub struct UdpBridge {
    addr: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    near: UdpSocket,
    association: Association,
    to: To,
    client: Mutex<Option<SocketAddr>>,
    stop: AtomicBool,
}

impl UdpBridge {
    /// Opens one.
    ///
    /// # Errors
    /// The socket's, or the proxy's refusal.
    pub fn open(proxy: SocketAddr, to: impl Into<To>) -> io::Result<Self> {
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let association = Association::open(proxy)?;
        near.set_read_timeout(Some(TICK))?;
        association.socket().set_read_timeout(Some(TICK))?;
        let addr = near.local_addr()?;
        let (client, stop) = (Mutex::new(None), AtomicBool::new(false));
        let shared = Arc::new(Shared { near, association, to: to.into(), client, stop });
        let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![thread::spawn(move || up.carry_up()), thread::spawn(move || down.carry_down())];
        Ok(Self { addr, shared, threads })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Shared {
    fn carry_up(&self) {
        let mut buffer = vec![0; 65_536];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((n, from)) = self.near.recv_from(&mut buffer) else { continue };
            *self.client.lock().expect("an address") = Some(from);
            let _ = self.association.send(&self.to, &buffer[..n]);
        }
    }

    fn carry_down(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((_, payload)) = self.association.receive() else { continue };
            let client = *self.client.lock().expect("an address");
            if let Some(client) = client {
                let _ = self.near.send_to(&payload, client);
            }
        }
    }
}

impl Drop for UdpBridge {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
