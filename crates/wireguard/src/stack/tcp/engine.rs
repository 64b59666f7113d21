//! The endpoint behind the stack's seam.

use std::net::{IpAddr, SocketAddr};

use super::super::engine::{self, Engine, Failure, Opening, Phase, Turn};
use super::{Error, KeepAlive, Read, Segment, Seq, Settings, State, Tcp};
use crate::Moment;

/// A silent peer is asked after so many seconds, then as often, then given up; the habit of all our sockets.
const KEEP_ALIVE: KeepAlive = KeepAlive { idle: 15, interval: 15, count: 4 };
/// Data without an acknowledgement, in seconds; Linux' 15 retries.
const PATIENCE: u16 = 924;

/// A connection of the stack.
pub(crate) struct Endpoint {
    tcp: Tcp,
    /// When it was last asked to do something; for what the seam asks without a time.
    now: Moment,
}

impl Endpoint {
    /// A connection whose SYN waits to be sent; `None` if the addresses are of different families.
    pub(crate) fn open(opening: &Opening) -> Option<Self> {
        if opening.local.is_ipv4() != opening.remote.is_ipv4() {
            return None;
        }
        let mtu = u16::try_from(opening.mtu).unwrap_or(u16::MAX);
        let settings = Settings { mtu, keep_alive: Some(KEEP_ALIVE), patience: PATIENCE, ..Settings::default() };
        let local = SocketAddr::new(opening.local, opening.local_port);
        let remote = SocketAddr::new(opening.remote, opening.remote_port);
        // The seed is random in all its bits.
        let tcp = Tcp::connect(local, remote, settings, opening.seed as u32, opening.now);
        Some(Self { tcp, now: opening.now })
    }

    fn remote(&self) -> IpAddr {
        self.tcp.remote.ip()
    }
}

impl Engine for Endpoint {
    fn receive(&mut self, segment: &engine::Segment<'_>, now: Moment) {
        self.now = now;
        if let Some(segment) = Segment::read(&segment.tcp) {
            self.tcp.receive(&segment, now);
        }
    }

    fn transmit(&mut self, turn: &mut Turn<'_>) -> bool {
        self.now = turn.now;
        let remote = self.remote();
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

    fn deadline(&mut self) -> Option<Moment> {
        self.tcp.deadline(self.now)
    }

    fn phase(&self) -> Phase {
        match (self.tcp.error(), self.tcp.state()) {
            (Some(Error::Refused | Error::Reset), _) => Phase::Failed(Failure::Reset),
            (Some(Error::TimedOut | Error::Unreachable), _) => Phase::Failed(Failure::TimedOut),
            (Some(Error::Aborted), _) => Phase::Failed(Failure::Aborted),
            (None, State::SynSent | State::SynReceived) => Phase::Connecting,
            (None, State::TimeWait | State::Closed) => Phase::Ended,
            (None, _) => Phase::Open,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> engine::Read {
        match self.tcp.read(into, self.now) {
            Ok(Read::Bytes(len)) => engine::Read::Bytes(len),
            Ok(Read::End) => engine::Read::End,
            Ok(Read::Nothing) | Err(_) => engine::Read::Nothing,
        }
    }

    fn can_read(&self) -> bool {
        self.tcp.readable()
    }

    fn unread(&self) -> bool {
        self.tcp.unread() > 0
    }

    fn write(&mut self, data: &[u8]) -> usize {
        self.tcp.write(data).unwrap_or(0)
    }

    fn can_write(&self) -> bool {
        self.tcp.writable()
    }

    fn finish(&mut self) {
        self.tcp.shutdown();
    }

    fn finished(&self) -> bool {
        matches!(self.tcp.state(), State::FinWait2 | State::TimeWait | State::Closed)
    }

    fn abort(&mut self) {
        self.tcp.abort();
    }

    fn orphan(&mut self) {
        self.tcp.orphan(self.now);
    }

    fn in_flight(&self, sequence: u32) -> bool {
        self.tcp.is_in_flight(Seq::new(sequence))
    }

    fn lower_mtu(&mut self, mtu: usize) {
        self.tcp.lower_mtu(u16::try_from(mtu).unwrap_or(u16::MAX).max(576), self.now);
    }
}
