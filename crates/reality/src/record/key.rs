//! One direction's AEAD key: the only place that encrypts or decrypts a record.
//!
//! The seam for another library. Measured when this was written (Zen 5, release build, 16 KiB): AES-128-GCM sealed in
//! 0.66 µs by aws-lc-rs 1.19 (VAES, AVX-512) against 1.38 µs by ring 0.17, AES-256-GCM 0.77 against 1.54, opening
//! alike, ChaCha20-Poly1305 equal. A machine without those instructions had ring ahead by the same factor, so look
//! again (`cargo bench -p adit-reality`) where that matters; aws-lc-rs also wipes its keys when they go, ring does not.

use std::fmt;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

use crate::error::Error;
use crate::suite::Suite;

/// A key, its IV, and how many records it has seen.
pub(crate) struct RecordKey {
    aead: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl RecordKey {
    /// `key` must be as long as the suite's AEAD wants it.
    pub(crate) fn new(suite: Suite, key: &[u8], iv: [u8; 12]) -> Result<Self, Error> {
        let key = UnboundKey::new(suite.aead(), key).map_err(|_| Error::Library("setting up a key"))?;
        Ok(Self { aead: LessSafeKey::new(key), iv, sequence: 0 })
    }

    /// Encrypts `inner` in place and returns the tag that follows it.
    pub(crate) fn seal(&mut self, header: [u8; 5], inner: &mut [u8]) -> Result<[u8; TAG], Error> {
        let nonce = self.next_nonce()?;
        let failed = Error::Library("sealing a record");
        let tag = self.aead.seal_in_place_separate_tag(nonce, Aad::from(header), inner).map_err(|_| failed.clone())?;
        tag.as_ref().try_into().map_err(|_| failed)
    }

    /// Decrypts `sealed` (ciphertext and tag) in place and returns what it held.
    pub(crate) fn open<'a>(&mut self, header: [u8; 5], sealed: &'a mut [u8]) -> Result<&'a mut [u8], Error> {
        let nonce = self.next_nonce()?;
        self.aead.open_in_place(nonce, Aad::from(header), sealed).map_err(|_| Error::BadRecord)
    }

    /// Records protected so far.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    /// RFC 8446 §5.3: the IV with the sequence number folded into its end.
    fn next_nonce(&mut self) -> Result<Nonce, Error> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).ok_or(Error::Exhausted)?;
        let mut nonce = self.iv;
        for (byte, s) in nonce.iter_mut().skip(4).zip(sequence.to_be_bytes()) {
            *byte ^= s;
        }
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

impl Drop for RecordKey {
    fn drop(&mut self) {
        self.iv.zeroize(); // the library wipes its key itself
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey([redacted], sequence {})", self.sequence)
    }
}

/// Bytes of a tag, for all suites.
pub(crate) const TAG: usize = 16;
