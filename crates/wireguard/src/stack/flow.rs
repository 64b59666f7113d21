//! A TCP connection as its user sees it, and as the stack does.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use smoltcp::wire::TcpPacket;
use thiserror::Error;
use tokio::io::ReadBuf;

use super::Touched;
use super::endpoint::{Endpoint, Failure, Phase, Turn};
use super::ready::Ready;
use super::tcp::Read;
use crate::Moment;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// The tunnel has no address of that family.
    #[error("the tunnel has no address of the family of {0}")]
    NoAddress(SocketAddr),
    /// Some 28,000 connections to that address are open or were just closed.
    #[error("no local port is left for {0}")]
    NoPort(SocketAddr),
    /// A RST, or an ICMP message that the port is closed.
    #[error("connection refused")]
    Refused,
    /// An ICMP message that there is no way, or that it is forbidden.
    #[error("destination unreachable")]
    Unreachable,
    /// No answer to any SYN in two minutes.
    #[error("connection timed out")]
    TimedOut,
    /// [`TcpFlow::abort`] was called.
    #[error("connection aborted")]
    Aborted,
}

impl From<ConnectError> for io::Error {
    fn from(why: ConnectError) -> Self {
        let kind = match why {
            ConnectError::NoAddress(_) => io::ErrorKind::NetworkUnreachable,
            ConnectError::NoPort(_) => io::ErrorKind::AddrNotAvailable,
            ConnectError::Refused => io::ErrorKind::ConnectionRefused,
            ConnectError::Unreachable => io::ErrorKind::HostUnreachable,
            ConnectError::TimedOut => io::ErrorKind::TimedOut,
            ConnectError::Aborted => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, why)
    }
}

/// Which connection; the local address follows from the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FlowKey {
    pub port: u16,
    pub remote: SocketAddr,
}

/// A TCP connection through the tunnel.
///
/// Its methods take only its own lock: they never wait for the tunnel's cryptography. One task may wait for reading and
/// another for writing; the last waker of each kind counts.
///
/// Dropping it does what closing a kernel's socket does: the other end gets a RST if something was left unread, else
/// what was written is still delivered, then a FIN.
pub struct TcpFlow(pub(crate) Arc<Flow>);

impl fmt::Debug for TcpFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.key.fmt(f)
    }
}

impl TcpFlow {
    /// Who is at the other end.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.0.key.remote
    }

    /// Our port.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.0.key.port
    }

    /// Waits until the other end has answered.
    ///
    /// # Errors
    /// [`ConnectError`], but for those that [`Stack::connect`](super::Stack::connect) returns itself.
    pub fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        let mut state = self.0.state.lock();
        if let Some(why) = state.refusal {
            return Poll::Ready(Err(why));
        }
        match state.endpoint.phase() {
            Phase::Connecting => {
                register(&mut state.writer, cx);
                Poll::Pending
            }
            Phase::Open | Phase::Ended => Poll::Ready(Ok(())),
            Phase::Failed(Failure::Reset) => Poll::Ready(Err(ConnectError::Refused)),
            Phase::Failed(Failure::TimedOut) => Poll::Ready(Err(ConnectError::TimedOut)),
            Phase::Failed(Failure::Aborted) => Poll::Ready(Err(ConnectError::Aborted)),
        }
    }

    /// Reads. Nothing read means that the other end has finished. What arrived before a failure is read first.
    ///
    /// # Errors
    /// `ConnectionReset`, `TimedOut`, or `ConnectionAborted` after [`TcpFlow::abort`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.0.state.lock();
        match state.endpoint.read(buf.initialize_unfilled()) {
            Read::Bytes(n) => {
                buf.advance(n);
                let due = state.due();
                drop(state);
                if due {
                    self.0.touch();
                }
                Poll::Ready(Ok(()))
            }
            Read::End => Poll::Ready(Ok(())),
            Read::Nothing => {
                if let Some(broken) = state.broken() {
                    return Poll::Ready(Err(broken));
                }
                register(&mut state.reader, cx);
                Poll::Pending
            }
        }
    }

    /// Writes some of `data` into the send buffer.
    ///
    /// # Errors
    /// `BrokenPipe` after [`TcpFlow::poll_shutdown`], otherwise like [`TcpFlow::poll_read`].
    pub fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state.lock();
        if let Some(broken) = state.broken() {
            return Poll::Ready(Err(broken));
        }
        if state.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = state.endpoint.write(data);
        if n == 0 && !data.is_empty() {
            register(&mut state.writer, cx);
            return Poll::Pending;
        }
        let due = state.due();
        drop(state);
        if due {
            self.0.touch();
        }
        Poll::Ready(Ok(n))
    }

    /// Ends our direction once all that was written is delivered. Does not wait for that.
    ///
    /// # Errors
    /// None; a connection that failed needs no end.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        if state.refusal.is_none() && state.endpoint.phase() == Phase::Connecting {
            register(&mut state.writer, cx);
            return Poll::Pending;
        }
        if !state.shut {
            state.shut = true;
            state.endpoint.finish();
            drop(state);
            self.0.touch();
        }
        Poll::Ready(Ok(()))
    }

    /// Ends both directions at once, with a RST.
    pub fn abort(&self) {
        self.0.state.lock().endpoint.abort();
        self.0.touch();
    }
}

impl Drop for TcpFlow {
    fn drop(&mut self) {
        self.0.state.lock().abandon();
        self.0.touch();
    }
}

/// What the stack holds of a [`TcpFlow`].
pub(crate) struct Flow {
    pub(crate) key: FlowKey,
    ready: Arc<Ready>,
    /// Whether it is in the ready queue or in the stack's round; it is in at most one, once.
    scheduled: AtomicBool,
    state: Mutex<State>,
}

struct State {
    endpoint: Endpoint,
    /// What an ICMP message said about our SYN.
    refusal: Option<ConnectError>,
    shut: bool,
    user: User,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The time of the one entry in the stack's timers.
    armed: Option<Moment>,
    now: Moment,
}

/// Whether a [`TcpFlow`] exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Here,
    Gone,
    /// Gone, and our FIN was acknowledged then.
    Waits(Moment),
}

/// How long the end of an abandoned connection may take to come; Linux' `tcp_fin_timeout`.
const FIN_WAIT_2: Duration = Duration::from_secs(60);

/// What came of a visit.
pub(crate) struct Visit {
    /// It has more to send.
    pub again: bool,
    /// It can be forgotten.
    pub over: bool,
    /// Its entry in the timers: the old one, and what it should be.
    pub timer: (Option<Moment>, Option<Moment>),
}

impl Flow {
    pub(crate) fn new(key: FlowKey, endpoint: Endpoint, ready: Arc<Ready>, now: Moment) -> Self {
        let state = State {
            endpoint,
            refusal: None,
            shut: false,
            user: User::Here,
            reader: None,
            writer: None,
            armed: None,
            now,
        };
        Self { key, ready, scheduled: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// Asks the stack for a visit.
    fn touch(self: &Arc<Self>) {
        if self.schedule() {
            self.ready.push(Touched::Tcp(self.clone()));
        }
    }

    /// Whether the caller has to put it into a queue: it is in none.
    pub(crate) fn schedule(&self) -> bool {
        !self.scheduled.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn receive(&self, segment: &TcpPacket<&[u8]>, now: Moment) {
        let mut state = self.state.lock();
        state.now = now;
        state.endpoint.receive(segment, now);
        if state.user != User::Here && state.endpoint.unread() {
            // RFC 1122 §4.2.2.13: nobody will read it, and the sender should know.
            state.endpoint.abort();
        }
    }

    /// Sends what is under way again with the next visit.
    pub(crate) fn retry(&self, now: Moment) {
        self.state.lock().endpoint.retry(now);
    }

    /// Ends it, because nobody carries its packets any more.
    pub(crate) fn fail(&self) {
        let mut state = self.state.lock();
        state.endpoint.abort();
        let (reader, writer) = state.wakers();
        drop(state);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    /// Lets it send.
    pub(crate) fn visit(&self, turn: &mut Turn<'_>) -> Visit {
        self.scheduled.store(false, Ordering::Release);
        let mut state = self.state.lock();
        state.now = turn.now;
        let again = state.endpoint.transmit(turn);
        let over = state.is_over(turn.now);
        let armed = state.armed;
        if !over && !again {
            state.rearm();
        }
        let timer = (armed, if over { None } else { state.armed });
        let (reader, writer) = state.wakers();
        drop(state);
        reader.into_iter().chain(writer).for_each(Waker::wake);
        Visit { again, over, timer }
    }

    /// The timer fired: its entry is gone. Returns whether it is time for a visit, otherwise the next entry.
    pub(crate) fn fired(&self, now: Moment) -> Result<(), Option<Moment>> {
        let mut state = self.state.lock();
        state.armed = None;
        match state.deadline() {
            Some(at) if at > now => {
                state.armed = Some(at);
                Err(Some(at))
            }
            Some(_) => Ok(()),
            None => Err(None),
        }
    }

    /// ICMP says that a segment of ours did not arrive.
    pub(crate) fn unreachable(&self, sequence: u32, why: ConnectError) -> bool {
        let mut state = self.state.lock();
        // RFC 5927 §4.1: what is not in flight was not quoted from us. RFC 5461: an established connection goes on.
        if state.endpoint.phase() != Phase::Connecting || !state.endpoint.in_flight(sequence) {
            return false;
        }
        state.refusal = Some(why);
        true
    }

    pub(crate) fn too_big(&self, sequence: u32, mtu: usize) {
        self.state.lock().endpoint.packet_too_big(mtu, sequence);
    }
}

impl State {
    fn due(&mut self) -> bool {
        let now = self.now;
        self.endpoint.deadline().is_some_and(|at| at <= now)
    }

    fn broken(&self) -> Option<io::Error> {
        if let Some(why) = self.refusal {
            return Some(why.into());
        }
        match self.endpoint.phase() {
            Phase::Failed(Failure::Reset) => Some(io::ErrorKind::ConnectionReset.into()),
            Phase::Failed(Failure::TimedOut) => Some(io::ErrorKind::TimedOut.into()),
            Phase::Failed(Failure::Aborted) => Some(io::ErrorKind::ConnectionAborted.into()),
            Phase::Connecting | Phase::Open | Phase::Ended => None,
        }
    }

    fn abandon(&mut self) {
        self.user = User::Gone;
        (self.reader, self.writer) = (None, None);
        if self.endpoint.unread() {
            self.endpoint.abort();
        } else if !self.shut {
            self.endpoint.finish();
        }
        self.endpoint.orphan();
    }

    /// Takes the wakers of those who would get something now.
    fn wakers(&mut self) -> (Option<Waker>, Option<Waker>) {
        let phase = self.endpoint.phase();
        let failed = self.refusal.is_some() || matches!(phase, Phase::Failed(_));
        let reader = if failed || self.endpoint.can_read() { self.reader.take() } else { None };
        let write = failed || phase == Phase::Ended || (phase == Phase::Open && self.endpoint.can_write());
        (reader, if write { self.writer.take() } else { None })
    }

    fn is_over(&mut self, now: Moment) -> bool {
        if self.refusal.is_some() {
            return true;
        }
        match (self.endpoint.phase(), self.user) {
            (Phase::Failed(_) | Phase::Ended, _) => self.endpoint.deadline().is_none(),
            // Nobody waits for the answer to our SYN, and nobody has to be told.
            (Phase::Connecting, User::Gone | User::Waits(_)) => true,
            (Phase::Open, User::Gone) => {
                if self.endpoint.finished() {
                    self.user = User::Waits(now + FIN_WAIT_2);
                }
                false
            }
            (Phase::Open, User::Waits(until)) => until <= now,
            (Phase::Connecting | Phase::Open, User::Here) => false,
        }
    }

    fn deadline(&mut self) -> Option<Moment> {
        let own = match (self.endpoint.phase(), self.user) {
            (Phase::Open, User::Waits(until)) => Some(until),
            _ => None,
        };
        match (self.endpoint.deadline(), own) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Moves the timer forward only: one that fires early is set again, which is cheaper than to move it per packet.
    fn rearm(&mut self) {
        // What is due but could not go now gets its next chance a little later, not at once and for ever.
        let soon = self.now + Duration::from_millis(1);
        if let Some(at) = self.deadline().map(|at| at.max(soon))
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.armed = Some(at);
        }
    }
}

fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}
