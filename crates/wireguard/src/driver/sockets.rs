//! One socket for each address family, opened when something goes there, and opened again when it is of no use any more.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_net::SocketOptions;
use rustix::io::Errno;
use socket2::SockRef;

use super::socket::{Received, Socket};
use crate::{Moment, Train};

/// A socket that could not send anything for so long is replaced: its interface or address may be one that was.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pauses between attempts to open a socket, doubled each time.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(16));

pub(super) struct Sockets {
    options: SocketOptions,
    v4: Slot,
    v6: Slot,
}

/// The place of one family's socket.
#[derive(Default)]
struct Slot {
    socket: Option<Socket>,
    /// Since when nothing could be sent.
    failing: Option<Moment>,
    /// When to try again to open it, and how long the next pause is.
    closed: Option<(Moment, Duration)>,
}

impl Sockets {
    pub(super) fn new(options: SocketOptions) -> Self {
        Self { options, v4: Slot::default(), v6: Slot::default() }
    }

    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Moment,
        into: &mut Option<Received>,
    ) -> Poll<usize> {
        for slot in [&mut self.v4, &mut self.v6] {
            if let Some(socket) = &slot.socket {
                match socket.poll_receive(cx, into) {
                    Poll::Ready(Ok(count)) => return Poll::Ready(count),
                    Poll::Ready(Err(error)) => slot.failed(&error, now),
                    Poll::Pending => {}
                }
            }
        }
        Poll::Pending
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, now: Moment, train: &Train) -> Poll<()> {
        let slot = if train.to.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        if slot.socket.is_none() {
            // Nobody waits yet for what a new socket receives.
            cx.waker().wake_by_ref();
        }
        let Some(socket) = slot.opened(&self.options, train.to, now) else { return Poll::Ready(()) };
        match ready!(socket.poll_send(cx, train)) {
            Ok(()) => slot.sent(train.to),
            Err(error) => slot.failed(&error, now),
        }
        Poll::Ready(())
    }

    /// Asks the kernel for a route, which sends nothing.
    pub(super) fn leads_to(&self, to: SocketAddr) -> io::Result<()> {
        let socket = self.options.udp_of_family(to.ip())?;
        SockRef::from(&socket).connect(&to.into())
    }
}

impl Slot {
    /// The socket, opened if it is time to.
    fn opened(&mut self, options: &SocketOptions, to: SocketAddr, now: Moment) -> Option<&mut Socket> {
        if self.socket.is_none() && self.closed.is_none_or(|(until, _)| until <= now) {
            match Socket::open(options, to.ip()) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    tracing::warn!("no socket for WireGuard packets to {to}: {error}");
                    self.pause(now);
                }
            }
        }
        self.socket.as_mut()
    }

    fn sent(&mut self, to: SocketAddr) {
        if self.failing.take().is_some() {
            tracing::info!("WireGuard packets to {to} can be sent again");
        }
        self.closed = None;
    }

    /// Decides whether the socket can still be good for anything.
    fn failed(&mut self, error: &io::Error, now: Moment) {
        let since = *self.failing.get_or_insert_with(|| {
            tracing::warn!("WireGuard packets cannot be sent: {error}");
            now
        });
        // The interface to which it is bound is gone; one that comes back under its name is another one (faults F-H8).
        let gone = matches!(Errno::from_io_error(error), Some(Errno::NODEV | Errno::NXIO));
        if gone || now.since(since) >= PATIENCE {
            self.socket = None;
            self.failing = Some(now);
            self.pause(now);
        }
    }

    fn pause(&mut self, now: Moment) {
        let (first, longest) = PAUSES;
        let pause = self.closed.map_or(first, |(_, last)| (last * 2).min(longest));
        self.closed = Some((now + pause, pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    /// F-G9: a socket that is bound to an interface which goes away is opened again, not too often.
    #[tokio::test]
    async fn a_socket_of_no_use_is_replaced() {
        let options = SocketOptions::default();
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let mut slot = Slot::default();
        assert!(slot.opened(&options, to, at(0)).is_some());
        slot.failed(&Errno::NETUNREACH.into(), at(1));
        slot.failed(&Errno::NETUNREACH.into(), at(5));
        assert!(slot.socket.is_some(), "the network may come back");
        slot.failed(&Errno::NETUNREACH.into(), at(6));
        assert!(slot.socket.is_none());
        assert!(slot.opened(&options, to, at(6)).is_none(), "not at once");
        assert!(slot.opened(&options, to, at(7)).is_some());
        slot.sent(to);
        slot.failed(&Errno::NODEV.into(), at(8));
        assert!(slot.socket.is_none(), "that one cannot recover");
    }

    /// F-B13: without the interface there is no socket, and no packet.
    #[tokio::test]
    async fn pauses_double() {
        let options = SocketOptions { interface: Some("no-such-if0".into()), ..SocketOptions::default() };
        let to: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let mut slot = Slot::default();
        let mut now = at(0);
        for pause in [500, 1000, 2000, 4000, 8000, 16_000, 16_000] {
            assert!(slot.opened(&options, to, now).is_none());
            assert_eq!(slot.closed.unwrap().0.since(now), Duration::from_millis(pause));
            now = now + Duration::from_millis(pause);
        }
        assert!(Sockets::new(options).leads_to(to).is_err());
    }
}
