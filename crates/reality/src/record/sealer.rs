//! Sealing what we send.

use super::{HEADER, MAX_CONTENT, RecordKey, kind};
use crate::error::{Alert, Error};
use crate::schedule::TrafficSecret;
use crate::verify::ServerProven;
use crate::wire::put_message;

/// Seals what we send. Comes only with an [`Established`](crate::Established) connection, that is from a proven server.
#[derive(Debug)]
pub struct Sealer(Encrypter);

impl Sealer {
    /// The proof is asked for so that no path without one can be written by accident.
    pub(crate) const fn new(encrypter: Encrypter, _proof: &ServerProven) -> Self {
        Self(encrypter)
    }

    /// Appends `plaintext` to `out` as whole records of at most 16384 bytes of content each; nothing for nothing.
    /// Copies once and encrypts in place.
    ///
    /// After 2^24 records under one key a KeyUpdate is put before the next one (RFC 8446 §5.5).
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        let records = plaintext.len().div_ceil(MAX_CONTENT);
        out.reserve(plaintext.len() + records * Encrypter::OVERHEAD);
        for content in plaintext.chunks(MAX_CONTENT) {
            if self.0.key.sequence() >= RECORDS_PER_KEY {
                self.key_update(out);
            }
            must(self.0.seal(kind::APPLICATION_DATA, content, out));
        }
    }

    /// Appends the orderly end of this direction. Seal nothing afterwards.
    pub fn seal_close_notify(&mut self, out: &mut Vec<u8>) {
        self.seal_alert(Alert::CLOSE_NOTIFY, out);
    }

    /// Appends an alert. Seal nothing afterwards.
    pub fn seal_alert(&mut self, alert: Alert, out: &mut Vec<u8>) {
        must(self.0.seal_alert(alert, out));
    }

    /// Appends a KeyUpdate that asks for none in return, and changes the key.
    pub fn key_update(&mut self, out: &mut Vec<u8>) {
        must(self.0.key_update(out));
    }
}

/// Sealing depends on nothing that comes from a network: records are cut to a size the AEAD takes, and a key is
/// changed long before its sequence numbers end.
#[expect(clippy::expect_used, reason = "losing data in silence, or sending it in the clear, would be worse")]
fn must(sealed: Result<(), Error>) {
    sealed.expect("the AEAD seals records of valid size");
}

/// Encrypts one direction, whatever the content.
#[derive(Debug)]
pub(crate) struct Encrypter {
    key: RecordKey,
    secret: TrafficSecret,
}

impl Encrypter {
    /// What a record adds to its content.
    pub(crate) const OVERHEAD: usize = HEADER + 1 + super::key::TAG;

    pub(crate) fn new(secret: TrafficSecret) -> Result<Self, Error> {
        Ok(Self { key: secret.record_key()?, secret })
    }

    /// Appends one record. `content` must not be longer than [`MAX_CONTENT`].
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.seal_padded(kind, content, 0, out)
    }

    /// Appends one record with `padding` zeros inside.
    pub(crate) fn seal_padded(
        &mut self,
        kind: u8,
        content: &[u8],
        padding: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let length = content.len() + padding + Self::OVERHEAD - HEADER;
        let [.., high, low] = length.to_be_bytes();
        let header = [kind::APPLICATION_DATA, 3, 3, high, low];
        out.extend_from_slice(&header);
        let start = out.len();
        out.extend_from_slice(content);
        out.push(kind);
        out.resize(out.len() + padding, 0);
        let tag = self.key.seal(header, &mut out[start..])?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    pub(crate) fn seal_alert(&mut self, alert: Alert, out: &mut Vec<u8>) -> Result<(), Error> {
        self.seal(kind::ALERT, &alert.record_content(), out)
    }

    /// RFC 8446 §4.6.3: the message goes out under the old key, everything after it under the new one.
    pub(crate) fn key_update(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut message = Vec::with_capacity(5);
        put_message(&mut message, 24, |body| body.push(0));
        self.seal(kind::HANDSHAKE, &message, out)?;
        self.update()
    }

    /// Moves to the next epoch.
    pub(crate) fn update(&mut self) -> Result<(), Error> {
        *self = Self::new(self.secret.next()?)?;
        Ok(())
    }
}

/// RFC 8446 §5.5 allows 2^24.5 full records under one AES-GCM key.
const RECORDS_PER_KEY: u64 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Decrypter, Framed, frame};
    use crate::schedule::HandshakeSecrets;
    use crate::suite::Suite;

    fn pair() -> (Encrypter, Decrypter) {
        let secret = || HandshakeSecrets::new(Suite::Aes128GcmSha256, &[1; 32], &[2; 32]).unwrap().client;
        (Encrypter::new(secret()).unwrap(), Decrypter::new(secret()).unwrap())
    }

    /// Opens the first record of `bytes` and drops it.
    fn open(decrypter: &mut Decrypter, bytes: &mut Vec<u8>) -> (u8, Vec<u8>) {
        let Ok(Framed::Whole { header, payload }) = frame(bytes) else { panic!("no record") };
        let total = payload.len() + HEADER;
        let (kind, content) = decrypter.open(header, payload).unwrap();
        let opened = (kind, content.to_vec());
        bytes.drain(..total);
        opened
    }

    #[test]
    fn keys_are_changed_before_they_wear_out() {
        let (mut encrypter, mut decrypter) = pair();
        encrypter.key.skip_to(RECORDS_PER_KEY - 1);
        decrypter.skip_to(RECORDS_PER_KEY - 1);
        let mut sealer = Sealer(encrypter);
        let mut out = Vec::new();
        sealer.seal(&[7; 2 * MAX_CONTENT], &mut out);
        assert_eq!(open(&mut decrypter, &mut out), (kind::APPLICATION_DATA, vec![7; MAX_CONTENT]));
        assert_eq!(open(&mut decrypter, &mut out), (kind::HANDSHAKE, vec![24, 0, 0, 1, 0]));
        decrypter.update().unwrap();
        assert_eq!(open(&mut decrypter, &mut out), (kind::APPLICATION_DATA, vec![7; MAX_CONTENT]));
        assert!(out.is_empty());
    }

    #[test]
    fn sequence_numbers_do_not_wrap() {
        let (mut encrypter, _) = pair();
        encrypter.key.skip_to(u64::MAX);
        assert_eq!(encrypter.seal(kind::APPLICATION_DATA, b"x", &mut Vec::new()), Err(Error::Exhausted));
    }

    #[test]
    fn nothing_is_sealed_into_nothing() {
        let mut out = Vec::new();
        Sealer(pair().0).seal(&[], &mut out);
        assert!(out.is_empty());
    }
}
