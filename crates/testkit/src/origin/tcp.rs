//! A TCP server around a function.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::home;
use crate::data;

/// How long a connection of a test may stay silent before its thread gives up.
const SILENCE: Duration = Duration::from_secs(60);

/// A TCP server that runs a function for every connection.
#[derive(Debug)]
pub struct TcpOrigin {
    listeners: [Arc<TcpListener>; 2],
    accepted: Arc<AtomicUsize>,
    last_client: Arc<Mutex<Option<SocketAddr>>>,
    stop: Arc<AtomicBool>,
}

impl TcpOrigin {
    /// Runs `serve` for every connection, each in a thread of its own.
    #[must_use]
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::on(listeners(), serve)
    }

    /// The same on an IPv4 and an IPv6 listener.
    pub(super) fn on(listeners: [TcpListener; 2], serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listeners = listeners.map(Arc::new);
        let accepted = Arc::new(AtomicUsize::new(0));
        let last_client = Arc::new(Mutex::new(None));
        let stop = Arc::new(AtomicBool::new(false));
        let serve = Arc::new(serve);
        for listener in &listeners {
            let listener = Arc::clone(listener);
            let (serve, accepted, stop) = (Arc::clone(&serve), Arc::clone(&accepted), Arc::clone(&stop));
            let last_client = Arc::clone(&last_client);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    *last_client.lock().expect("a record") = stream.peer_addr().ok();
                    accepted.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.set_nodelay(true);
                    let _ = stream.set_read_timeout(Some(SILENCE));
                    let serve = Arc::clone(&serve);
                    let _ = thread::Builder::new().stack_size(512 * 1024).spawn(move || serve(stream));
                }
            });
        }
        Self { listeners, accepted, last_client, stop }
    }

    /// Answers each HTTP request with the IP address of who sent it.
    #[must_use]
    pub fn mirror() -> Self {
        Self::start(|mut stream| {
            let Ok(peer) = stream.peer_addr() else { return };
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(n @ 1..) = stream.read(&mut buffer) else { return };
                head.extend_from_slice(&buffer[..n]);
            }
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", peer.ip());
        })
    }

    /// Sends back what it gets, and never gives up on a silent client.
    #[must_use]
    pub fn patient_echo() -> Self {
        Self::start(|mut stream| {
            let _ = stream.set_read_timeout(None);
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
        })
    }

    /// Sends back what it gets; passes a half-close on after the last byte.
    #[must_use]
    pub fn echo() -> Self {
        Self::start(|mut stream| {
            let mut buffer = vec![0; 256 * 1024];
            while let Ok(n) = stream.read(&mut buffer) {
                if n == 0 {
                    let _ = stream.shutdown(Shutdown::Write);
                    return;
                }
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
        })
    }

    /// Speaks first, as mail and SSH servers do, then echoes.
    #[must_use]
    pub fn banner(text: &'static str) -> Self {
        Self::start(move |mut stream| {
            if stream.write_all(text.as_bytes()).is_ok() {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..n]).is_err() {
                        return;
                    }
                }
            }
        })
    }

    /// Reads `needed` bytes, then answers with `length` bytes of content, slowly at first, and closes.
    #[must_use]
    pub fn answers_after(needed: u64, length: u64) -> Self {
        Self::start(move |mut stream| {
            let mut request = Read::by_ref(&mut stream).take(needed);
            if count_content(&mut request) == needed {
                thread::sleep(Duration::from_millis(200));
                let _ = send_content(&mut stream, length);
            }
        })
    }

    /// Reads to the client's half-close, then answers with `length` bytes of content preceded by the count (8 bytes, big-endian) of
    /// correct bytes that it got.
    #[must_use]
    pub fn answers_after_eof(length: u64) -> Self {
        Self::start(move |mut stream| {
            let got = count_content(&mut stream);
            let _ = stream.write_all(&got.to_be_bytes());
            let _ = send_content(&mut stream, length);
        })
    }

    /// Sends `length` bytes of content and half-closes at once; then counts what the client still sends, and writes the
    /// count into `counted`.
    #[must_use]
    pub fn closes_first(length: u64, counted: Arc<AtomicUsize>) -> Self {
        Self::start(move |mut stream| {
            let _ = send_content(&mut stream, length);
            let _ = stream.shutdown(Shutdown::Write);
            let got = count_content(&mut stream);
            counted.store(got as usize, Ordering::Release);
        })
    }

    /// The IPv4 address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listeners[0].local_addr().expect("a bound socket")
    }

    /// The IPv6 address.
    #[must_use]
    pub fn addr_v6(&self) -> SocketAddr {
        self.listeners[1].local_addr().expect("a bound socket")
    }

    /// The port, of both families.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// Gives connections that come from now on this congestion control, if the kernel has it.
    ///
    /// # Panics
    /// Without the right to choose one: other namespaces' defaults may only be what the machine allows everybody.
    pub fn set_congestion_control(&self, name: &str) {
        for listener in &self.listeners {
            SockRef::from(&**listener)
                .set_tcp_congestion(name.as_bytes())
                .expect("a congestion control of this kernel");
        }
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Whose connection it has accepted last.
    #[must_use]
    pub fn last_client(&self) -> Option<SocketAddr> {
        *self.last_client.lock().expect("a record")
    }
}

impl Drop for TcpOrigin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes both accept loops, so that they see it. A connection to them would do so only from the same namespace.
        for listener in &self.listeners {
            let _ = SockRef::from(&**listener).shutdown(Shutdown::Both);
        }
    }
}

/// Writes the first `length` bytes of the content.
///
/// # Errors
/// The stream's.
pub(crate) fn send_content(stream: &mut impl Write, length: u64) -> std::io::Result<()> {
    let mut at = 0;
    while at < length {
        let chunk = data::content(at, (length - at).min(256 * 1024) as usize);
        stream.write_all(chunk)?;
        at += chunk.len() as u64;
    }
    stream.flush()
}

/// Reads to the end and returns how many bytes came, 0 if they were not the content.
pub(crate) fn count_content(stream: &mut impl Read) -> u64 {
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return got,
            Ok(n) if data::is_content(got, &buffer[..n]) => got += n as u64,
            _ => return 0,
        }
    }
}

/// Two listeners on one port, so that `localhost` works whatever it resolves to first.
fn listeners() -> [TcpListener; 2] {
    let (v4, v6) = home();
    for _ in 0..100 {
        let first = TcpListener::bind((v4, 0)).expect("a listener");
        let port = first.local_addr().expect("a bound socket").port();
        if let Ok(second) = TcpListener::bind((v6, port)) {
            return [first, second];
        }
    }
    panic!("no port is free on both {v4} and {v6}");
}
