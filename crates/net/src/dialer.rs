//! Ways out: open a stream to a target, open a packet socket for a target, and nothing more.

use std::future::ready;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::io::ReadBuf;

use crate::{BoxStream, ClientAddr, Network, Target};

/// A boxed future; see [`Dialer`] for why one allocation per connection is the right price.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One request to reach `target`. A struct, so that it can grow without touching every outbound.
#[derive(Clone, Copy, Debug)]
pub struct Dial<'a> {
    /// Where to.
    pub target: &'a Target,
    /// An address the router already had to look up; outbounds that want a name ignore it.
    pub known: Option<IpAddr>,
    /// Whose traffic this is; `None` for our own (health checks, DNS).
    pub client: Option<ClientAddr>,
}

/// Why a target was not reached. Each maps to one SOCKS reply and one HTTP status.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The destination, or the proxy on the way, answered with a reset.
    #[error("connection refused by {0}")]
    Refused(String),
    /// No route to the network or host.
    #[error("{0} is unreachable")]
    Unreachable(String),
    /// A step took longer than its budget. The text names the step.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// The way out itself is down: its server or peer does not answer, whatever the destination.
    #[error("{0}")]
    Down(String),
    /// The name has no usable address, or no resolver answered.
    #[error("cannot resolve {0}")]
    Unresolved(String),
    /// A rule or the configuration forbids it (REJECT, loop detection, forbidden target).
    #[error("denied: {0}")]
    Denied(String),
    /// REJECT-DROP: the client gets no answer at all.
    #[error("dropped by rule")]
    Dropped,
    /// This way out cannot carry that kind of traffic.
    #[error("this outbound does not carry {0}")]
    Unsupported(Network),
    /// The peer of the outbound's protocol misbehaved or refused us. The text says what to check.
    #[error("{0}")]
    Protocol(String),
    /// Any other failure of a socket.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the peer's name.
        context: String,
        /// What the system said.
        source: io::Error,
    },
}

impl DialError {
    /// What [`DialError::class`] may say.
    pub const CLASSES: [&'static str; 10] = [
        "refused",
        "unreachable",
        "timed out",
        "down",
        "unresolved",
        "denied",
        "dropped",
        "unsupported",
        "protocol",
        "other",
    ];

    /// The kind of failure in a word or two, for counting.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut(_) => "timed out",
            Self::Down(_) => "down",
            Self::Unresolved(_) => "unresolved",
            Self::Denied(_) => "denied",
            Self::Dropped => "dropped",
            Self::Unsupported(_) => "unsupported",
            Self::Protocol(_) => "protocol",
            Self::Io { .. } => "other",
        }
    }

    /// Sorts an I/O error of a connect to `peer` into the right kind.
    #[must_use]
    pub fn from_connect(error: io::Error, peer: impl std::fmt::Display) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused(peer.to_string()),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Self::Unreachable(peer.to_string()),
            io::ErrorKind::TimedOut => Self::TimedOut(format!("connect to {peer}")),
            _ => Self::Io { context: format!("connect to {peer}"), source: error },
        }
    }
}

/// A way out: opens streams and packet sockets to a target.
///
/// Boxed futures, because dialers are chosen at run time and chained; one allocation per connection is nothing
/// beside a handshake. No session, because health checks and DNS dial too.
///
/// # Cancel safety
/// Dropping a returned future closes whatever it had opened.
pub trait Dialer: Send + Sync + 'static {
    /// Opens a stream. It is returned only when the target (or, for protocols that cannot tell, the proxy server) is
    /// connected.
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>>;

    /// Opens a packet socket whose first datagram goes to `dial.target`; later ones may go anywhere (full cone).
    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        let _ = dial;
        Box::pin(ready(Err(DialError::Unsupported(Network::Udp))))
    }
}

/// Two independent halves, so that one task can wait on both without a lock.
pub struct Datagrams {
    /// The receiving half.
    pub recv: Box<dyn RecvDatagram>,
    /// The sending half.
    pub send: Box<dyn SendDatagram>,
}

impl std::fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datagrams").finish_non_exhaustive()
    }
}

/// Poll methods rather than async ones: packets are frequent, boxed futures are not free.
pub trait RecvDatagram: Send {
    /// Fills `buf` with one payload and returns who sent it. A payload that does not fit is cut to `buf`'s size.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>>;

    /// Shows what is there to `take`, with who sent it: at least one datagram, and no more than one system call brings.
    /// They lie in `room`, which should have 65,535 bytes for each datagram that may come together; in less than that
    /// for one, a payload is cut.
    fn poll_recv_batch<'r>(
        &mut self,
        cx: &mut Context<'_>,
        room: &'r mut [u8],
        take: &mut dyn FnMut(Target, &'r [u8]),
    ) -> Poll<io::Result<()>> {
        let mut buf = ReadBuf::new(room);
        let from = ready!(self.poll_recv(cx, &mut buf))?;
        let length = buf.filled().len();
        take(from, room.get(..length).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

/// See [`RecvDatagram`].
pub trait SendDatagram: Send {
    /// Sends one payload. `Pending` registers the waker; an implementation may drop instead of waiting, as a network would.
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>>;

    /// Sends the first of `payloads`, and with it those behind it that may go together. Returns how many those were.
    ///
    /// # Errors
    /// One datagram is lost, the first.
    fn poll_send_batch(
        &mut self,
        cx: &mut Context<'_>,
        payloads: &[IoSlice<'_>],
        to: &Target,
    ) -> Poll<io::Result<usize>> {
        let Some(first) = payloads.first() else { return Poll::Ready(Ok(0)) };
        self.poll_send(cx, first, to).map_ok(|()| 1)
    }
}
