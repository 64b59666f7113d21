//! TCP by smoltcp: one `Interface` with one socket for each connection.
//!
//! An interface walks all its sockets for every packet, so a packet costs the same however many connections there are
//! only if each has an interface of its own. An interface is less than a kilobyte.
//!
//! Buffers of smoltcp have the size for life that they begin with. Ours are 3 MiB each way, which fills 100 Mbit/s at
//! 200 ms; they are zeroed memory that the kernel commits when it is first touched. An idle connection holds 9 KiB in
//! all. The send buffer starts at its front again whenever it ran empty; the receive buffer does not, so a connection
//! that has received 3 MiB holds them until it ends.
//!
//! What smoltcp does not do: it reports SACK blocks but does not use those it gets, so with several losses in a window it
//! resends from the first one; it waits a second at least for a timeout; its window grows by a segment for each
//! acknowledgement, however much that one acknowledges.

mod device;
mod path;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State};
use smoltcp::time::{Duration as Span, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint, TcpPacket};

use self::device::{Drain, Feed, Offload};
use self::path::Path;
use super::engine::{Engine, Failure, Opening, Phase, Read, Segment, Turn};
use crate::Moment;

const RECEIVE_BUFFER: usize = 3 << 20;
const SEND_BUFFER: usize = 3 << 20;
/// Blocks of this size always come from the kernel and go back to it.
const MAPPED: usize = 33 << 20;
/// What a writer may have waiting at first. It doubles whenever all of it was in flight at once, as the path then takes
/// more: a slow path does not fill megabytes that its user believes to be sent.
const FIRST_SEND_LIMIT: usize = 256 << 10;

/// First probe after so much silence, then as often; the habit of all our sockets.
const KEEP_ALIVE: Span = Span::from_secs(15);
/// Four probes without an answer.
const SILENCE: Span = Span::from_secs(75);
/// SYNs at 0, 1, 3, 7, 15, 31 and 63 s, as with Linux, then the verdict.
const CONNECT: Span = Span::from_secs(120);
/// Data without an acknowledgement; Linux' 15 retries.
const UNANSWERED: Span = Span::from_secs(924);
/// The same when nobody waits any more.
const UNANSWERED_ORPHAN: Span = Span::from_secs(100);
/// smoltcp forgets what was received when TIME-WAIT ends after 10 s; before that we let go of it, if it was not read.
const TIME_WAIT: Duration = Duration::from_secs(9);
/// Answers to segments, each of which smoltcp makes at once; duplicate ACKs, mostly.
const MAX_REPLIES: usize = 1024;

/// A connection.
pub(crate) struct Smol {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    path: Path,
    replies: VecDeque<device::Reply>,
    failure: Option<Failure>,
    /// The other end has finished; smoltcp forgets it.
    ended: bool,
    time_wait: Option<Moment>,
    /// Whether the SYN was answered and the answer not acknowledged yet. Until smoltcp has, it believes that it offered
    /// the window of the SYN scaled, which is more than it has: whatever comes now has to come again.
    unacknowledged: bool,
    send_limit: usize,
    unanswered: Span,
    offload: Offload,
    now: Moment,
}

impl Smol {
    /// A connection whose SYN waits to be sent; `None` if the addresses cannot be connected.
    pub(crate) fn open(opening: &Opening) -> Option<Self> {
        let (local, remote) = (IpAddress::from(opening.local), IpAddress::from(opening.remote));
        let offload = Offload::None { mtu: opening.mtu };
        let mut interface = interface(opening.local, opening.seed, offload, opening.now)?;
        let mut socket = Socket::new(buffer(RECEIVE_BUFFER), buffer(SEND_BUFFER));
        socket.set_nagle_enabled(false);
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.set_congestion_control(CongestionControl::Cubic);
        let (from, to) = (IpEndpoint::new(local, opening.local_port), IpEndpoint::new(remote, opening.remote_port));
        socket.connect(interface.context(), to, from).ok()?;
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Some(Self {
            interface,
            sockets,
            handle,
            path: Path::new(opening.local, opening.remote, opening.mtu),
            replies: VecDeque::new(),
            failure: None,
            ended: false,
            time_wait: None,
            unacknowledged: false,
            send_limit: FIRST_SEND_LIMIT,
            unanswered: UNANSWERED,
            offload,
            now: opening.now,
        })
    }

    fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// From now on segments leave smoltcp whole and are cut by us.
    fn established(&mut self, tcp: &TcpPacket<&[u8]>) {
        self.unacknowledged = true;
        self.path.on_syn(tcp);
        let offload = Offload::Segmentation;
        if let Some(interface) = interface(self.path.local, 0, offload, self.now) {
            self.interface = interface;
            self.offload = offload;
        }
    }

    fn on_change(&mut self, before: State, segment: &Segment<'_>) {
        let after = self.socket().state();
        if before == after {
            return;
        }
        self.ended |= matches!(after, State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        match (before, after) {
            (State::SynSent, State::Established) => {
                self.established(&segment.tcp);
            }
            (State::TimeWait, State::Closed) => {}
            (State::LastAck, State::Closed) if !segment.tcp.rst() => {}
            (_, State::Closed) => self.fail(Failure::Reset),
            (_, State::TimeWait) => self.time_wait = Some(self.now),
            _ => {}
        }
    }

    fn fail(&mut self, why: Failure) {
        self.failure.get_or_insert(why);
    }

    /// Whether what is left of the connection is only bytes that nobody has read yet.
    fn is_over_but_unread(&self) -> bool {
        self.unread() && self.time_wait.is_some_and(|since| self.now.since(since) >= TIME_WAIT)
    }

    fn set_patience(&mut self) {
        let unanswered = self.unanswered;
        let socket = self.socket_mut();
        let patience = match socket.state() {
            State::SynSent | State::SynReceived => CONNECT,
            State::FinWait1 | State::Closing | State::LastAck => unanswered,
            _ if socket.send_queue() > 0 => unanswered,
            _ => SILENCE,
        };
        socket.set_timeout(Some(patience));
    }

    /// Sends the answers made while receiving. `false`: there is no room.
    fn send_replies(&mut self, turn: &mut Turn<'_>) -> bool {
        while let Some(reply) = self.replies.front() {
            if !turn.egress.has_room() {
                return false;
            }
            self.path.send_reply(reply.bytes(), turn.egress);
            self.replies.pop_front();
        }
        true
    }

    fn grow_send_limit(&mut self, all_in_flight: bool) {
        let queued = self.socket().send_queue();
        if all_in_flight && queued >= self.send_limit - self.send_limit / 4 {
            self.send_limit = (2 * self.send_limit).min(SEND_BUFFER);
        }
    }
}

impl Engine for Smol {
    fn receive(&mut self, segment: &Segment<'_>, now: Moment) {
        self.now = now;
        let before = self.socket().state();
        // No simultaneous open either: who answers our SYN with one of its own is no server.
        let also_opens = before == State::SynSent && segment.tcp.syn() && !segment.tcp.ack();
        if before == State::Closed || also_opens || (self.unacknowledged && !segment.tcp.rst()) {
            return;
        }
        self.path.heard(&segment.tcp);
        let spare = MAX_REPLIES.saturating_sub(self.replies.len());
        let mut feed = Feed { packet: Some(segment.packet), replies: &mut self.replies, spare, offload: self.offload };
        self.interface.poll_ingress_single(instant(now), &mut feed, &mut self.sockets);
        self.on_change(before, segment);
    }

    fn transmit(&mut self, turn: &mut Turn<'_>) -> bool {
        self.now = turn.now;
        if !self.send_replies(turn) {
            return true;
        }
        if self.is_over_but_unread() {
            return false;
        }
        self.set_patience();
        let before = self.socket().state();
        let mut drain = Drain {
            egress: turn.egress,
            scratch: turn.scratch,
            path: &mut self.path,
            offload: self.offload,
            left: turn.quantum,
            sent: 0,
            all_in_flight: false,
        };
        let mut exhausted = false;
        loop {
            let sent = drain.sent;
            self.interface.poll_egress(instant(turn.now), &mut drain, &mut self.sockets);
            if drain.sent == sent {
                exhausted |= !drain.may_send();
                break;
            }
        }
        let (sent, all_in_flight) = (drain.sent, drain.all_in_flight);
        if sent > 0 {
            self.unacknowledged = false;
        }
        self.grow_send_limit(all_in_flight);
        if self.socket().state() == State::Closed && !matches!(before, State::Closed | State::TimeWait) {
            self.fail(Failure::TimedOut);
        }
        exhausted && self.deadline().is_some_and(|at| at <= turn.now)
    }

    fn deadline(&mut self) -> Option<Moment> {
        if !self.replies.is_empty() {
            return Some(self.now);
        }
        if self.is_over_but_unread() {
            return None;
        }
        let at = self.interface.poll_at(instant(self.now), &self.sockets)?;
        let at = Moment::from_micros(u64::try_from(at.total_micros()).unwrap_or(0));
        Some(match self.time_wait {
            Some(since) if self.unread() => at.min(since + TIME_WAIT),
            _ => at,
        })
    }

    fn phase(&self) -> Phase {
        match (self.failure, self.socket().state()) {
            (Some(why), _) => Phase::Failed(why),
            (None, State::SynSent | State::SynReceived) => Phase::Connecting,
            (None, State::Closed | State::TimeWait) => Phase::Ended,
            (None, _) => Phase::Open,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Read {
        let ended = self.ended;
        match self.socket_mut().recv_slice(into) {
            Ok(0) => Read::Nothing,
            Ok(n) => Read::Bytes(n),
            Err(RecvError::Finished) => Read::End,
            Err(RecvError::InvalidState) if ended => Read::End,
            Err(RecvError::InvalidState) => Read::Nothing,
        }
    }

    fn can_read(&self) -> bool {
        self.ended || self.unread()
    }

    fn unread(&self) -> bool {
        self.socket().recv_queue() > 0
    }

    fn write(&mut self, data: &[u8]) -> usize {
        let room = self.send_limit.saturating_sub(self.socket().send_queue());
        let some = data.get(..room).unwrap_or(data);
        self.socket_mut().send_slice(some).unwrap_or(0)
    }

    fn can_write(&self) -> bool {
        self.socket().send_queue() <= self.send_limit / 2
    }

    fn finish(&mut self) {
        if self.phase() != Phase::Connecting {
            self.socket_mut().close();
        }
    }

    fn finished(&self) -> bool {
        matches!(self.socket().state(), State::FinWait2 | State::TimeWait | State::Closed)
    }

    fn abort(&mut self) {
        if self.socket().state() != State::Closed {
            self.fail(Failure::Aborted);
            self.socket_mut().abort();
        }
    }

    fn orphan(&mut self) {
        self.unanswered = UNANSWERED_ORPHAN;
    }

    fn in_flight(&self, sequence: u32) -> bool {
        self.path.in_flight(sequence)
    }

    fn lower_mtu(&mut self, mtu: usize) {
        self.path.lower_mtu(mtu);
    }
}

/// A buffer that costs a page until it is used.
///
/// glibc takes memory up to the size of the largest block that was ever freed, but no more than 32 MiB, from its heap,
/// where zeroing touches it: after the first connection ended, an idle one would hold 272 KiB instead of 8. So the block
/// is larger than that, and we use its beginning.
fn buffer(size: usize) -> SocketBuffer<'static> {
    let mut memory = vec![0; MAPPED];
    memory.truncate(size);
    SocketBuffer::new(memory)
}

/// An interface with one address. `None` if that is not one that a host can have.
fn interface(local: IpAddr, seed: u64, offload: Offload, now: Moment) -> Option<Interface> {
    let address = IpAddress::from(local);
    if !address.is_unicast() {
        return None;
    }
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut device::Shape(offload), instant(now));
    let whole = if local.is_ipv4() { 32 } else { 128 };
    // There is room for one.
    interface.update_ip_addrs(|addresses| {
        let _ = addresses.push(IpCidr::new(address, whole));
    });
    Some(interface)
}

fn instant(now: Moment) -> Instant {
    Instant::from_micros(i64::try_from(now.micros()).unwrap_or(i64::MAX))
}
