//! UDP sockets inside the tunnel.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use smoltcp::wire::{IpProtocol, UdpPacket};
use thiserror::Error;
use tokio::io::ReadBuf;

use super::fragment::Outer;
use super::ready::Ready;
use super::{Egress, Touched, checksum};
use crate::options::Addresses;

/// The most that a UDP datagram carries over IPv4.
pub const MAX_PAYLOAD: usize = 65_507;

/// All 28,232 local ports are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no local UDP port is left")]
pub struct NoPort;

/// A UDP socket through the tunnel: one local port, in both families, that anybody may send to (a full cone).
///
/// Dropping it frees the port; what was not sent yet is lost.
pub struct UdpFlow(pub(crate) Arc<UdpSocket>);

impl fmt::Debug for UdpFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UdpFlow").field(&self.0.port).finish()
    }
}

impl UdpFlow {
    /// Our port.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.0.port
    }

    /// Waits for a datagram, puts it into `buf`, as much of it as there is room for, and tells who sent it.
    ///
    /// # Errors
    /// `ConnectionRefused`, once, when somebody that we sent to has no such port.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
        let mut state = self.0.state.lock();
        if std::mem::take(&mut state.refused) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        match state.received.pop(|bytes| buf.put_slice(bytes.get(..buf.remaining()).unwrap_or(bytes))) {
            Some(from) => Poll::Ready(Ok(from)),
            None if state.dead => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            None => {
                register(&mut state.reader, cx);
                Poll::Pending
            }
        }
    }

    /// Gives a datagram of at most [`MAX_PAYLOAD`] bytes to the tunnel; waits while too many wait there already.
    ///
    /// # Errors
    /// `InvalidInput` for a longer one, `NetworkUnreachable` if the tunnel has no address of the family of `to`.
    pub fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8], to: SocketAddr) -> Poll<io::Result<()>> {
        self.give(Some(cx), payload, to)
    }

    /// The same for whoever does not wait: the datagram is lost when it would have to.
    ///
    /// # Errors
    /// As [`UdpFlow::poll_send`].
    pub fn try_send(&self, payload: &[u8], to: SocketAddr) -> io::Result<()> {
        match self.give(None, payload, to) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Ok(()),
        }
    }

    fn give(&self, cx: Option<&mut Context<'_>>, payload: &[u8], to: SocketAddr) -> Poll<io::Result<()>> {
        if payload.len() > MAX_PAYLOAD {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        if source(self.0.addresses, to.ip()).is_none() {
            return Poll::Ready(Err(io::ErrorKind::NetworkUnreachable.into()));
        }
        let mut state = self.0.state.lock();
        if state.dead {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        if !state.sending.push(to, payload) {
            if let Some(cx) = cx {
                register(&mut state.writer, cx);
            }
            return Poll::Pending;
        }
        state.remember(to);
        drop(state);
        self.0.touch();
        Poll::Ready(Ok(()))
    }
}

impl Drop for UdpFlow {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        (state.received, state.sending) = (Queue::default(), Queue::default());
        drop(state);
        self.0.touch();
    }
}

/// What the stack holds of a [`UdpFlow`].
pub(crate) struct UdpSocket {
    pub(crate) port: u16,
    addresses: Addresses,
    ready: Arc<Ready>,
    scheduled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    received: Queue,
    sending: Queue,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Whom we sent to, to know whose ICMP errors are meant for us.
    remotes: HashSet<SocketAddr>,
    last: Option<SocketAddr>,
    refused: bool,
    /// Its user is gone.
    closed: bool,
    /// Nobody carries its datagrams any more.
    dead: bool,
}

/// Datagrams one behind the other, without an allocation for each.
#[derive(Default)]
struct Queue {
    bytes: VecDeque<u8>,
    heads: VecDeque<(SocketAddr, usize)>,
}

impl Queue {
    /// What may wait, in bytes; and how many datagrams.
    const LIMIT: (usize, usize) = (512 << 10, 4096);
    /// Memory that an empty queue may keep.
    const KEEP: usize = 4 << 10;

    /// `false` if it is full. One datagram of any size fits into an empty one.
    fn push(&mut self, peer: SocketAddr, payload: &[u8]) -> bool {
        if self.bytes.len() + payload.len() > Self::LIMIT.0 || self.heads.len() >= Self::LIMIT.1 {
            return false;
        }
        self.bytes.extend(payload);
        self.heads.push_back((peer, payload.len()));
        true
    }

    fn pop(&mut self, mut take: impl FnMut(&[u8])) -> Option<SocketAddr> {
        let (peer, len) = self.heads.pop_front()?;
        let (front, back) = self.bytes.as_slices();
        take(front.get(..len).unwrap_or(front));
        if let Some(rest) = len.checked_sub(front.len()) {
            take(back.get(..rest).unwrap_or(back));
        }
        self.bytes.drain(..len.min(self.bytes.len()));
        if self.heads.is_empty() && self.bytes.capacity() > Self::KEEP {
            *self = Self::default();
        }
        Some(peer)
    }
}

impl State {
    /// More than so many are forgotten, and their errors with them.
    const REMOTES: usize = 1024;

    fn remember(&mut self, to: SocketAddr) {
        if self.last != Some(to) {
            self.last = Some(to);
            if self.remotes.len() >= Self::REMOTES {
                self.remotes.clear();
            }
            self.remotes.insert(to);
        }
    }
}

impl UdpSocket {
    pub(crate) fn new(port: u16, addresses: Addresses, ready: Arc<Ready>) -> Self {
        Self { port, addresses, ready, scheduled: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Ends it, because nobody carries its datagrams any more.
    pub(crate) fn fail(&self) {
        let mut state = self.state.lock();
        state.dead = true;
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    fn touch(self: &Arc<Self>) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            self.ready.push(Touched::Udp(self.clone()));
        }
    }

    /// Takes a datagram for this port; the newest is lost if too many wait.
    pub(crate) fn receive(&self, from: SocketAddr, payload: &[u8]) {
        let waker = {
            let mut state = self.state.lock();
            if state.closed || !state.received.push(from, payload) {
                return;
            }
            state.reader.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// ICMP says that `remote` has no such port.
    pub(crate) fn refused(&self, remote: SocketAddr) {
        let mut state = self.state.lock();
        if state.remotes.contains(&remote) {
            state.refused = true;
            let waker = state.reader.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Sends what waits, at most about a quantum. Returns whether more waits; nothing if the socket is gone.
    pub(crate) fn visit(&self, out: &mut Sending<'_>) -> Option<bool> {
        self.scheduled.store(false, Ordering::Release);
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let mut left = out.quantum;
        while left > 0 && out.egress.has_room() {
            let mut len = 8;
            let scratch = &mut *out.scratch;
            let to = state.sending.pop(|bytes| {
                if let Some(place) = scratch.get_mut(len..len + bytes.len()) {
                    place.copy_from_slice(bytes);
                    len += bytes.len();
                }
            });
            let Some(to) = to else { break };
            left = left.saturating_sub(len);
            self.send(to, len, out);
        }
        let again = !state.sending.heads.is_empty();
        let waker = if again { None } else { state.writer.take() };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Some(again)
    }

    /// Whether the caller has to put it into a queue: it is in none.
    pub(crate) fn schedule(&self) -> bool {
        !self.scheduled.swap(true, Ordering::AcqRel)
    }

    fn send(&self, to: SocketAddr, len: usize, out: &mut Sending<'_>) {
        let Some(from) = source(self.addresses, to.ip()) else { return };
        let Some(datagram) = out.scratch.get_mut(..len) else { return };
        let mut packet = UdpPacket::new_unchecked(&mut *datagram);
        packet.set_src_port(self.port);
        packet.set_dst_port(to.port());
        packet.set_len(u16::try_from(len).unwrap_or(u16::MAX));
        packet.set_checksum(0);
        let sum = !checksum::with_pseudo_header(from, to.ip(), IpProtocol::Udp, datagram);
        // RFC 768: zero would mean that there is none.
        UdpPacket::new_unchecked(&mut *datagram).set_checksum(if sum == 0 { 0xffff } else { sum });
        *out.ident = out.ident.wrapping_add(1);
        Outer { from, to: to.ip(), protocol: IpProtocol::Udp }.send(datagram, out.mtu, *out.ident, out.egress);
    }
}

/// What a socket needs for sending.
pub(crate) struct Sending<'a> {
    pub quantum: usize,
    pub mtu: usize,
    pub ident: &'a mut u32,
    pub scratch: &'a mut [u8],
    pub egress: &'a mut dyn Egress,
}

/// Our address in the family of `to`.
pub(crate) fn source(addresses: Addresses, to: IpAddr) -> Option<IpAddr> {
    match to {
        IpAddr::V4(_) => addresses.v4().map(IpAddr::V4),
        IpAddr::V6(_) => addresses.v6().map(IpAddr::V6),
    }
}

fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}
