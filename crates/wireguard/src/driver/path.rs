//! The way from here to the peers: sockets of our own, or another way out.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use super::socket::Received;
use super::sockets::Sockets;
use super::via::Via;
use crate::{Moment, Outbox};

/// The way from here to the peers.
#[expect(clippy::large_enum_variant, reason = "there is one to a tunnel")]
pub(super) enum Path {
    Sockets(Sockets),
    Via(Via),
}

impl Path {
    /// Receives what has come: as many trains as it returns. Makes room `into` only when something is there.
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Moment,
        into: &mut Option<Received>,
    ) -> Poll<usize> {
        match self {
            Self::Sockets(sockets) => sockets.poll_receive(cx, now, into),
            Self::Via(via) => via.poll_receive(cx, into),
        }
    }

    /// Sends all that waits. A datagram that cannot be sent is lost, as it might be anywhere on the way.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, now: Moment, outbox: &mut Outbox) -> Poll<()> {
        while let Some(train) = outbox.front() {
            match self {
                Self::Sockets(sockets) => ready!(sockets.poll_send(cx, now, train)),
                Self::Via(via) => ready!(via.poll_send(cx, now, train)),
            }
            outbox.pop();
        }
        Poll::Ready(())
    }

    /// Whether a packet to `to` would leave this machine at all.
    ///
    /// # Errors
    /// Why not: no socket of that family, no route.
    pub(super) fn leads_to(&self, to: SocketAddr) -> io::Result<()> {
        match self {
            Self::Sockets(sockets) => sockets.leads_to(to),
            Self::Via(_) => Ok(()),
        }
    }
}
