//! Putting handshake messages together: several may share a record, one may span many (RFC 8446 §5.1, F-F5).

use crate::error::{Error, Misbehaviour};

/// Bytes of messages that are not complete yet.
#[derive(Default)]
pub(super) struct Messages(Vec<u8>);

impl Messages {
    /// Adds the content of one record.
    pub(super) fn add(&mut self, content: &[u8]) -> Result<(), Error> {
        if content.is_empty() {
            return Err(Misbehaviour::Unexpected("empty handshake record").into()); // §5.1
        }
        self.0.extend_from_slice(content);
        Ok(())
    }

    /// Takes the first message out, header included, when all of it is there.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(&[_, a, b, c]) = self.0.first_chunk() else { return Ok(None) };
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if length > MAX_MESSAGE {
            return Err(Misbehaviour::MessageTooLong.into());
        }
        if self.0.len() < 4 + length {
            return Ok(None);
        }
        let rest = self.0.split_off(4 + length);
        Ok(Some(std::mem::replace(&mut self.0, rest)))
    }

    /// Keys change here, and messages must not reach over that.
    pub(super) fn must_be_empty(&self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Misbehaviour::Unexpected("data behind a change of keys").into())
    }
}

/// Certificate chains of real sites stay far below; so does what a stranger can make us hold.
const MAX_MESSAGE: usize = 128 * 1024;
