//! MAC1, MAC2 and cookies (whitepaper §5.4.4, §5.4.7).

use std::time::Duration;

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::message::{COOKIE_LEN, CookieReply};
use super::{Random, Rejected};
use crate::{Moment, PublicKey};

/// How long a cookie is good for, on both sides (whitepaper §5.4.7).
pub(super) const COOKIE_LIFETIME: Duration = Duration::from_secs(120);

/// Keyed BLAKE2s with 16 bytes of output, over the pieces one behind the other.
pub(super) fn mac(key: &[u8], pieces: &[&[u8]]) -> [u8; 16] {
    // A key of at most 32 bytes is always taken; all of ours are 16 or 32.
    let Ok(mut mac) = <Blake2sMac<U16> as KeyInit>::new_from_slice(key) else { return [0; 16] };
    pieces.iter().for_each(|piece| Mac::update(&mut mac, piece));
    mac.finalize().into_bytes().into()
}

/// The keys that follow from a public key and that anybody who knows it can make.
#[derive(Clone)]
pub(super) struct LabelKeys {
    /// For MAC1 of messages to the owner of the public key.
    pub(super) mac1: [u8; 32],
    /// For cookies from the owner of the public key.
    pub(super) cookie: [u8; 32],
}

impl LabelKeys {
    pub(super) fn of(key: &PublicKey) -> Self {
        let hash = |label: &[u8]| Blake2s256::new().chain_update(label).chain_update(key.as_bytes()).finalize().into();
        Self { mac1: hash(b"mac1----"), cookie: hash(b"cookie--") }
    }

    /// Whether the MAC1 of a handshake message is that of somebody who knows whom they are talking to.
    pub(super) fn mac1_fits(&self, message: &[u8]) -> bool {
        let Some((rest, [mac1, _mac2])) = split(message) else { return false };
        bool::from(mac(&self.mac1, &[rest]).ct_eq(mac1))
    }

    /// Writes MAC1, and MAC2 if there is a cookie; returns MAC1.
    pub(super) fn sign(&self, message: &mut [u8], cookie: Option<&[u8; 16]>) -> [u8; 16] {
        let Some(at) = message.len().checked_sub(32) else { return [0; 16] };
        let (rest, macs) = message.split_at_mut(at);
        let (place1, place2) = macs.split_at_mut(16);
        let mac1 = mac(&self.mac1, &[rest]);
        place1.copy_from_slice(&mac1);
        if let Some(cookie) = cookie {
            place2.copy_from_slice(&mac(cookie, &[rest, &mac1]));
        }
        mac1
    }
}

/// A handshake message: what MAC1 is over, and the two MACs.
pub(super) fn split(message: &[u8]) -> Option<(&[u8], [&[u8]; 2])> {
    let (rest, macs) = message.split_at_checked(message.len().checked_sub(32)?)?;
    let (mac1, mac2) = macs.split_at(16);
    Some((rest, [mac1, mac2]))
}

/// A cookie that a busy peer gave us.
#[derive(Clone)]
pub(crate) struct Cookie {
    value: [u8; 16],
    received: Moment,
}

impl Cookie {
    /// Opens a reply to the message whose MAC1 is `mac1`.
    ///
    /// # Errors
    /// [`Rejected::Forged`] if the peer did not make it for that message (F-G5).
    pub(super) fn open(keys: &LabelKeys, mac1: &[u8], reply: &CookieReply<'_>, now: Moment) -> Result<Self, Rejected> {
        let cipher = XChaCha20Poly1305::new(&keys.cookie.into());
        let (sealed, tag) = reply.sealed.split_at(16);
        let mut value: [u8; 16] = sealed.try_into().map_err(|_| Rejected::Forged)?;
        cipher
            .decrypt_in_place_detached(XNonce::from_slice(reply.nonce), mac1, &mut value, tag.into())
            .map_err(|_| Rejected::Forged)?;
        Ok(Self { value, received: now })
    }

    /// The cookie, while it is good.
    pub(crate) fn value(&self, now: Moment) -> Option<&[u8; 16]> {
        (now.since(self.received) < COOKIE_LIFETIME).then_some(&self.value)
    }
}

impl Drop for Cookie {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// A reply with `cookie` for whoever sent the message with `mac1` under the index `receiver`.
pub(super) fn reply(
    keys: &LabelKeys,
    mac1: &[u8],
    cookie: [u8; 16],
    receiver: u32,
    word: [u8; 4],
    random: &mut dyn Random,
) -> [u8; COOKIE_LEN] {
    let mut message = [0; COOKIE_LEN];
    let mut nonce = [0; 24];
    random.fill_bytes(&mut nonce);
    let mut sealed = cookie;
    let cipher = XChaCha20Poly1305::new(&keys.cookie.into());
    // Fails only for texts of gigabytes.
    let tag = cipher.encrypt_in_place_detached(XNonce::from_slice(&nonce), mac1, &mut sealed).unwrap_or_default();
    let parts: [&[u8]; 5] = [&word, &receiver.to_le_bytes(), &nonce, &sealed, &tag];
    message.iter_mut().zip(parts.concat()).for_each(|(place, byte)| *place = byte);
    message
}
