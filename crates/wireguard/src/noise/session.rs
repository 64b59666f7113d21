//! The transport of data under one pair of keys.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::Rejected;
use super::message::{DATA_HEADER, TAG_LEN};
use super::replay::Window;

/// After so many messages the initiator asks for new keys (whitepaper §6.1).
pub(crate) const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// After so many a session is dead (whitepaper §6.1).
pub(crate) const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// Keys of both directions, and what was sent and seen under them.
///
/// AWS-LC wipes its copy of the keys when it frees them (`OPENSSL_free` cleanses).
pub(crate) struct Session {
    /// What the peer writes into data for us.
    pub(crate) local_index: u32,
    /// What we write into data for the peer.
    pub(crate) remote_index: u32,
    sender: LessSafeKey,
    receiver: LessSafeKey,
    sent: u64,
    window: Box<Window>,
}

impl Session {
    /// A session with the keys of a finished handshake. `None` never happens: the keys have the right length.
    pub(super) fn new(local: u32, remote: u32, send: &[u8; 32], receive: &[u8; 32]) -> Option<Self> {
        let key = |bytes: &[u8; 32]| UnboundKey::new(&CHACHA20_POLY1305, bytes).ok().map(LessSafeKey::new);
        let (sender, receiver) = key(send).zip(key(receive))?;
        Some(Self {
            local_index: local,
            remote_index: remote,
            sender,
            receiver,
            sent: 0,
            window: Box::new(Window::new()),
        })
    }

    /// How many messages were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether it has sent all it may.
    pub(crate) fn exhausted(&self) -> bool {
        self.sent >= REJECT_AFTER_MESSAGES
    }

    /// Seals in place. `message` is a whole data message: 16 bytes of header (its type word stays as it is), the plaintext,
    /// padded by the caller, and 16 bytes for the tag.
    ///
    /// # Errors
    /// [`Rejected::Exhausted`] when the session has sent all it may; nothing was changed then.
    pub(crate) fn seal(&mut self, message: &mut [u8]) -> Result<(), Rejected> {
        if self.sent >= REJECT_AFTER_MESSAGES {
            return Err(Rejected::Exhausted);
        }
        let counter = self.sent;
        let (header, rest) = message.split_at_mut_checked(DATA_HEADER).ok_or(Rejected::Forged)?;
        let (text, tag) =
            rest.len().checked_sub(TAG_LEN).and_then(|at| rest.split_at_mut_checked(at)).ok_or(Rejected::Forged)?;
        let (_, header) = header.split_at_mut(4);
        let (index, count) = header.split_at_mut(4);
        index.copy_from_slice(&self.remote_index.to_le_bytes());
        count.copy_from_slice(&counter.to_le_bytes());
        let sealed = self
            .sender
            .seal_in_place_separate_tag(nonce(counter), Aad::empty(), text)
            .map_err(|_| Rejected::Exhausted)?;
        tag.copy_from_slice(sealed.as_ref());
        self.sent += 1;
        Ok(())
    }

    /// Opens in place: `body` is what follows the header, and the plaintext, padding included, comes back.
    ///
    /// # Errors
    /// [`Rejected`] says why it is not taken. `body` may be garbage then.
    pub(crate) fn open<'a>(&mut self, counter: u64, body: &'a mut [u8]) -> Result<&'a mut [u8], Rejected> {
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(Rejected::Exhausted);
        }
        // Before the costly part: what was seen once is not worth opening again (F-G3).
        if !self.window.accepts(counter) {
            return Err(Rejected::Replay);
        }
        let text = self.receiver.open_in_place(nonce(counter), Aad::empty(), body).map_err(|_| Rejected::Forged)?;
        // Only what is authentic may move the window (F-G2).
        if self.window.mark(counter) { Ok(text) } else { Err(Rejected::Replay) }
    }

    /// As if `sent` messages had gone out, to reach limits that nobody lives to see.
    #[cfg(test)]
    pub(crate) fn pretend_sent(&mut self, sent: u64) {
        self.sent = sent;
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("local", &self.local_index).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// 32 bits of zeros and the counter, little-endian (whitepaper §5.4.6).
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    let (_, low) = bytes.split_at_mut(4);
    low.copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
