//! Opening what the peer sends.

use super::{Decrypter, Framed, frame, kind};
use crate::error::{Alert, Error, Misbehaviour};
use crate::schedule::TrafficSecret;

/// Opens what the peer sends, strictly one record at a time: bytes behind that record are never looked at, which is
/// what Vision's switch to raw bytes needs. Holds no buffer.
#[derive(Debug)]
pub struct Opener {
    decrypter: Decrypter,
    messages: Messages,
    /// Records in a row that brought the application nothing.
    idle: u16,
    /// KeyUpdates since the last application data.
    key_updates: u16,
}

/// What [`Opener::open`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// The record is not complete; call again when the buffer holds more. Nothing was changed.
    Incomplete {
        /// Bytes needed from the front of the buffer, at most [`MAX_RECORD`](crate::MAX_RECORD): 5 until the header is
        /// there.
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
    /// Application data, never empty, at most 16384 bytes.
    Data(&'a [u8]),
    /// Nothing for the application: an empty record, a session ticket, a change_cipher_spec. Not an end of stream.
    Nothing,
    /// The peer changed its key, which is dealt with. With `reply`, call
    /// [`Sealer::key_update`](crate::Sealer::key_update) before the next [`Sealer::seal`](crate::Sealer::seal).
    KeyUpdate {
        /// The peer wants us to change ours as well.
        reply: bool,
    },
    /// close_notify: the peer sends nothing more.
    Closed,
}

impl Opener {
    pub(crate) fn new(secret: TrafficSecret) -> Result<Self, Error> {
        Ok(Self { decrypter: Decrypter::new(secret)?, messages: Messages::default(), idle: 0, key_updates: 0 })
    }

    /// Opens the record at the front of `buf`, in place.
    ///
    /// # Errors
    /// The connection is broken (F-F4: floods and oversized records included); send [`Error::alert`] with
    /// [`Sealer::seal_alert`](crate::Sealer::seal_alert) and close. Do not call again.
    pub fn open<'a>(&mut self, buf: &'a mut [u8]) -> Result<Opened<'a>, Error> {
        let framed = frame(buf).map_err(|why| match why {
            Error::NotTls => Misbehaviour::Unexpected("bytes that are no record").into(),
            why => why,
        })?;
        let consumed = framed.total();
        let Framed::Whole { header, payload } = framed else {
            return Ok(Opened::Incomplete { need_total: consumed });
        };
        let content = match header[0] {
            kind::APPLICATION_DATA => self.content(header, payload)?,
            // RFC 8446 §5 forbids it here, but the sites that REALITY servers imitate are probed with it.
            kind::CHANGE_CIPHER_SPEC if *payload == [1] => Content::Nothing,
            _ => return Err(Misbehaviour::Unexpected("record in the clear").into()),
        };
        self.count(&content)?;
        Ok(Opened::Record { consumed, content })
    }

    fn content<'a>(&mut self, header: [u8; 5], payload: &'a mut [u8]) -> Result<Content<'a>, Error> {
        let (kind, content) = self.decrypter.open(header, payload)?;
        if kind != kind::HANDSHAKE && !self.messages.is_between() {
            return Err(Misbehaviour::Unexpected("record between parts of a handshake message").into()); // §5.1
        }
        match kind {
            kind::APPLICATION_DATA if content.is_empty() => Ok(Content::Nothing),
            kind::APPLICATION_DATA => Ok(Content::Data(content)),
            kind::HANDSHAKE => match self.messages.take(content)? {
                Some(update) => self.decrypter.update().map(|()| update),
                None => Ok(Content::Nothing),
            },
            kind::ALERT => alert(content),
            _ => Err(Misbehaviour::Unexpected("content type").into()),
        }
    }

    /// Keeps floods of useless records short.
    fn count(&mut self, content: &Content<'_>) -> Result<(), Error> {
        match content {
            Content::Data(_) | Content::Closed => {
                self.idle = 0;
                self.key_updates = 0;
            }
            Content::KeyUpdate { .. } if self.key_updates >= MAX_KEY_UPDATES => {
                return Err(Misbehaviour::Flood("KeyUpdates").into());
            }
            Content::KeyUpdate { .. } => self.key_updates += 1,
            Content::Nothing if self.idle >= MAX_IDLE => {
                return Err(Misbehaviour::Flood("records without content").into());
            }
            Content::Nothing => self.idle += 1,
        }
        Ok(())
    }
}

fn alert<'a>(content: &[u8]) -> Result<Content<'a>, Error> {
    let &[_level, description] = content else {
        return Err(Misbehaviour::Malformed("alert").into());
    };
    match Alert(description) {
        Alert::CLOSE_NOTIFY => Ok(Content::Closed),
        Alert::USER_CANCELED => Ok(Content::Nothing), // §6.1: a close_notify follows
        alert => Err(Error::PeerAlert(alert)),
    }
}

/// The handshake messages that may come after the handshake, which may span records. Tickets are skipped without
/// being kept, so this is all the memory they take.
#[derive(Debug, Default)]
struct Messages {
    /// A message's header.
    head: [u8; 4],
    /// How much of the header is there; 4 means that the one byte of a KeyUpdate is missing.
    filled: usize,
    /// Bytes of a ticket still to come.
    skip: usize,
}

impl Messages {
    const fn is_between(&self) -> bool {
        self.filled == 0 && self.skip == 0
    }

    /// Takes in one record's content.
    fn take<'a>(&mut self, mut content: &[u8]) -> Result<Option<Content<'a>>, Error> {
        if content.is_empty() {
            return Err(Misbehaviour::Unexpected("empty handshake record").into()); // §5.1
        }
        while let Some((byte, rest)) = content.split_first() {
            if self.skip > 0 {
                let n = self.skip.min(content.len());
                self.skip -= n;
                content = content.get(n..).unwrap_or_default();
                continue;
            }
            content = rest;
            let Some(free) = self.head.get_mut(self.filled) else {
                return self.key_update(*byte, content).map(Some);
            };
            *free = *byte;
            self.filled += 1;
            if self.filled == self.head.len() {
                self.header()?;
            }
        }
        Ok(None)
    }

    /// A header is complete.
    fn header(&mut self) -> Result<(), Error> {
        let [kind, a, b, c] = self.head;
        match (kind, usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)) {
            (KEY_UPDATE, 1) => {}
            (NEW_SESSION_TICKET, length @ 1..=MAX_TICKET) => {
                self.filled = 0;
                self.skip = length;
            }
            (KEY_UPDATE | NEW_SESSION_TICKET, _) => return Err(Misbehaviour::Malformed("message length").into()),
            _ => return Err(Misbehaviour::Unexpected("handshake message").into()),
        }
        Ok(())
    }

    /// The one byte of a KeyUpdate. RFC 8446 §5.1: messages before a change of keys end with their record.
    fn key_update<'a>(&mut self, request: u8, behind: &[u8]) -> Result<Content<'a>, Error> {
        self.filled = 0;
        match request {
            0 | 1 if behind.is_empty() => Ok(Content::KeyUpdate { reply: request == 1 }),
            0 | 1 => Err(Misbehaviour::Unexpected("data behind a KeyUpdate").into()),
            _ => Err(Misbehaviour::Illegal("KeyUpdate").into()),
        }
    }
}

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// What the fields of a ticket can hold (RFC 8446 §4.6.1).
const MAX_TICKET: usize = 4 + 4 + 256 + 2 * 0x1_0001;

/// Servers imitate dozens of tickets with empty records (spec: vless-reality §2.7); common stacks stop at 16 to 32 in
/// a row, and this leaves room for targets that send more.
const MAX_IDLE: u16 = 128;
/// As BoringSSL.
const MAX_KEY_UPDATES: u16 = 32;
