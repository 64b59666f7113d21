//! What a tunnel is made from. `config` makes these from YAML, links and `wg-quick` files; nothing in them can be wrong.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::{PresharedKey, PrivateKey, PublicKey};

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Our key.
    pub private_key: PrivateKey,
    /// Our addresses inside.
    pub addresses: Addresses,
    /// The other ends; at least one. Their [`Peer::allowed_ips`] may overlap: the longest prefix wins.
    pub peers: Vec<Peer>,
    /// The largest packet inside.
    pub mtu: Mtu,
    /// AmneziaWG: how packets are disguised. `None` is plain WireGuard.
    pub obfuscation: Option<Obfuscation>,
}

/// Our addresses inside the tunnel: one or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4 only.
    V4(Ipv4Addr),
    /// IPv6 only.
    V6(Ipv6Addr),
    /// Both.
    Both(Ipv4Addr, Ipv6Addr),
}

impl Addresses {
    /// The IPv4 address.
    #[must_use]
    pub const fn v4(self) -> Option<Ipv4Addr> {
        match self {
            Self::V4(v4) | Self::Both(v4, _) => Some(v4),
            Self::V6(_) => None,
        }
    }

    /// The IPv6 address.
    #[must_use]
    pub const fn v6(self) -> Option<Ipv6Addr> {
        match self {
            Self::V6(v6) | Self::Both(_, v6) => Some(v6),
            Self::V4(_) => None,
        }
    }
}

/// The other end of a tunnel. Where it is on the network is not its identity, and so not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub public_key: PublicKey,
    /// The shared secret, if there is one.
    pub preshared_key: Option<PresharedKey>,
    /// What goes to it, and what may come from it. Not empty.
    pub allowed_ips: Vec<IpNet>,
    /// Bytes 1 to 3 of every message we send to it; WireGuard itself has zeros there, some providers want others.
    pub reserved: [u8; 3],
    /// How often we say something when there is nothing to say.
    pub keepalive: Keepalive,
}

/// `persistent-keepalive`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keepalive {
    /// Silent when idle.
    #[default]
    Off,
    /// After so many seconds without a packet.
    Every(NonZeroU16),
}

/// The largest IP packet inside the tunnel, in bytes: 1280 (which IPv6 needs; 576 for a tunnel with IPv4 only) to 65,440.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtu(u16);

impl Mtu {
    /// What Mihomo uses when nothing is said: fits in 1,500 bytes with an IPv6 header and PPPoE around it.
    pub const DEFAULT: Self = Self(1408);
    /// The largest that one UDP datagram carries.
    pub const MAX: u16 = 65_440;

    /// `None` if `bytes` is out of range for a tunnel with these addresses.
    #[must_use]
    pub fn new(bytes: u16, addresses: Addresses) -> Option<Self> {
        let least = if addresses.v6().is_some() { 1280 } else { 576 };
        (least..=Self::MAX).contains(&bytes).then_some(Self(bytes))
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u16 {
        self.0
    }
}

/// `amnezia-wg-option`, versions 1.0 to 2.0: what makes the packets look less like WireGuard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obfuscation {
    /// Packets of noise before each initiation.
    pub junk: Junk,
    /// Random bytes in front of messages, by type.
    pub prefix: Prefix,
    /// What the type word of messages is, by type.
    pub header: Header,
    /// `i1` to `i5`: packets sent before each initiation, in order. Each is a list of pieces.
    pub imitation: Vec<Vec<Piece>>,
}

/// `jc`, `jmin`, `jmax`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Junk {
    /// How many, at most 128.
    pub count: u8,
    /// How long each is, in bytes, within 0 to 1,280.
    pub length: Option<RangeInclusive<u16>>,
}

/// `s1` to `s4`, in bytes, each at most 1,280.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// In front of initiations.
    pub initiation: u16,
    /// In front of responses.
    pub response: u16,
    /// In front of cookie replies.
    pub cookie: u16,
    /// In front of data.
    pub data: u16,
}

/// `h1` to `h4`: the ranges of type words, by type; they do not overlap. We send any value of the range and accept all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 in WireGuard.
    pub initiation: RangeInclusive<u32>,
    /// 2 in WireGuard.
    pub response: RangeInclusive<u32>,
    /// 3 in WireGuard.
    pub cookie: RangeInclusive<u32>,
    /// 4 in WireGuard.
    pub data: RangeInclusive<u32>,
}

impl Default for Header {
    fn default() -> Self {
        Self { initiation: 1..=1, response: 2..=2, cookie: 3..=3, data: 4..=4 }
    }
}

/// A piece of an imitated packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// `<b 0x…>`: these bytes.
    Bytes(Vec<u8>),
    /// `<c>`: how many packets were sent so far, 32 bits, big-endian.
    Counter,
    /// `<t>`: Unix time in seconds, 32 bits, big-endian.
    Time,
    /// `<r n>`: random bytes, at most 1,000.
    Random(u16),
    /// `<rc n>`: random letters, at most 1,000.
    RandomLetters(u16),
    /// `<rd n>`: random digits, at most 1,000.
    RandomDigits(u16),
}
