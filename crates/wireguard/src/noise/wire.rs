//! How messages look on the network: WireGuard's own type words, a provider's reserved bytes, or AmneziaWG's disguise.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng as _;

use super::Random;
use super::message::{COOKIE_LEN, DATA_OVERHEAD, INITIATION_LEN, RESPONSE_LEN};
use crate::options::{Header, Obfuscation, Piece};

/// The kinds of message (whitepaper §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Initiation,
    Response,
    Cookie,
    Data,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Initiation, Self::Response, Self::Cookie, Self::Data];

    /// Whether a message of this kind may be `len` bytes long.
    fn fits(self, len: usize) -> bool {
        match self {
            Self::Initiation => len == INITIATION_LEN,
            Self::Response => len == RESPONSE_LEN,
            Self::Cookie => len == COOKIE_LEN,
            Self::Data => len >= DATA_OVERHEAD,
        }
    }
}

/// The looks of a tunnel's messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire(Option<Obfuscation>);

impl Wire {
    /// `None` is plain WireGuard.
    pub(crate) fn new(obfuscation: Option<Obfuscation>) -> Self {
        Self(obfuscation)
    }

    /// The type word, as it is when MACs are made.
    pub(crate) fn word(&self, kind: Kind, random: &mut dyn Random) -> [u8; 4] {
        let range = self.range(kind);
        let word = if range.start() == range.end() { *range.start() } else { random.random_range(range) };
        word.to_le_bytes()
    }

    /// Writes the reserved bytes over the zeros of a finished message. MACs are over the zeros: whoever wants these bytes
    /// clears them before anything else. AmneziaWG has none.
    pub(crate) fn reserve(&self, message: &mut [u8], reserved: [u8; 3]) {
        if let (None, Some(place)) = (&self.0, message.get_mut(1..4)) {
            place.copy_from_slice(&reserved);
        }
    }

    /// How many random bytes stand in front of a message.
    pub(crate) fn prefix(&self, kind: Kind) -> usize {
        self.0.as_ref().map_or(0, |disguise| {
            usize::from(match kind {
                Kind::Initiation => disguise.prefix.initiation,
                Kind::Response => disguise.prefix.response,
                Kind::Cookie => disguise.prefix.cookie,
                Kind::Data => disguise.prefix.data,
            })
        })
    }

    /// What a datagram is, without its prefix and with its reserved bytes cleared.
    pub(super) fn undress<'a>(&self, datagram: &'a mut [u8]) -> Option<(Kind, &'a mut [u8])> {
        let kind = Kind::ALL.into_iter().find(|&kind| {
            let message = datagram.get(self.prefix(kind)..).unwrap_or_default();
            kind.fits(message.len()) && self.is(kind, message)
        })?;
        let message = datagram.get_mut(self.prefix(kind)..)?;
        self.reserve(message, [0; 3]);
        Some((kind, message))
    }

    /// What goes out before an initiation: imitated packets, then noise. `sent` counts initiations.
    pub(crate) fn before_initiation(
        &self,
        sent: u32,
        unix: Duration,
        random: &mut dyn Random,
        mut send: impl FnMut(&[u8]),
    ) {
        let Some(disguise) = &self.0 else { return };
        let mut packet = Vec::new();
        for pieces in &disguise.imitation {
            packet.clear();
            pieces.iter().for_each(|piece| write(piece, &mut packet, sent, unix, random));
            if !packet.is_empty() {
                send(&packet);
            }
        }
        let Some(length) = &disguise.junk.length else { return };
        for _ in 0..disguise.junk.count {
            packet.clear();
            packet.resize(usize::from(random.random_range(length.clone())), 0);
            random.fill_bytes(&mut packet);
            if !packet.is_empty() {
                send(&packet);
            }
        }
    }

    fn is(&self, kind: Kind, message: &[u8]) -> bool {
        match (&self.0, message) {
            // Bytes 1 to 3 may be anything.
            (None, [first, ..]) => self.range(kind).contains(&u32::from(*first)),
            (Some(_), [a, b, c, d, ..]) => self.range(kind).contains(&u32::from_le_bytes([*a, *b, *c, *d])),
            _ => false,
        }
    }

    fn range(&self, kind: Kind) -> RangeInclusive<u32> {
        let plain = Header::default();
        let header = self.0.as_ref().map_or(&plain, |disguise| &disguise.header);
        match kind {
            Kind::Initiation => header.initiation.clone(),
            Kind::Response => header.response.clone(),
            Kind::Cookie => header.cookie.clone(),
            Kind::Data => header.data.clone(),
        }
    }
}

fn write(piece: &Piece, packet: &mut Vec<u8>, sent: u32, unix: Duration, random: &mut dyn Random) {
    let mut any_of = |alphabet: &[u8], count: u16, packet: &mut Vec<u8>| {
        for _ in 0..count {
            packet.extend(alphabet.get(random.random_range(0..alphabet.len().max(1))));
        }
    };
    match piece {
        Piece::Bytes(bytes) => packet.extend_from_slice(bytes),
        Piece::Counter => packet.extend_from_slice(&sent.to_be_bytes()),
        Piece::Time => packet.extend_from_slice(&(unix.as_secs() as u32).to_be_bytes()),
        Piece::Random(count) => {
            let start = packet.len();
            packet.resize(start + usize::from(*count), 0);
            random.fill_bytes(packet.get_mut(start..).unwrap_or_default());
        }
        Piece::RandomLetters(count) => {
            any_of(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *count, packet);
        }
        Piece::RandomDigits(count) => any_of(b"0123456789", *count, packet),
    }
}
