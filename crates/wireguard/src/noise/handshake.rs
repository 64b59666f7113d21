//! Three keys each, one round trip: the pattern IKpsk2 (whitepaper §5.4.2, §5.4.3).

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash};
use snow::{Builder, HandshakeState};

use super::cookie::{Cookie, LabelKeys};
use super::gate::Gate;
use super::message::{CookieReply, INITIATION_LEN, Initiation, RESPONSE_LEN, Response};
use super::tai64n::Tai64n;
use super::wire::{Kind, Wire};
use super::{Random, Rejected, Session};
use crate::{Moment, PresharedKey, PrivateKey, PublicKey};

const PATTERN: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// Where the shared secret is mixed in.
const PSK_PLACE: u8 = 2;

/// Who we are.
pub(crate) struct Identity {
    private: PrivateKey,
    keys: LabelKeys,
}

impl Identity {
    pub(crate) fn new(private: PrivateKey) -> Self {
        let keys = LabelKeys::of(&private.public_key());
        Self { private, keys }
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
}

/// A handshake that we began.
pub(crate) struct Initiator {
    index: u32,
    noise: Box<HandshakeState>,
    mac1: [u8; 16],
}

impl Initiator {
    /// Begins one under our `index`, and gives the message to send, without reserved bytes or prefix.
    ///
    /// `None` if the keys are unusable, which X25519 keys never are.
    pub(crate) fn start(
        identity: &Identity,
        remote: &Remote,
        wire: &Wire,
        index: u32,
        stamp: Tai64n,
        cookie: Option<&[u8; 16]>,
        random: &mut dyn Random,
    ) -> Option<(Self, [u8; INITIATION_LEN])> {
        let mut noise = builder(random)?
            .local_private_key(identity.private.reveal())
            .ok()?
            .remote_public_key(remote.public.as_bytes())
            .ok()?
            .psk(PSK_PLACE, remote.shared.reveal())
            .ok()?
            .build_initiator()
            .ok()?;
        let mut message = [0; INITIATION_LEN];
        message[..4].copy_from_slice(&wire.word(Kind::Initiation, random));
        message[4..8].copy_from_slice(&index.to_le_bytes());
        noise.write_message(&stamp.0, &mut message[8..116]).ok()?;
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
    /// [`Rejected::Forged`] if it is not an answer of the peer; the handshake goes on as if it had not come, because snow
    /// takes back what a message that fails has changed (F-G5).
    pub(crate) fn finish(&mut self, response: &Response<'_>) -> Result<Session, Rejected> {
        if response.receiver != self.index {
            return Err(Rejected::Unknown);
        }
        self.noise.read_message(response.noise(), &mut [0; 16]).map_err(|_| Rejected::Forged)?;
        let (send, receive) = self.noise.dangerously_get_raw_split();
        Session::new(self.index, response.sender, send, receive).ok_or(Rejected::Forged)
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
    noise: Box<HandshakeState>,
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
        random: &mut dyn Random,
    ) -> Result<(Self, PublicKey, Tai64n), Rejected> {
        let build =
            |builder: Builder<'_>| builder.local_private_key(identity.private.reveal()).ok()?.build_responder().ok();
        let mut noise = builder(random).and_then(build).ok_or(Rejected::Forged)?;
        let mut stamp = [0; 12];
        let length = noise.read_message(initiation.noise(), &mut stamp).map_err(|_| Rejected::Forged)?;
        let public = noise.get_remote_static().and_then(|key| key.try_into().ok()).ok_or(Rejected::Forged)?;
        if length != stamp.len() {
            return Err(Rejected::Forged);
        }
        let responder = Self { noise: Box::new(noise), remote_index: initiation.sender };
        Ok((responder, PublicKey::from_bytes(public), Tai64n(stamp)))
    }

    /// Answers under our `index`: the session, and the message to send, without reserved bytes or prefix.
    pub(crate) fn answer(
        mut self,
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
        self.noise.set_psk(usize::from(PSK_PLACE), remote.shared.reveal()).ok()?;
        self.noise.write_message(&[], &mut message[12..60]).ok()?;
        remote.keys.sign(&mut message, cookie);
        let (receive, send) = self.noise.dangerously_get_raw_split();
        Some((Session::new(index, self.remote_index, send, receive)?, message))
    }
}

/// A handshake whose random numbers come from `random`.
fn builder(random: &mut dyn Random) -> Option<Builder<'static>> {
    let mut seed = [0; 32];
    random.fill_bytes(&mut seed);
    let resolver: BoxedCryptoResolver = Box::new(Seeded { seed, rest: DefaultResolver });
    Builder::with_resolver(PATTERN.parse().ok()?, resolver).prologue(PROLOGUE).ok()
}

/// snow's own primitives, but a generator of random numbers that was seeded from outside.
struct Seeded {
    seed: [u8; 32],
    rest: DefaultResolver,
}

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn snow::types::Random>> {
        Some(Box::new(Generator(StdRng::from_seed(self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        self.rest.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        self.rest.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        self.rest.resolve_cipher(choice)
    }
}

struct Generator(StdRng);

impl snow::types::Random for Generator {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        rand::RngCore::fill_bytes(&mut self.0, dest);
        Ok(())
    }
}
