//! The record layer (RFC 8446 §5).
//!
//! ```text
//!  0      1         3         5                                        5 + length
//!  +------+---------+---------+----------------------------------------+
//!  | type | 03 03   | length  | payload, or encrypted:                 |
//!  |      |         |         | content … | type (1) | zeros … | tag(16) |
//!  +------+---------+---------+----------------------------------------+
//! ```

mod key;
mod opener;
mod sealer;

pub(crate) use key::RecordKey;
pub use opener::{Content, Opened, Opener};
pub(crate) use sealer::Encrypter;
pub use sealer::Sealer;

use crate::error::{Error, Misbehaviour};
use crate::schedule::TrafficSecret;

/// The longest record there is: header, content, and what encryption may add (RFC 8446 §5.2). A receive buffer of this
/// size always makes progress.
pub const MAX_RECORD: usize = HEADER + MAX_CONTENT + 256;

/// Bytes of a record's header.
pub(crate) const HEADER: usize = 5;
/// The most content one record carries.
pub(crate) const MAX_CONTENT: usize = 16_384;

/// Content types (RFC 8446 §5.1).
pub(crate) mod kind {
    pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
}

/// The record at the front of a buffer.
pub(crate) enum Framed<'a> {
    /// Not all there.
    Incomplete { need_total: usize },
    /// All there.
    Whole { header: [u8; HEADER], payload: &'a mut [u8] },
}

impl Framed<'_> {
    /// Bytes the whole record occupies.
    pub(crate) const fn total(&self) -> usize {
        match self {
            Self::Incomplete { need_total } => *need_total,
            Self::Whole { payload, .. } => HEADER + payload.len(),
        }
    }
}

/// Finds the record at the front of `buf`. The version is ignored, as RFC 8446 §5.1 demands, but for its first byte:
/// no TLS record has another, and noise is better called by its name.
///
/// # Errors
/// [`Error::NotTls`] when the header is none, as soon as its first bytes show it; a length beyond what encrypted
/// records may have.
pub(crate) fn frame(buf: &mut [u8]) -> Result<Framed<'_>, Error> {
    if buf.first().is_some_and(|kind| !(20..=23).contains(kind)) || buf.get(1).is_some_and(|major| *major != 3) {
        return Err(Error::NotTls);
    }
    let Some((header, rest)) = buf.split_first_chunk_mut::<HEADER>() else {
        return Ok(Framed::Incomplete { need_total: HEADER });
    };
    let header = *header;
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > MAX_RECORD - HEADER {
        return Err(Misbehaviour::RecordTooLong.into());
    }
    match rest.get_mut(..length) {
        Some(payload) => Ok(Framed::Whole { header, payload }),
        None => Ok(Framed::Incomplete { need_total: HEADER + length }),
    }
}

/// Decrypts one direction.
#[derive(Debug)]
pub(crate) struct Decrypter {
    key: RecordKey,
    secret: TrafficSecret,
}

impl Decrypter {
    pub(crate) fn new(secret: TrafficSecret) -> Result<Self, Error> {
        Ok(Self { key: secret.record_key()?, secret })
    }

    /// Decrypts a record of type 23 in place; returns the inner content type and the content without its padding.
    pub(crate) fn open<'a>(
        &mut self,
        header: [u8; HEADER],
        payload: &'a mut [u8],
    ) -> Result<(u8, &'a mut [u8]), Error> {
        let inner = self.key.open(header, payload)?;
        if inner.len() > MAX_CONTENT + 1 {
            return Err(Misbehaviour::RecordTooLong.into()); // RFC 8446 §5.4: padding counts
        }
        // The last byte that is not zero is the type; a record without one must be refused (§5.4).
        let Some(at) = inner.iter().rposition(|byte| *byte != 0) else {
            return Err(Misbehaviour::Unexpected("record without a content type").into());
        };
        let (content, rest) = inner.split_at_mut(at);
        match rest.first() {
            Some(kind) => Ok((*kind, content)),
            None => Err(Misbehaviour::Unexpected("record without a content type").into()),
        }
    }

    #[cfg(test)]
    const fn skip_to(&mut self, sequence: u64) {
        self.key.skip_to(sequence);
    }

    /// Moves to the next epoch, after the peer's KeyUpdate.
    pub(crate) fn update(&mut self) -> Result<(), Error> {
        *self = Self::new(self.secret.next()?)?;
        Ok(())
    }
}
