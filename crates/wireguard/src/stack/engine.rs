//! The seam between the stack and what speaks TCP.

use std::net::IpAddr;

use smoltcp::wire::TcpPacket;

use super::Egress;
use crate::Moment;

/// A segment for a connection. Its lengths, its addresses, its ports and its checksums were checked.
pub(crate) struct Segment<'a> {
    /// The whole IP packet.
    pub packet: &'a [u8],
    /// The segment in it.
    pub tcp: TcpPacket<&'a [u8]>,
}

/// A turn of a connection at sending.
pub(crate) struct Turn<'a> {
    pub now: Moment,
    /// About how many bytes may go before others have their turn.
    pub quantum: usize,
    pub egress: &'a mut dyn Egress,
    /// 64 KiB to build something in.
    pub scratch: &'a mut [u8],
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

/// What there was to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever again: the other end finished.
    End,
}

/// One TCP connection that we opened: an active one, so it begins with a SYN of ours.
pub(crate) trait Engine: Send {
    /// Takes a segment. Answers wait for [`Engine::transmit`].
    fn receive(&mut self, segment: &Segment<'_>, now: Moment);

    /// Sends what is due. `true`: there is more that could go at once, but the quantum or the room was used up.
    fn transmit(&mut self, turn: &mut Turn<'_>) -> bool;

    /// When [`Engine::transmit`] has to be called next, if nothing else happens; in the past if there is something to
    /// send now.
    fn deadline(&mut self) -> Option<Moment>;

    fn phase(&self) -> Phase;

    /// Takes received bytes. What came before a failure can still be read.
    fn read(&mut self, into: &mut [u8]) -> Read;

    /// Whether [`Engine::read`] would return anything but [`Read::Nothing`].
    fn can_read(&self) -> bool;

    /// Whether bytes wait for [`Engine::read`].
    fn unread(&self) -> bool;

    /// Takes bytes to send, as many as there is room for. Not after [`Engine::finish`].
    fn write(&mut self, data: &[u8]) -> usize;

    /// Whether there is room enough that waking a writer is worth it.
    fn can_write(&self) -> bool;

    /// Ends our direction after what was written.
    fn finish(&mut self);

    /// Whether all we wrote was acknowledged, and our end as well.
    fn finished(&self) -> bool;

    /// Ends the connection at once, with a RST from the next [`Engine::transmit`].
    fn abort(&mut self);

    /// Nobody reads or writes any more: whatever patience the connection had, it has less now.
    fn orphan(&mut self);

    /// Whether `sequence` was sent and is not acknowledged; what an ICMP message has to quote to be believed (RFC 5927 §4).
    fn in_flight(&self, sequence: u32) -> bool;

    /// The path carries packets of at most `mtu` bytes.
    fn lower_mtu(&mut self, mtu: usize);
}

/// Makes connections.
pub(crate) struct Opening {
    pub local: IpAddr,
    pub local_port: u16,
    pub remote: IpAddr,
    pub remote_port: u16,
    pub mtu: usize,
    /// For the initial sequence number.
    pub seed: u64,
    pub now: Moment,
}
