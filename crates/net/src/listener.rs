//! Listening for clients, whatever the system says.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain as Family, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::descriptors::{is_scarce, would_be_scarce};
use crate::{ClientAddr, KeepAlive, listen, unmapped};

/// How long an accept loop rests when the system is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// At most one log line about that in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// A listening TCP socket whose accept loop no client and no shortage can end.
///
/// While one exists, [`is_own_listener`] knows its address.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
    keep_alive: KeepAlive,
    /// The last descriptor we got came out of the reserve.
    crowded: AtomicBool,
    last_complaint: Mutex<Option<Instant>>,
}

impl Listener {
    /// Listens at `at`, as [`listen`] does.
    ///
    /// # Errors
    /// The system's error (address in use, not permitted, not ours).
    pub fn bind(at: SocketAddr) -> io::Result<Self> {
        Self::new(listen(at)?)
    }

    /// Takes over a socket that was made elsewhere (transparent proxying, tests).
    ///
    /// # Errors
    /// The system's error when asked for the socket's address.
    pub fn new(socket: TcpListener) -> io::Result<Self> {
        let local = socket.local_addr()?;
        own().write().unwrap_or_else(PoisonError::into_inner).push(local);
        Ok(Self {
            socket,
            local,
            keep_alive: KeepAlive::default(),
            crowded: AtomicBool::new(false),
            last_complaint: Mutex::new(None),
        })
    }

    /// The keep-alive that accepted connections get, instead of the default.
    #[must_use]
    pub fn with_keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next client, without Nagle's delay and with keep-alive. Errors of one client are skipped; while descriptors
    /// or memory are short, clients wait in the kernel's queue.
    ///
    /// # Cancel safety
    /// No client is lost when the future is dropped.
    pub async fn accept(&self) -> (TcpStream, ClientAddr) {
        loop {
            while self.crowded.load(Ordering::Relaxed) && would_be_scarce(&self.socket) {
                self.complain(&"few descriptors are left");
                tokio::time::sleep(PAUSE).await;
            }
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    self.crowded.store(is_scarce(stream.as_raw_fd()), Ordering::Relaxed);
                    // The connection works without either; the client may also be gone already.
                    let _ = stream.set_nodelay(true);
                    self.keep_alive.apply(&stream);
                    return (stream, ClientAddr::from(peer));
                }
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    self.complain(&error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn complain(&self, why: &dyn std::fmt::Display) {
        let mut last = self.last_complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *last = Some(Instant::now());
            tracing::warn!(listener = %self.local, "not accepting clients for a moment: {why}");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut own = own().write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = own.iter().position(|addr| *addr == self.local) {
            own.swap_remove(at);
        }
    }
}

/// Errors that accept(2) reports about the connection it was about to hand out (its ERRORS section, "Error handling"):
/// the next one may be fine. Any other error would come again at once, so the loop rests first.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PERM
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::OPNOTSUPP
                | Errno::TIMEDOUT
        )
    )
}

/// The addresses of every [`Listener`] of this process.
fn own() -> &'static RwLock<Vec<SocketAddr>> {
    static OWN: RwLock<Vec<SocketAddr>> = RwLock::new(Vec::new());
    &OWN
}

/// Whether a TCP connection to `to` would come back to a [`Listener`] of this process, however `to` is spelled:
/// `127.0.0.0/8`, `::1`, IPv4-mapped, unspecified, or an address of one of this host's interfaces.
///
/// Costs nothing unless a listener has `to`'s port; then it may cost a socket that is bound and closed again.
#[must_use]
pub fn is_own_listener(to: SocketAddr) -> bool {
    let to = unmapped(to);
    own()
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .any(|listener| listener.port() == to.port() && reaches(unmapped(*listener).ip(), to.ip()))
}

/// Whether a connection to `to` arrives at a socket that listens on `listener` (same port, both unmapped).
fn reaches(listener: IpAddr, to: IpAddr) -> bool {
    if to.is_unspecified() {
        // Linux connects 0.0.0.0 to 127.0.0.1 and :: to ::1.
        return listener.is_unspecified() || listener.is_loopback();
    }
    match listener {
        // `listen` makes [::] dual-stack.
        IpAddr::V6(ip) if ip.is_unspecified() => is_of_this_host(to),
        IpAddr::V4(ip) if ip.is_unspecified() => to.is_ipv4() && is_of_this_host(to),
        ip => ip == to,
    }
}

/// Only a local address can be bound (unless the host sets `ip_nonlocal_bind`, where a remote target with the port of a
/// wildcard listener of ours is refused as well).
fn is_of_this_host(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let at = SocketAddr::new(ip, 0);
    Socket::new(Family::for_address(at), Type::DGRAM, None).is_ok_and(|socket| socket.bind(&at.into()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// F-B11
    #[test]
    fn a_listener_is_reached_by_every_spelling_of_its_address() {
        for (listener, to, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "0.0.0.0", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::1", false),
            ("0.0.0.0", "127.255.0.9", true),
            ("0.0.0.0", "0.0.0.0", true),
            ("0.0.0.0", "::1", false),
            ("::", "::1", true),
            ("::", "::", true),
            ("::", "127.0.0.1", true),
            ("::1", "::", true),
            ("0.0.0.0", "192.0.2.1", false),
            ("::", "192.0.2.1", false),
            ("::", "2001:db8::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "0.0.0.0", false),
        ] {
            assert_eq!(reaches(ip(listener), ip(to)), expected, "{listener} {to}");
        }
    }

    #[tokio::test]
    async fn only_living_listeners_are_own() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = listener.local_addr();
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", at.port()).parse().unwrap();
        assert!(is_own_listener(at) && is_own_listener(mapped));
        assert!(!is_own_listener(SocketAddr::new(at.ip(), at.port().wrapping_add(1))));
        drop(listener);
        assert!(!is_own_listener(at));
    }

    /// F-B11: an address of an interface of this host, if it has one besides loopback.
    #[tokio::test]
    async fn a_lan_address_is_own_only_for_a_listener_that_hears_it() {
        let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        if probe.connect("192.0.2.1:9").is_err() {
            return;
        }
        let lan = probe.local_addr().unwrap().ip();
        let everywhere = Listener::bind("[::]:0".parse().unwrap()).unwrap();
        let loopback = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(is_own_listener(SocketAddr::new(lan, everywhere.local_addr().port())));
        assert!(!is_own_listener(SocketAddr::new(lan, loopback.local_addr().port())));
    }

    #[tokio::test]
    async fn clients_come_with_their_real_address() {
        let listener = Listener::bind("[::]:0".parse().unwrap()).unwrap();
        let client = TcpStream::connect(("127.0.0.1", listener.local_addr().port())).await.unwrap();
        let (_, address) = listener.accept().await;
        assert_eq!(address.socket_addr(), client.local_addr().unwrap());
    }

    #[test]
    fn shortages_pause_and_clients_errors_do_not() {
        for shortage in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::INVAL] {
            assert!(!is_of_one_client(&shortage.into()), "{shortage:?}");
        }
        assert!(is_of_one_client(&Errno::CONNABORTED.into()));
        assert!(is_of_one_client(&Errno::PERM.into()));
    }
}
