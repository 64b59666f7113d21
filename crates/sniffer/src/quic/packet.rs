//! The packets in a datagram, by what anybody can read of them (RFC 9000 §17.2, RFC 9369 §3.2).
//!
//! ```text
//!  0        1         5                                                       number_at
//!  +--------+---------+------+------+------+------+--------+-------+--------+--------+------------
//!  | 11TT.. | version | dcid | dcid | scid | scid | token  | token | length | packet | protected
//!  |        |         | len  |      | len  |      | length |       |        | number | payload
//!  +--------+---------+------+------+------+------+--------+-------+--------+--------+------------
//! ```
//! Only an Initial packet has a token. The length counts the packet number and the payload.

use crate::reader::Reader;

/// A version of QUIC whose Initial packets can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// RFC 9000.
    V1,
    /// RFC 9369.
    V2,
}

/// The words that differ between versions in the derivation of keys.
pub(super) struct Labels {
    pub(super) packet: &'static [u8],
    pub(super) iv: &'static [u8],
    pub(super) header: &'static [u8],
}

/// One packet of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// What a client begins with.
    Initial(Initial<'a>),
    /// 0-RTT: application data that may come beside the Initial packets, or overtake them.
    Early,
    /// Handshake and Retry: a client does not send these before its hello is answered.
    Later,
}

/// An Initial packet, still protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Initial<'a> {
    pub(super) version: Version,
    pub(super) dcid: &'a [u8],
    /// The packet, and nothing of the datagram behind it.
    pub(super) bytes: &'a [u8],
    /// Where in `bytes` the packet number begins.
    pub(super) number_at: usize,
}

/// Takes the first packet off `datagram` and returns the rest beside it; none if it has no long header of a known
/// version, or is cut.
pub(super) fn split(datagram: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let mut reader = Reader::new(datagram);
    let first = reader.u8()?;
    // Long header, and the bit that tells QUIC from other protocols (RFC 9000 §17.2).
    if first & 0xc0 != 0xc0 {
        return None;
    }
    let version = Version::from_wire(reader.u32()?)?;
    let dcid = reader.u8_prefixed()?;
    let scid = reader.u8_prefixed()?;
    if dcid.len() > MAX_CID || scid.len() > MAX_CID {
        return None;
    }
    let kind = version.kind(first >> 4 & 0b11);
    if kind == Kind::Retry {
        return Some((Packet::Later, &[]));
    }
    if kind == Kind::Initial {
        let _token = reader.varint_prefixed()?;
    }
    let length = usize::try_from(reader.varint()?).ok()?;
    let number_at = datagram.len().checked_sub(reader.rest().len())?;
    let (bytes, rest) = datagram.split_at_checked(number_at.checked_add(length)?)?;
    let packet = match kind {
        Kind::Initial => Packet::Initial(Initial { version, dcid, bytes, number_at }),
        Kind::Early => Packet::Early,
        Kind::Handshake | Kind::Retry => Packet::Later,
    };
    Some((packet, rest))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Initial,
    Early,
    Handshake,
    Retry,
}

impl Version {
    fn from_wire(number: u32) -> Option<Self> {
        match number {
            0x0000_0001 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            _ => None,
        }
    }

    /// The type of a packet from its two bits (RFC 9000 §17.2 table 5, RFC 9369 §3.2).
    fn kind(self, bits: u8) -> Kind {
        match (self, bits & 0b11) {
            (Self::V1, 0b00) | (Self::V2, 0b01) => Kind::Initial,
            (Self::V1, 0b01) | (Self::V2, 0b10) => Kind::Early,
            (Self::V1, 0b10) | (Self::V2, 0b11) => Kind::Handshake,
            _ => Kind::Retry,
        }
    }

    /// RFC 9001 §5.2, RFC 9369 §3.3.1.
    pub(super) fn salt(self) -> &'static [u8] {
        match self {
            Self::V1 => b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a",
            Self::V2 => b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9",
        }
    }

    /// RFC 9001 §5.1, RFC 9369 §3.3.2.
    pub(super) fn labels(self) -> Labels {
        match self {
            Self::V1 => Labels { packet: b"quic key", iv: b"quic iv", header: b"quic hp" },
            Self::V2 => Labels { packet: b"quicv2 key", iv: b"quicv2 iv", header: b"quicv2 hp" },
        }
    }
}

/// RFC 9000 §17.2: longer connection ids do not exist in these versions.
const MAX_CID: usize = 20;
