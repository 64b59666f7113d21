//! `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s` (Noise Protocol Framework, revision 34; whitepaper §5.4).
//!
//! ```text
//! <- s                    known before
//! -> e, es, s, ss         initiation: 32 + 48 + payload + 16 bytes
//! <- e, ee, se, psk       response: 32 + payload + 16 bytes
//! ```
//!
//! Everything that a key of the session could be derived from lives in types that wipe themselves on drop: [`Transcript`]
//! and [`Keys`] by `ZeroizeOnDrop`, private keys as `x25519_dalek::StaticSecret`, results of X25519 as
//! `x25519_dalek::SharedSecret`, AEAD keys inside AWS-LC, which cleanses memory when it frees it.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use blake2::{Blake2s256, Digest};
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Rejected;
use super::message::TAG_LEN;
use crate::{PresharedKey, PrivateKey, PublicKey};

const NAME: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const KEY_LEN: usize = 32;

/// A private key, and the public one, which takes a multiplication on the curve to know.
#[derive(Clone)]
pub(super) struct KeyPair {
    private: PrivateKey,
    public: PublicKey,
}

impl KeyPair {
    pub(super) fn new(private: PrivateKey) -> Self {
        Self { public: private.public_key(), private }
    }

    pub(super) fn public(&self) -> PublicKey {
        self.public
    }
}

/// What a finished handshake is for.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Keys {
    /// Of what the initiator sends.
    pub(super) initiator: [u8; KEY_LEN],
    /// Of what the responder sends.
    pub(super) responder: [u8; KEY_LEN],
}

/// The initiator, between its message and the answer.
pub(super) struct Asked {
    transcript: Transcript,
    own: KeyPair,
    ephemeral: KeyPair,
    shared: PresharedKey,
}

impl Asked {
    /// Writes the first message over `out`, which must have exactly the length of it.
    ///
    /// # Errors
    /// [`Rejected::Forged`] if the length does not fit, or `responder` is a point that makes every secret zero.
    pub(super) fn write(
        prologue: &[u8],
        own: &KeyPair,
        responder: &PublicKey,
        shared: &PresharedKey,
        ephemeral: KeyPair,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<Self, Rejected> {
        let mut transcript = Transcript::new(prologue, responder);
        let (place, rest) = out.split_first_chunk_mut::<KEY_LEN>().ok_or(Rejected::Forged)?;
        *place = *ephemeral.public.as_bytes();
        transcript.mix_ephemeral(place);
        transcript.mix_secret(&ephemeral, responder)?;
        let (place, rest) = rest.split_at_mut_checked(KEY_LEN + TAG_LEN).ok_or(Rejected::Forged)?;
        transcript.seal(own.public.as_bytes(), place)?;
        transcript.mix_secret(own, responder)?;
        transcript.seal(payload, rest)?;
        Ok(Self { transcript, own: own.clone(), ephemeral, shared: shared.clone() })
    }

    /// Reads the answer into `payload`, which must have exactly the length of it. Whatever the answer is, this state stays
    /// as it was, so that a forgery does not spend it (F-G5).
    ///
    /// # Errors
    /// [`Rejected::Forged`] if the responder did not write it in answer to our message.
    pub(super) fn read(&self, message: &[u8], payload: &mut [u8]) -> Result<Keys, Rejected> {
        let mut transcript = self.transcript.clone();
        let (ephemeral, rest) = message.split_first_chunk::<KEY_LEN>().ok_or(Rejected::Forged)?;
        let remote = PublicKey::from_bytes(*ephemeral);
        transcript.mix_ephemeral(ephemeral);
        transcript.mix_secret(&self.ephemeral, &remote)?;
        transcript.mix_secret(&self.own, &remote)?;
        transcript.mix_shared(&self.shared);
        transcript.open(rest, payload)?;
        Ok(transcript.split())
    }
}

/// The responder, between the first message and its answer.
pub(super) struct Heard {
    transcript: Transcript,
    remote: PublicKey,
    remote_ephemeral: PublicKey,
}

impl Heard {
    /// Reads the first message, and its payload into `payload`, which must have exactly the length of it.
    ///
    /// # Errors
    /// [`Rejected::Forged`] unless somebody wrote it who knows our public key and has a private one of their own.
    pub(super) fn read(prologue: &[u8], own: &KeyPair, message: &[u8], payload: &mut [u8]) -> Result<Self, Rejected> {
        let mut transcript = Transcript::new(prologue, &own.public);
        let (ephemeral, rest) = message.split_first_chunk::<KEY_LEN>().ok_or(Rejected::Forged)?;
        let remote_ephemeral = PublicKey::from_bytes(*ephemeral);
        transcript.mix_ephemeral(ephemeral);
        transcript.mix_secret(own, &remote_ephemeral)?;
        let (sealed, rest) = rest.split_at_checked(KEY_LEN + TAG_LEN).ok_or(Rejected::Forged)?;
        let mut remote = [0; KEY_LEN];
        transcript.open(sealed, &mut remote)?;
        let remote = PublicKey::from_bytes(remote);
        transcript.mix_secret(own, &remote)?;
        transcript.open(rest, payload)?;
        Ok(Self { transcript, remote, remote_ephemeral })
    }

    /// Who wrote the first message.
    pub(super) fn remote(&self) -> PublicKey {
        self.remote
    }

    /// Writes the answer over `out`, which must have exactly the length of it.
    ///
    /// # Errors
    /// [`Rejected::Forged`] if the length does not fit, or a key of the initiator's makes every secret zero.
    pub(super) fn write(
        mut self,
        shared: &PresharedKey,
        ephemeral: &KeyPair,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<Keys, Rejected> {
        let (place, rest) = out.split_first_chunk_mut::<KEY_LEN>().ok_or(Rejected::Forged)?;
        *place = *ephemeral.public.as_bytes();
        self.transcript.mix_ephemeral(place);
        self.transcript.mix_secret(ephemeral, &self.remote_ephemeral)?;
        self.transcript.mix_secret(ephemeral, &self.remote)?;
        self.transcript.mix_shared(shared);
        self.transcript.seal(payload, rest)?;
        Ok(self.transcript.split())
    }
}

/// What both ends have said so far (Noise §5.2, `SymmetricState`).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Transcript {
    chain: [u8; KEY_LEN],
    hash: [u8; KEY_LEN],
    /// Of the next ciphertext. This pattern uses each key once, so that the nonce is always zero.
    key: [u8; KEY_LEN],
}

impl Transcript {
    fn new(prologue: &[u8], responder: &PublicKey) -> Self {
        let start = hash(&[NAME]);
        let mut transcript = Self { chain: start, hash: start, key: [0; KEY_LEN] };
        transcript.mix_hash(prologue);
        transcript.mix_hash(responder.as_bytes());
        transcript
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = hash(&[&self.hash, data]);
    }

    fn mix_key(&mut self, input: &[u8]) {
        [self.chain, self.key] = derive(&self.chain, input);
    }

    /// An ephemeral key is mixed into both, because there is a shared secret in the pattern (Noise §9.2).
    fn mix_ephemeral(&mut self, public: &[u8; KEY_LEN]) {
        self.mix_hash(public);
        self.mix_key(public);
    }

    /// A result of zero means that the other's key is one of the few that give zero with every key; Linux refuses it too.
    fn mix_secret(&mut self, own: &KeyPair, other: &PublicKey) -> Result<(), Rejected> {
        let private = StaticSecret::from(*own.private.reveal());
        let secret = private.diffie_hellman(&x25519_dalek::PublicKey::from(*other.as_bytes()));
        if !secret.was_contributory() {
            return Err(Rejected::Forged);
        }
        self.mix_key(secret.as_bytes());
        Ok(())
    }

    fn mix_shared(&mut self, shared: &PresharedKey) {
        let mut middle;
        [self.chain, middle, self.key] = derive(&self.chain, shared.reveal());
        self.mix_hash(&middle);
        middle.zeroize();
    }

    fn seal(&mut self, text: &[u8], out: &mut [u8]) -> Result<(), Rejected> {
        if out.len() != text.len() + TAG_LEN {
            return Err(Rejected::Forged);
        }
        let (place, tag_place) = out.split_at_mut_checked(text.len()).ok_or(Rejected::Forged)?;
        place.copy_from_slice(text);
        let tag = aead(&self.key)?
            .seal_in_place_separate_tag(nonce(), Aad::from(&self.hash), place)
            .map_err(|_| Rejected::Forged)?;
        tag_place.copy_from_slice(tag.as_ref());
        self.mix_hash(out);
        Ok(())
    }

    fn open(&mut self, sealed: &[u8], text: &mut [u8]) -> Result<(), Rejected> {
        if sealed.len() != text.len() + TAG_LEN {
            return Err(Rejected::Forged);
        }
        let (cipher, tag) = sealed.split_at_checked(text.len()).ok_or(Rejected::Forged)?;
        aead(&self.key)?
            .open_separate_gather(nonce(), Aad::from(&self.hash), cipher, tag, text)
            .map_err(|_| Rejected::Forged)?;
        self.mix_hash(sealed);
        Ok(())
    }

    fn split(&self) -> Keys {
        let [initiator, responder] = derive(&self.chain, &[]);
        Keys { initiator, responder }
    }
}

fn aead(key: &[u8; KEY_LEN]) -> Result<LessSafeKey, Rejected> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(|_| Rejected::Forged)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn hash(pieces: &[&[u8]]) -> [u8; KEY_LEN] {
    pieces.iter().fold(Blake2s256::new(), |hash, piece| hash.chain_update(piece)).finalize().into()
}

/// HKDF (RFC 5869) with HMAC-BLAKE2s and no info, as many keys as asked for (Noise §4.3).
fn derive<const N: usize>(salt: &[u8; KEY_LEN], input: &[u8]) -> [[u8; KEY_LEN]; N] {
    let mut secret = hmac(salt, &[input]);
    let mut keys = [[0; KEY_LEN]; N];
    let mut last: &[u8] = &[];
    for (number, key) in (1u8..).zip(&mut keys) {
        *key = hmac(&secret, &[last, &[number]]);
        last = key;
    }
    secret.zeroize();
    keys
}

/// HMAC (RFC 2104) with BLAKE2s, whose blocks have 64 bytes.
fn hmac(key: &[u8; KEY_LEN], pieces: &[&[u8]]) -> [u8; KEY_LEN] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        let hash = Blake2s256::new().chain_update(block);
        block.zeroize();
        hash
    };
    let inner = pieces.iter().fold(padded(0x36), |hash, piece| hash.chain_update(piece)).finalize();
    padded(0x5c).chain_update(inner).finalize().into()
}
