//! For benches and fuzz targets: sessions without peers, timers or addresses.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::noise::{self, Identity, Initiator, Message, Remote, Responder, Tai64n, Wire};
use crate::{PresharedKey, PrivateKey, PublicKey};

/// What a message has beside its plaintext: 16 bytes before, 16 after.
pub const DATA_OVERHEAD: usize = noise::DATA_OVERHEAD;

/// Somebody who can shake hands.
pub struct Party {
    private: PrivateKey,
    random: StdRng,
}

impl std::fmt::Debug for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Party").field("public", &self.private.public_key()).finish_non_exhaustive()
    }
}

/// One end of a session.
#[derive(Debug)]
pub struct Session(noise::Session);

impl Party {
    /// A party with this key, whose random numbers follow from `seed`.
    #[must_use]
    pub fn new(private: PrivateKey, seed: u64) -> Self {
        Self { private, random: StdRng::seed_from_u64(seed) }
    }

    /// A handshake with `other`, which answers: the session of each, or `None` if one did not accept the other.
    pub fn shake_hands(&mut self, other: &mut Self) -> Option<(Session, Session)> {
        let (wire, identity) = (Wire::default(), Identity::new(self.private.clone()));
        let remote = remote(other.private.public_key());
        let (initiator, mut initiation) =
            Initiator::start(&identity, &remote, &wire, 1, Tai64n::default(), None, &mut self.random)?;
        let (theirs, mut response) = other.answer(&mut initiation)?;
        let Message::Response(response) = Message::parse(&wire, &mut response)? else { return None };
        Some((Session(initiator.finish(&response).ok()?), theirs))
    }

    /// Answers whoever wrote `datagram`, if it is an initiation for us. Nothing in front limits how often.
    pub fn answer(&mut self, datagram: &mut [u8]) -> Option<(Session, [u8; 92])> {
        let (wire, identity) = (Wire::default(), Identity::new(self.private.clone()));
        let Message::Initiation(initiation) = Message::parse(&wire, datagram)? else { return None };
        let (responder, who, _) = Responder::read(&identity, &initiation).ok()?;
        let (session, response) = responder.answer(&remote(who), &wire, 2, None, &mut self.random)?;
        Some((Session(session), response))
    }
}

impl Session {
    /// Seals in place: 16 bytes for the header, the plaintext, 16 bytes for the tag. False if the session is used up.
    pub fn seal(&mut self, message: &mut [u8]) -> bool {
        if let [kind, ..] = message {
            *kind = 4;
        }
        self.0.seal(message).is_ok()
    }

    /// Opens in place, if `datagram` is data for this session.
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a mut [u8]> {
        match Message::parse(&Wire::default(), datagram)? {
            Message::Data(data) if data.receiver == self.0.local_index => self.0.open(data.counter, data.body).ok(),
            _ => None,
        }
    }
}

fn remote(public: PublicKey) -> Remote {
    Remote::new(public, None::<PresharedKey>)
}
