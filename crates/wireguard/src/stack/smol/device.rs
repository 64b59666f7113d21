//! What smoltcp takes for a network card.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use smoltcp::phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::path::Path;
use crate::stack::Egress;

/// What the card can do for smoltcp.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offload {
    /// Nothing: the handshake needs the real MTU for its MSS option.
    None { mtu: usize },
    /// Cut segments. The card pretends to take any packet, so that it is we who know the MTU of the path.
    Segmentation,
}

impl Offload {
    /// The longest segment we are given; smoltcp's own cost is per segment.
    const LONGEST: usize = 32 << 10;

    fn capabilities(self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        // What comes was checked before it was given to a connection, and what goes is summed when it is cut.
        capabilities.checksum = ChecksumCapabilities::ignored();
        match self {
            Self::None { mtu } => capabilities.max_transmission_unit = mtu,
            Self::Segmentation => {
                capabilities.max_transmission_unit = usize::from(u16::MAX);
                capabilities.segmentation.tcpv4 = NonZeroUsize::new(Self::LONGEST);
                capabilities.segmentation.tcpv6 = NonZeroUsize::new(Self::LONGEST);
            }
        }
        capabilities
    }
}

/// An answer that smoltcp makes while it receives: an ACK or a RST, which is at most 40 + 60 bytes.
pub(super) struct Reply {
    bytes: [u8; Self::LONGEST],
    len: usize,
}

impl Reply {
    const LONGEST: usize = 100;

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Only what a card is like.
pub(super) struct Shape(pub(super) Offload);

impl phy::Device for Shape {
    type RxToken<'a> = Lent<'a>;
    type TxToken<'a> = Keep<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Lent<'_>, Keep<'_>)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Keep<'_>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.0.capabilities()
    }
}

/// A card that has received one packet.
pub(super) struct Feed<'p> {
    pub(super) packet: Option<&'p [u8]>,
    pub(super) replies: &'p mut VecDeque<Reply>,
    /// How many more answers may be kept.
    pub(super) spare: usize,
    pub(super) offload: Offload,
}

impl phy::Device for Feed<'_> {
    type RxToken<'a>
        = Lent<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Keep<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Lent<'_>, Keep<'_>)> {
        Some((Lent(self.packet.take()?), Keep { replies: self.replies, spare: self.spare }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Keep<'_>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.offload.capabilities()
    }
}

pub(super) struct Lent<'a>(&'a [u8]);

impl RxToken for Lent<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(super) struct Keep<'a> {
    replies: &'a mut VecDeque<Reply>,
    spare: usize,
}

impl TxToken for Keep<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut reply = Reply { bytes: [0; Reply::LONGEST], len };
        match reply.bytes.get_mut(..len) {
            Some(bytes) => {
                let result = f(bytes);
                if self.spare > 0 {
                    self.replies.push_back(reply);
                }
                result
            }
            None => f(&mut vec![0; len]),
        }
    }
}

/// A card that sends.
pub(super) struct Drain<'p> {
    pub(super) egress: &'p mut dyn Egress,
    pub(super) scratch: &'p mut [u8],
    pub(super) path: &'p mut Path,
    pub(super) offload: Offload,
    /// Bytes left of the quantum.
    pub(super) left: usize,
    /// Packets from smoltcp so far.
    pub(super) sent: usize,
    /// Whether all there was to send is in flight.
    pub(super) all_in_flight: bool,
}

impl Drain<'_> {
    pub(super) fn may_send(&self) -> bool {
        self.left > 0 && self.egress.has_room()
    }
}

impl phy::Device for Drain<'_> {
    type RxToken<'a>
        = Lent<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Cut<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Lent<'_>, Cut<'_>)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Cut<'_>> {
        if !self.may_send() {
            return None;
        }
        Some(Cut {
            egress: self.egress,
            scratch: self.scratch,
            path: self.path,
            left: &mut self.left,
            sent: &mut self.sent,
            all_in_flight: &mut self.all_in_flight,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.offload.capabilities()
    }
}

/// The right to send one packet, however long.
pub(super) struct Cut<'a> {
    egress: &'a mut dyn Egress,
    scratch: &'a mut [u8],
    path: &'a mut Path,
    left: &'a mut usize,
    sent: &'a mut usize,
    all_in_flight: &'a mut bool,
}

impl TxToken for Cut<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        *self.sent += 1;
        *self.left = self.left.saturating_sub(len);
        match self.scratch.get_mut(..len) {
            Some(packet) => {
                let result = f(packet);
                if let Some(pushed) = self.path.send(packet, self.egress) {
                    *self.all_in_flight = pushed;
                }
                result
            }
            None => f(&mut vec![0; len]),
        }
    }
}
