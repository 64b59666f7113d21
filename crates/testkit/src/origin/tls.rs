//! A TLS server: an HTTPS origin, or the target that a REALITY server borrows its face from.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::{ServerConnection, StreamOwned};

use super::TcpOrigin;
use super::http::{Recorder, serve};
use crate::certificate::Authority;
use crate::tls::{self, Exchange, Version};

/// How a [`TlsOrigin`] is made.
#[derive(Clone, Copy, Debug)]
pub struct TlsOptions {
    /// TLS 1.3 or 1.2.
    pub version: Version,
    /// What it prefers.
    pub exchange: Exchange,
    /// Use the large certificate, which ML-DSA servers need.
    pub large_certificate: bool,
    /// Offer h2 before http/1.1, as a browser's target does. Where h2 is agreed on, the origin takes the handshake and
    /// records what comes: it speaks no HTTP/2.
    pub h2: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { version: Version::Tls13, exchange: Exchange::X25519, large_certificate: false, h2: false }
    }
}

/// The routes of [`super::HttpOrigin`] over TLS, with a certificate of this process's authority.
#[derive(Debug)]
pub struct TlsOrigin {
    tcp: TcpOrigin,
    recorder: Arc<Recorder>,
    /// Application bytes of connections that agreed on h2.
    unread: Arc<Mutex<Vec<u8>>>,
}

impl TlsOrigin {
    /// Starts one.
    #[must_use]
    pub fn start(options: TlsOptions) -> Self {
        let authority = Authority::shared();
        let leaf = if options.large_certificate { authority.large() } else { authority.small() };
        let alpn: &[&str] = if options.h2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let config = tls::server(leaf, options.version, options.exchange, alpn);
        let recorder = Arc::new(Recorder::default());
        let unread = Arc::new(Mutex::new(Vec::new()));
        let (record, h2_bytes) = (Arc::clone(&recorder), Arc::clone(&unread));
        let tcp = TcpOrigin::start(move |mut socket| {
            let Ok(mut connection) = ServerConnection::new(Arc::clone(&config)) else { return };
            while connection.is_handshaking() {
                if connection.complete_io(&mut socket).is_err() {
                    return;
                }
            }
            let h2 = connection.alpn_protocol() == Some(b"h2");
            let mut stream = StreamOwned::new(connection, socket);
            if h2 {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    h2_bytes.lock().expect("a record").extend_from_slice(&buffer[..n]);
                }
            } else {
                serve(&mut stream, &record);
                stream.conn.send_close_notify();
                let _ = stream.conn.complete_io(&mut stream.sock);
            }
        });
        Self { tcp, recorder, unread }
    }

    /// The IPv4 address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.tcp.addr()
    }

    /// The IPv6 address.
    #[must_use]
    pub fn addr_v6(&self) -> SocketAddr {
        self.tcp.addr_v6()
    }

    /// The port, of both families.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.tcp.port()
    }

    /// How many TCP connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.tcp.accepted()
    }

    /// Whose connection it has accepted last.
    #[must_use]
    pub fn last_client(&self) -> Option<SocketAddr> {
        self.tcp.last_client()
    }

    /// The request heads so far, byte for byte.
    #[must_use]
    pub fn heads(&self) -> Vec<Vec<u8>> {
        self.recorder.heads()
    }

    /// Everything that clients which agreed on h2 have sent after the handshake.
    #[must_use]
    pub fn h2_bytes(&self) -> Vec<u8> {
        self.unread.lock().expect("a record").clone()
    }
}
