//! Datagrams over a VLESS stream: two halves of one stream, and a codec.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use adit_net::{BoxStream, ClientAddr, Datagrams, RecvDatagram, SendDatagram, Target};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use super::record::Outgoing;
use super::{packet_addr, xudp};

/// How datagrams are told apart in the stream.
#[derive(Clone, Debug)]
pub(super) enum Codec {
    Xudp(xudp::Encoder),
    /// Names cannot be written; the association's first one has this address.
    PacketAddr {
        first: Option<SocketAddr>,
    },
}

/// What may leave.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The association's first destination; answers without an address come from it.
    pub(super) first: Target,
    /// Whether QUIC may pass.
    pub(super) port_443: bool,
}

/// Wraps `stream`, whose request header waits for the first datagram.
pub(super) fn over(stream: BoxStream, codec: Codec, rules: Rules) -> Datagrams {
    let shared = Arc::new(Mutex::new(Shared { stream, outgoing: Outgoing::default(), flushed: true }));
    let recv = Receiver {
        shared: Arc::clone(&shared),
        xudp: matches!(codec, Codec::Xudp(_)),
        first: rules.first.clone(),
        received: Vec::new(),
        at: 0,
    };
    Datagrams { recv: Box::new(recv), send: Box::new(Sender { shared, codec, rules }) }
}

/// The Global ID of a client's socket: the same for all its associations, never 0, and nothing that a server could
/// compute (spec: vless-reality §6.2).
pub(super) fn global_id(client: Option<ClientAddr>) -> Option<NonZeroU64> {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let hash = KEY.hash_one(client?);
    Some(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
}

/// INVARIANT: locked for the length of one poll only; both halves belong to one task.
struct Shared {
    stream: BoxStream,
    outgoing: Outgoing,
    flushed: bool,
}

impl Shared {
    /// Sees earlier datagrams on their way.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outgoing.poll_send(cx, &mut self.stream))?;
        self.outgoing.rest();
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

struct Sender {
    shared: Arc<Mutex<Shared>>,
    codec: Codec,
    rules: Rules,
}

impl SendDatagram for Sender {
    /// Drops what cannot be carried: too long, to a forbidden port, to a name where names cannot be written.
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock();
        ready!(shared.poll_push(cx))?;
        if to.port == 443 && !self.rules.port_443 {
            tracing::debug!(%to, "UDP to port 443 is not carried with flow xtls-rprx-vision");
            return Poll::Ready(Ok(()));
        }
        // Neither encoding can tell an empty datagram from none.
        if payload.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let encoded = match &mut self.codec {
            Codec::Xudp(frames) => frames.encode(to, payload, shared.outgoing.end()).map_err(|error| error.to_string()),
            Codec::PacketAddr { first } => match to.socket_addr().or_else(|| first.filter(|_| *to == self.rules.first))
            {
                None => Err("packetaddr cannot carry names".to_owned()),
                Some(to) => packet_addr::encode(to, payload, shared.outgoing.end()).map_err(|error| error.to_string()),
            },
        };
        if let Err(why) = encoded {
            tracing::debug!(%to, why, "a datagram was dropped");
            return Poll::Ready(Ok(()));
        }
        shared.flushed = false;
        // What does not leave now is in front of the next datagram, and is pushed while we wait for answers.
        match shared.poll_push(cx) {
            Poll::Ready(pushed) => Poll::Ready(pushed),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

struct Receiver {
    shared: Arc<Mutex<Shared>>,
    /// Or else packetaddr.
    xudp: bool,
    first: Target,
    received: Vec<u8>,
    at: usize,
}

impl RecvDatagram for Receiver {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>> {
        loop {
            if let Some(from) = self.next(buf)? {
                return Poll::Ready(Ok(from));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(ended()));
            }
        }
    }
}

impl Receiver {
    /// The next datagram of those that have arrived.
    fn next(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<Option<Target>> {
        loop {
            let bytes = self.received.get(self.at..).unwrap_or_default();
            let datagram = if self.xudp {
                match xudp::decode(bytes).map_err(|damaged| io::Error::new(io::ErrorKind::InvalidData, damaged))? {
                    xudp::Decoded::Incomplete => return Ok(None),
                    xudp::Decoded::Frame { consumed, event } => {
                        self.at += consumed;
                        match event {
                            xudp::Event::Nothing => None,
                            xudp::Event::End => return Err(ended()),
                            xudp::Event::Datagram { from, payload } => {
                                Some((from.unwrap_or_else(|| self.first.clone()), payload))
                            }
                        }
                    }
                }
            } else {
                match packet_addr::decode(bytes) {
                    packet_addr::Decoded::Incomplete => return Ok(None),
                    packet_addr::Decoded::Packet { consumed, datagram } => {
                        self.at += consumed;
                        datagram.map(|(from, payload)| (Target::from(from), payload))
                    }
                }
            };
            if let Some((from, payload)) = datagram {
                buf.put_slice(&payload[..payload.len().min(buf.remaining())]);
                return Ok(Some(from));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut shared = self.shared.lock();
        if let Poll::Ready(pushed) = shared.poll_push(cx) {
            pushed?;
        }
        self.received.drain(..self.at);
        self.at = 0;
        self.received.reserve(ROOM);
        let read = pin!(shared.stream.read_buf(&mut self.received)).poll(cx);
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        read
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the association")
}

/// Some datagrams.
const ROOM: usize = 4096;
