//! TCP, the side that connects: bytes, segments and time in, segments and deadlines out.
//!
//! It is made for long paths that lose packets: every loss is repaired within a round trip, also at the end of what is
//! sent (SACK, RFC 2018; RACK-TLP, RFC 8985); what was not lost is noticed (D-SACK, RFC 2883, and timestamps, RFC 3522);
//! and the sender is paced by [`Algorithm`]. Memory follows use: a connection with nothing to say owns no heap.
//!
//! It is not a listener, has no urgent data (RFC 6093 §5 advises against it), no ECN and no Fast Open.
//!
//! What is where: [`Segment`] is the wire; `input` takes segments, `output` makes them, `timers` is for when nothing comes;
//! `flight` knows what is under way, `recovery` what to do about losses, `congestion` how much may be under way;
//! `receiver` is the other direction.

mod chunks;
pub(crate) mod congestion;
mod flight;
mod input;
mod output;
mod ranges;
mod receiver;
mod recovery;
mod rtt;
mod segment;
mod seq;
mod state;
#[cfg(test)]
mod tests;
mod timers;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Moment;

use chunks::Chunks;
use congestion::Congestion;
use flight::Flight;
use receiver::Receiver;
use recovery::{Recovery, Tail, Undo};
use rtt::Rtt;
use timers::Timers;

pub use congestion::Algorithm;
pub use segment::Segment;
pub use seq::Seq;
pub use state::{Error, KeepAlive, Settings, State, Unreachable};

/// Takes a packet of a length that the function writes, whole; `false`, without calling it, if there is no room.
pub type Egress<'a> = dyn FnMut(usize, &mut dyn FnMut(&mut [u8])) -> bool + 'a;

/// What there was to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever again: the other end finished.
    End,
}

/// One connection.
pub struct Tcp {
    local: SocketAddr,
    remote: SocketAddr,
    settings: Settings,
    state: State,
    error: Option<Error>,
    /// Our initial sequence number. All that follows is in offsets from it.
    first: Seq,
    /// From SND.UNA on: what is not acknowledged, and what is not sent.
    data: Chunks,
    /// Whether a FIN follows.
    fin: bool,
    /// SND.UNA.
    una: u64,
    /// SND.NXT.
    next: u64,
    peer: Peer,
    flight: Flight,
    recovery: Recovery,
    undo: Option<Undo>,
    tail: Option<Tail>,
    congestion: Congestion,
    /// The window kept us from sending since the round began.
    window_limited: bool,
    rtt: Rtt,
    receiver: Receiver,
    /// The largest packet that the path is known to carry, at most the setting.
    path_mtu: u16,
    /// The largest packet that arrived since the last timeout.
    proven_mtu: u16,
    timers: Timers,
    /// Nobody holds the connection any more.
    orphaned: bool,
    /// A RST is to be sent: with this number, and an acknowledgement if it is for the connection.
    reset: Option<(Seq, bool)>,
}

/// What we know of the other end.
#[derive(Clone, Copy, Debug)]
struct Peer {
    /// The offset that we may send up to.
    edge: u64,
    /// SND.WL1 and SND.WL2: the segment that said so.
    said: (u64, u64),
    /// The largest window it ever had.
    most: u64,
    shift: u8,
    /// Without options.
    mss: u16,
    sack: bool,
    scales: bool,
    /// TS.Recent, and when it was learnt (RFC 7323 §4.3).
    timestamp: Option<(u32, Moment)>,
    /// Acknowledgements without news, of a peer without SACK.
    repeated: u8,
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp")
            .field("local", &self.local)
            .field("remote", &self.remote)
            .field("state", &self.state)
            .field("error", &self.error)
            .field("una", &self.una)
            .field("next", &self.next)
            .field("peer", &self.peer)
            .field("recovery", &self.recovery)
            .field("congestion", &self.congestion)
            .field("rtt", &self.rtt)
            .field("timers", &self.timers)
            .finish_non_exhaustive()
    }
}

impl Tcp {
    /// Begins to connect; [`Tcp::poll`] sends the SYN. Both addresses have to be of the same family. `isn` has to be hard
    /// to guess (RFC 6528).
    #[must_use]
    pub fn connect(local: SocketAddr, remote: SocketAddr, settings: Settings, isn: u32, now: Moment) -> Self {
        let path_mtu = settings.mtu.max(576);
        // RFC 9293 §3.7.1: what to assume when the other end does not say.
        let mss = if remote.is_ipv4() { 536 } else { 1220 };
        let mut tcp = Self {
            local,
            remote,
            receiver: Receiver::new(settings.receive_limit, now),
            congestion: Congestion::new(settings.algorithm, 1, now),
            settings,
            state: State::SynSent,
            error: None,
            first: Seq::new(isn),
            data: Chunks::new(1),
            fin: false,
            una: 0,
            next: 0,
            peer: Peer {
                edge: 1,
                said: (0, 0),
                most: 0,
                shift: 0,
                mss,
                sack: false,
                scales: false,
                timestamp: None,
                repeated: 0,
            },
            flight: Flight::new(now),
            recovery: Recovery::Open,
            undo: None,
            tail: None,
            window_limited: false,
            rtt: Rtt::default(),
            path_mtu,
            proven_mtu: 0,
            timers: Timers::new(now),
            orphaned: false,
            reset: None,
        };
        tcp.congestion = Congestion::new(tcp.settings.algorithm, tcp.mss(), now);
        tcp
    }

    /// The other end.
    #[must_use]
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Where the connection is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why it ended, if it ended out of order.
    #[must_use]
    pub const fn error(&self) -> Option<Error> {
        self.error
    }

    /// Whether both SYNs are acknowledged, or that will never be.
    #[must_use]
    pub const fn settled(&self) -> bool {
        !matches!(self.state, State::SynSent | State::SynReceived)
    }

    /// Whether [`Tcp::read`] has more to say than [`Read::Nothing`].
    #[must_use]
    pub fn readable(&self) -> bool {
        self.unread() > 0 || self.receiver.finished() || self.state == State::Closed
    }

    /// Bytes that can be read at once.
    #[must_use]
    pub const fn unread(&self) -> usize {
        self.receiver.unread()
    }

    /// Moves received bytes to `place`, which should not be empty. What came before an error is read first.
    ///
    /// # Errors
    /// The connection ended otherwise than by a FIN.
    pub fn read(&mut self, place: &mut [u8], now: Moment) -> Result<Read, Error> {
        let full = self.mss() as usize;
        let rtt = self.rtt.smoothed();
        match self.receiver.read(place, full, rtt, now) {
            0 if self.unread() > 0 => Ok(Read::Bytes(0)),
            // What was thrown away came before the end, which nobody must take for it.
            0 if self.receiver.finished() && self.error != Some(Error::Aborted) => Ok(Read::End),
            0 => match self.error {
                Some(error) => Err(error),
                None if self.state == State::Closed => Ok(Read::End),
                None => Ok(Read::Nothing),
            },
            len => Ok(Read::Bytes(len)),
        }
    }

    /// How much [`Tcp::write`] would take: a window's worth beyond what is under way, up to the setting, so that what
    /// waits here is about one round trip's.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.fin || self.state == State::Closed {
            return 0;
        }
        let wanted = (self.congestion.window().saturating_mul(2)).max(64 * 1024);
        let limit = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.settings.send_limit as usize);
        limit.saturating_sub(self.data.len())
    }

    /// Whether there is room enough that waking a writer is worth it: a third of what may wait.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.state == State::Closed || self.room() > self.data.len() / 2
    }

    /// Takes as much of `data` as there is room for; nothing after [`Tcp::shutdown`].
    ///
    /// # Errors
    /// The connection ended out of order.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let len = data.len().min(self.room());
        self.data.append(data.get(..len).unwrap_or_default());
        Ok(len)
    }

    /// Whether all that was written, and the FIN if there is one, was acknowledged.
    #[must_use]
    pub const fn drained(&self) -> bool {
        self.una >= self.send_end()
    }

    /// Ends our direction after what was written (RFC 9293 §3.10.4).
    pub fn shutdown(&mut self) {
        if self.fin || self.state == State::Closed {
            return;
        }
        self.fin = true;
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            other => other,
        };
    }

    /// Nobody will read or write any more. What was written is still delivered; a peer that sends more gets a RST
    /// (RFC 9293 §3.6.1), as does one that sent what was not read.
    pub fn orphan(&mut self, now: Moment) {
        if self.orphaned {
            return;
        }
        self.orphaned = true;
        if self.unread() > 0 || !self.settled() {
            self.abort();
            return;
        }
        self.shutdown();
        self.timers.heard = now;
        self.linger_if_half_closed(now);
    }

    /// Ends the connection at once, with a RST from the next [`Tcp::poll`] (RFC 9293 §3.10.5).
    pub fn abort(&mut self) {
        match self.state {
            State::Closed => return,
            // Nobody knows of us (SYN-SENT), or all is said.
            State::SynSent | State::TimeWait | State::LastAck | State::Closing => {}
            _ => self.reset = Some((self.first.at(self.next), true)),
        }
        self.receiver.discard();
        self.close(Some(Error::Aborted));
    }

    /// Goes to CLOSED and frees what was to be sent. What was received can still be read.
    fn close(&mut self, error: Option<Error>) {
        self.state = State::Closed;
        self.error = self.error.or(error);
        self.data.clear();
        self.flight.clear();
        self.timers.stop();
    }

    /// Where our part of the sequence space ends, as far as it is known.
    const fn send_end(&self) -> u64 {
        self.data.end() + self.fin as u64
    }

    /// Bytes of data in a full-sized segment (RFC 9293 §3.7.1, Eff.snd.MSS).
    fn mss(&self) -> u64 {
        let headers = segment::ip_header_len(self.remote.ip()) as u64 + segment::TCP_HEADER_LEN;
        let options = if self.peer.timestamp.is_some() { segment::TIMESTAMP_LEN } else { 0 };
        let mss = u64::from(self.path_mtu).saturating_sub(headers).min(self.peer.mss.into());
        mss.saturating_sub(options).max(1)
    }

    /// Our clock for timestamps, in milliseconds (RFC 7323 §5.4). It begins anywhere, so that it does not tell how long
    /// we have been running.
    fn clock(&self, now: Moment) -> u32 {
        ((now.micros() / 1000) as u32).wrapping_add(self.first.number())
    }

    /// A router says that packets have to be `mtu` bytes or less. Believed if `quoted`, the sequence number in the
    /// message, is of what is under way (RFC 5927 §7.1), and never below 576 (§7.2: an attacker's message must not
    /// cut us to pieces).
    pub fn packet_too_big(&mut self, mtu: u16, quoted: Seq, now: Moment) {
        if self.is_in_flight(quoted) {
            self.lower_mtu(mtu.max(576), now);
        }
    }

    /// A router says that packets do not arrive. That ends attempts to connect; an established connection has to prove
    /// itself by timing out (RFC 5927 §6.1, RFC 9293 §3.9.2.2).
    pub fn unreachable(&mut self, kind: Unreachable, quoted: Seq) {
        if self.is_in_flight(quoted) && self.state == State::SynSent {
            self.close(Some(match kind {
                Unreachable::Destination => Error::Unreachable,
                Unreachable::Port => Error::Refused,
            }));
        }
    }

    /// Whether `seq` was sent and is not acknowledged.
    #[must_use]
    pub fn is_in_flight(&self, seq: Seq) -> bool {
        self.first.offset(seq, self.una).is_some_and(|offset| self.una <= offset && offset < self.next)
    }

    fn lower_mtu(&mut self, mtu: u16, now: Moment) {
        if mtu < self.path_mtu {
            self.path_mtu = mtu;
            // What is under way was too large; it goes out again, in smaller pieces.
            self.flight.lose_all(false);
            self.timers.retransmit = now;
        }
    }

    #[cfg(test)]
    fn allocated(&self) -> usize {
        self.data.allocated() + self.receiver.allocated() + self.flight.allocated()
    }

    /// The congestion window and the smoothed round-trip time, for those who want to know.
    #[must_use]
    pub fn path(&self) -> (u64, Option<Duration>) {
        (self.congestion.window(), self.rtt.smoothed())
    }
}
