//! Three keys each, one round trip: the pattern IKpsk2 (whitepaper §5.4.2, §5.4.3).

use zeroize::Zeroize;

use super::cookie::{Cookie, LabelKeys, split};
use super::gate::Gate;
use super::message::{CookieReply, INITIATION_LEN, Initiation, RESPONSE_LEN, Response};
use super::pattern::{Asked, Heard, KeyPair};
use super::tai64n::Tai64n;
use super::wire::{Kind, Wire};
use super::{Random, Rejected, Session};
use crate::{Moment, PresharedKey, PrivateKey, PublicKey};

const PROLOGUE: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// Who we are.
pub(crate) struct Identity {
    pair: KeyPair,
    keys: LabelKeys,
}

impl Identity {
    pub(crate) fn new(private: PrivateKey) -> Self {
        let pair = KeyPair::new(private);
        Self { keys: LabelKeys::of(&pair.public()), pair }
    }

    /// What stands in front of our handshakes.
    pub(crate) fn gate(&self) -> Gate {
        Gate::new(self.keys.clone())
    }
}

/// Who a peer is.
pub(crate) struct Remote {
    public: PublicKey,
    shared: PresharedKey,
    keys: LabelKeys,
}

impl Remote {
    pub(crate) fn new(public: PublicKey, shared: Option<PresharedKey>) -> Self {
        // No secret is the same as one of zeros (whitepaper §5.4).
        let shared = shared.unwrap_or_else(|| PresharedKey::from_bytes([0; 32]));
        Self { public, shared, keys: LabelKeys::of(&public) }
    }

    /// Takes the cookie out of the peer's reply to `message`, a handshake message of ours.
    ///
    /// # Errors
    /// [`Rejected`] if it is not one.
    pub(crate) fn cookie(&self, message: &[u8], reply: &CookieReply<'_>, now: Moment) -> Result<Cookie, Rejected> {
        let (_, [mac1, _]) = split(message).ok_or(Rejected::Unknown)?;
        Cookie::open(&self.keys, mac1, reply, now)
    }
}

/// A handshake that we began.
pub(crate) struct Initiator {
    index: u32,
    noise: Box<Asked>,
    mac1: [u8; 16],
}

impl Initiator {
    /// Begins one under our `index`, and gives the message to send, without reserved bytes or prefix.
    ///
    /// `None` if the peer's public key is one of the few points that make every secret zero.
    pub(crate) fn start(
        identity: &Identity,
        remote: &Remote,
        wire: &Wire,
        index: u32,
        stamp: Tai64n,
        cookie: Option<&[u8; 16]>,
        random: &mut dyn Random,
    ) -> Option<(Self, [u8; INITIATION_LEN])> {
        let mut message = [0; INITIATION_LEN];
        message[..4].copy_from_slice(&wire.word(Kind::Initiation, random));
        message[4..8].copy_from_slice(&index.to_le_bytes());
        let noise = Asked::write(
            PROLOGUE,
            &identity.pair,
            &remote.public,
            &remote.shared,
            ephemeral(random),
            &stamp.0,
            &mut message[8..116],
        )
        .ok()?;
        let mac1 = remote.keys.sign(&mut message, cookie);
        Some((Self { index, noise: Box::new(noise), mac1 }, message))
    }

    /// The index under which the answer comes.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Ends the handshake with the peer's answer.
    ///
    /// # Errors
    /// [`Rejected::Forged`] if it is not an answer of the peer; the handshake goes on as if it had not come (F-G5).
    pub(crate) fn finish(&self, response: &Response<'_>) -> Result<Session, Rejected> {
        if response.receiver != self.index {
            return Err(Rejected::Unknown);
        }
        let keys = self.noise.read(response.noise(), &mut [])?;
        Session::new(self.index, response.sender, &keys.initiator, &keys.responder).ok_or(Rejected::Forged)
    }

    /// Takes the cookie out of the peer's reply to our message.
    ///
    /// # Errors
    /// [`Rejected`] if it is not one; the handshake goes on as if it had not come.
    pub(crate) fn cookie(&self, remote: &Remote, reply: &CookieReply<'_>, now: Moment) -> Result<Cookie, Rejected> {
        if reply.receiver != self.index {
            return Err(Rejected::Unknown);
        }
        Cookie::open(&remote.keys, &self.mac1, reply, now)
    }
}

/// A handshake that somebody else began.
pub(crate) struct Responder {
    noise: Heard,
    remote_index: u32,
}

impl Responder {
    /// Reads an initiation: who it is from, and when it was made. Neither is to be acted upon before both were checked.
    ///
    /// # Errors
    /// [`Rejected::Forged`] if nobody who knows our key and has one of their own made it.
    pub(crate) fn read(
        identity: &Identity,
        initiation: &Initiation<'_>,
    ) -> Result<(Self, PublicKey, Tai64n), Rejected> {
        let mut stamp = [0; 12];
        let noise = Heard::read(PROLOGUE, &identity.pair, initiation.noise(), &mut stamp)?;
        let public = noise.remote();
        Ok((Self { noise, remote_index: initiation.sender }, public, Tai64n(stamp)))
    }

    /// Answers under our `index`: the session, and the message to send, without reserved bytes or prefix.
    pub(crate) fn answer(
        self,
        remote: &Remote,
        wire: &Wire,
        index: u32,
        cookie: Option<&[u8; 16]>,
        random: &mut dyn Random,
    ) -> Option<(Session, [u8; RESPONSE_LEN])> {
        let mut message = [0; RESPONSE_LEN];
        message[..4].copy_from_slice(&wire.word(Kind::Response, random));
        message[4..8].copy_from_slice(&index.to_le_bytes());
        message[8..12].copy_from_slice(&self.remote_index.to_le_bytes());
        let keys = self.noise.write(&remote.shared, &ephemeral(random), &[], &mut message[12..60]).ok()?;
        remote.keys.sign(&mut message, cookie);
        Some((Session::new(index, self.remote_index, &keys.responder, &keys.initiator)?, message))
    }
}

fn ephemeral(random: &mut dyn Random) -> KeyPair {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    let private = PrivateKey::from_bytes(bytes);
    bytes.zeroize();
    KeyPair::new(private)
}
