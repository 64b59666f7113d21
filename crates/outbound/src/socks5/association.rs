//! A UDP association: datagrams through the server's relay, for as long as the TCP connection lives (RFC 1928 §7).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adit_net::{BoxStream, Datagrams, RecvDatagram, SendDatagram, Target};
use tokio::io::{AsyncRead as _, ReadBuf};

use super::wire::{parse_datagram, put_datagram_header};

/// Datagrams without use that are skipped in one poll.
const SKIPPED: usize = 32;

/// A header buffer that has grown beyond this is given back after each datagram.
const KEPT: usize = 4 * 1024;

/// Carries datagrams over `outer`, to and from `relay`, until `control` ends.
pub(super) fn wrap(outer: Datagrams, control: BoxStream, relay: Target) -> Datagrams {
    Datagrams {
        recv: Box::new(Receiver { outer: outer.recv, control, relay: relay.clone() }),
        send: Box::new(Sender { outer: outer.send, relay, framed: Vec::new() }),
    }
}

struct Receiver {
    outer: Box<dyn RecvDatagram>,
    control: BoxStream,
    relay: Target,
}

impl Receiver {
    /// Ready once the server has ended the association. Bytes on the control connection mean nothing.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut ignored = [0; 64];
        for _ in 0..SKIPPED {
            let mut ignored = ReadBuf::new(&mut ignored);
            match ready!(Pin::new(&mut self.control).poll_read(cx, &mut ignored)) {
                Ok(()) if ignored.filled().is_empty() => {
                    let ended = "the SOCKS5 server ended the UDP association";
                    return Poll::Ready(io::Error::new(io::ErrorKind::UnexpectedEof, ended));
                }
                Ok(()) => {}
                Err(error) => return Poll::Ready(error),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Only the relay speaks for the server. One that is known by name, behind another proxy, is known by its port.
    fn is_relay(&self, from: &Target) -> bool {
        from.port == self.relay.port && (self.relay.host.domain().is_some() || from.host == self.relay.host)
    }
}

impl RecvDatagram for Receiver {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>> {
        let start = buf.filled().len();
        for _ in 0..SKIPPED {
            // What arrived before the end counts.
            let Poll::Ready(from) = self.outer.poll_recv(cx, buf)? else {
                return self.poll_ended(cx).map(Err);
            };
            if self.is_relay(&from)
                && let Some(source) = unwrap(buf, start)
            {
                return Poll::Ready(Ok(source.into()));
            }
            buf.set_filled(start);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Moves the payload of the datagram that begins at `start` to the front.
fn unwrap(buf: &mut ReadBuf<'_>, start: usize) -> Option<SocketAddr> {
    let datagram = buf.filled_mut().get_mut(start..)?;
    let (source, payload_at) = parse_datagram(datagram).ok()?;
    let payload = datagram.len().checked_sub(payload_at)?;
    datagram.copy_within(payload_at.., 0);
    buf.set_filled(start + payload);
    Some(source)
}

struct Sender {
    outer: Box<dyn SendDatagram>,
    relay: Target,
    framed: Vec<u8>,
}

impl SendDatagram for Sender {
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        self.framed.clear();
        put_datagram_header(to, &mut self.framed);
        self.framed.extend_from_slice(payload);
        let sent = self.outer.poll_send(cx, &self.framed, &self.relay);
        if self.framed.capacity() > KEPT {
            self.framed = Vec::new();
        }
        sent
    }
}
