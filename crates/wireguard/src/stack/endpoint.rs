//! A TCP connection of the stack: the endpoint, and what the stack asks of it.

use std::net::SocketAddr;

use smoltcp::wire::TcpPacket;

use super::Egress;
use super::tcp::{Error, KeepAlive, Read, Segment, Seq, Settings, State, Tcp};
use crate::Moment;

/// A silent peer is asked after so many seconds, then as often, then given up. Later than on sockets of the host: each question
/// is a packet of a tunnel that should be silent when idle, and a mapping on the way is kept by `persistent-keepalive`.
const KEEP_ALIVE: KeepAlive = KeepAlive { idle: 120, interval: 15, count: 8 };
/// Data without an acknowledgement, in seconds; Linux' 15 retries.
const PATIENCE: u16 = 924;

/// A turn of a connection at sending.
pub(crate) struct Turn<'a> {
    pub(crate) now: Moment,
    /// About how many bytes may go before others have their turn.
    pub(crate) quantum: usize,
    pub(crate) egress: &'a mut dyn Egress,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    /// Connected: data may come or go.
    Open,
    /// Both directions have ended in order, or never mattered; a port may be waiting for late segments.
    Ended,
    Failed(Failure),
}

/// Why a connection ended out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The other end said so.
    Reset,
    /// It did not answer for too long.
    TimedOut,
    /// We did.
    Aborted,
}

/// A connection that we opened: an active one, so it begins with a SYN of ours.
pub(crate) struct Endpoint {
    tcp: Tcp,
    /// When it was last asked to do something; for what is asked without a time.
    now: Moment,
}

impl Endpoint {
    /// A connection whose SYN waits to be sent; the addresses are of one family.
    pub(crate) fn open(local: SocketAddr, remote: SocketAddr, mtu: usize, first: u32, now: Moment) -> Self {
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let settings = Settings { mtu, keep_alive: Some(KEEP_ALIVE), patience: PATIENCE, ..Settings::default() };
        Self { tcp: Tcp::connect(local, remote, settings, first, now), now }
    }

    /// Takes a segment, whose lengths, addresses, ports and checksum were checked. Answers wait for [`Endpoint::transmit`].
    pub(crate) fn receive(&mut self, segment: &TcpPacket<&[u8]>, now: Moment) {
        self.now = now;
        if let Some(segment) = Segment::read(segment) {
            self.tcp.receive(&segment, now);
        }
    }

    /// Sends what is due. `true`: there is more that could go at once, but the quantum or the room was used up.
    pub(crate) fn transmit(&mut self, turn: &mut Turn<'_>) -> bool {
        self.now = turn.now;
        let remote = self.tcp.remote().ip();
        let mut left = turn.quantum;
        let mut refused = false;
        self.tcp.poll(turn.now, &mut |len, write| {
            refused = left == 0 || !turn.egress.has_room();
            if !refused {
                left = left.saturating_sub(len);
                turn.egress.send(remote, len, write);
            }
            !refused
        });
        refused
    }

    /// When [`Endpoint::transmit`] has to be called next, if nothing else happens; in the past if there is something to
    /// send now.
    pub(crate) fn deadline(&mut self) -> Option<Moment> {
        self.tcp.deadline(self.now)
    }

    pub(crate) fn phase(&self) -> Phase {
        match (self.tcp.error(), self.tcp.state()) {
            (Some(Error::Refused | Error::Reset), _) => Phase::Failed(Failure::Reset),
            (Some(Error::TimedOut | Error::Unreachable), _) => Phase::Failed(Failure::TimedOut),
            (Some(Error::Aborted), _) => Phase::Failed(Failure::Aborted),
            (None, State::SynSent | State::SynReceived) => Phase::Connecting,
            (None, State::TimeWait | State::Closed) => Phase::Ended,
            (None, _) => Phase::Open,
        }
    }

    /// Takes received bytes. What came before a failure can still be read.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Read {
        match self.tcp.read(into, self.now) {
            Ok(read) => read,
            Err(_) => Read::Nothing,
        }
    }

    /// Whether [`Endpoint::read`] would return anything but [`Read::Nothing`].
    pub(crate) fn can_read(&self) -> bool {
        self.tcp.readable()
    }

    /// Whether bytes wait for [`Endpoint::read`].
    pub(crate) fn unread(&self) -> bool {
        self.tcp.unread() > 0
    }

    /// Takes bytes to send, as many as there is room for. Not after [`Endpoint::finish`].
    pub(crate) fn write(&mut self, data: &[u8]) -> usize {
        self.tcp.write(data).unwrap_or(0)
    }

    /// Whether there is room enough that waking a writer is worth it.
    pub(crate) fn can_write(&self) -> bool {
        self.tcp.writable()
    }

    /// Ends our direction after what was written.
    pub(crate) fn finish(&mut self) {
        self.tcp.shutdown();
    }

    /// Whether all we wrote was acknowledged, and our end as well.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.tcp.state(), State::FinWait2 | State::TimeWait | State::Closed)
    }

    /// Ends the connection at once, with a RST from the next [`Endpoint::transmit`].
    pub(crate) fn abort(&mut self) {
        self.tcp.abort();
    }

    /// Nobody reads or writes any more: whatever patience the connection had, it has less now.
    pub(crate) fn orphan(&mut self) {
        self.tcp.orphan(self.now);
    }

    /// Whether `sequence` was sent and is not acknowledged; what an ICMP message has to quote to be believed (RFC 5927 §4).
    pub(crate) fn in_flight(&self, sequence: u32) -> bool {
        self.tcp.is_in_flight(Seq::new(sequence))
    }

    /// The way was gone for everybody and is back.
    pub(crate) fn retry(&mut self, now: Moment) {
        self.tcp.retry(now);
    }

    /// A router says that the path carries packets of at most `mtu` bytes.
    pub(crate) fn packet_too_big(&mut self, mtu: usize, sequence: u32) {
        self.tcp.packet_too_big(u16::try_from(mtu).unwrap_or(u16::MAX), Seq::new(sequence), self.now);
    }
}
