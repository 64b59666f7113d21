//! The record layer after the handshake, one direction each.

use crate::error::{Alert, Error};

/// The longest record there is: header, content, and what encryption may add (RFC 8446 §5.2). A receive buffer of this
/// size always makes progress.
pub const MAX_RECORD: usize = 5 + 16_384 + 256;

/// Opens what the peer sends, strictly one record at a time: bytes behind that record are never looked at.
#[derive(Debug)]
pub struct Opener(());

impl Opener {
    /// Opens the record at the front of `buf`, in place.
    ///
    /// # Errors
    /// The connection is broken; send [`Error::alert`] with [`Sealer::seal_alert`] and close. Do not call again.
    pub fn open<'a>(&mut self, buf: &'a mut [u8]) -> Result<Opened<'a>, Error> {
        let _ = buf;
        todo!()
    }
}

/// What [`Opener::open`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// The record is not complete; call again when the buffer holds more.
    Incomplete {
        /// Bytes needed from the front of the buffer, at most [`MAX_RECORD`]: 5 until the header is there.
        need_total: usize,
    },
    /// A record was opened.
    Record {
        /// Bytes of the buffer that the record occupied. What follows is untouched and the caller's.
        consumed: usize,
        /// What was in it.
        content: Content<'a>,
    },
}

/// What a record held.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Application data, never empty.
    Data(&'a [u8]),
    /// Nothing for the application: an empty record, a session ticket, a change_cipher_spec. Not an end of stream.
    Nothing,
    /// The peer changed its key; done already. With `reply`, call [`Sealer::key_update`] before the next
    /// [`Sealer::seal`].
    KeyUpdate {
        /// The peer wants us to change ours as well.
        reply: bool,
    },
    /// close_notify: the peer sends nothing more.
    Closed,
}

/// Seals what we send. Obtainable only from [`Established`](crate::Established), that is from a proven server.
#[derive(Debug)]
pub struct Sealer(());

impl Sealer {
    /// Appends `plaintext` to `out` as whole records of at most 16384 bytes of content each; nothing for nothing.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        let _ = (plaintext, out);
        todo!()
    }

    /// Appends the orderly end of this direction. Seal nothing afterwards.
    pub fn seal_close_notify(&mut self, out: &mut Vec<u8>) {
        self.seal_alert(Alert::CLOSE_NOTIFY, out);
    }

    /// Appends an alert. Seal nothing afterwards.
    pub fn seal_alert(&mut self, alert: Alert, out: &mut Vec<u8>) {
        let _ = (alert, out);
        todo!()
    }

    /// Appends a KeyUpdate that asks for none in return, and changes the key.
    pub fn key_update(&mut self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}
