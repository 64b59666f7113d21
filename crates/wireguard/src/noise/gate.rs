//! Who may make us work: handshake messages cost curve operations, so they pass here first (F-G3, F-G4).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::Random;
use super::cookie::{COOKIE_LIFETIME, LabelKeys, mac, reply, split};
use super::message::COOKIE_LEN;
use crate::Moment;

/// So many handshake messages in a second are a load, and only who can receive at the address it sends from is heard.
const LOAD: u32 = 50;
/// So many a second from one address then, and so many at once; the figures of Linux' ratelimiter.
const PER_SOURCE: u32 = 20;
const BURST: u32 = 5;
/// Places in the table of sources; two that share one share its allowance.
const SOURCES: usize = 256;

/// What to do with a handshake message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look at it.
    Pass,
    /// Forget it.
    Drop,
    /// Forget it, and send this to its sender, who has to come again.
    Challenge([u8; COOKIE_LEN]),
}

/// The gate in front of our handshakes.
pub(crate) struct Gate {
    keys: LabelKeys,
    secret: [u8; 32],
    secret_made: Option<Moment>,
    second: Moment,
    heard: u32,
    sources: Box<[Source; SOURCES]>,
}

/// The allowance of an address.
#[derive(Clone, Copy, Default)]
struct Source {
    left: u32,
    since: Option<Moment>,
}

impl Gate {
    pub(super) fn new(keys: LabelKeys) -> Self {
        Self {
            keys,
            secret: [0; 32],
            secret_made: None,
            second: Moment::default(),
            heard: 0,
            sources: Box::new([Source::default(); SOURCES]),
        }
    }

    /// Judges a handshake message by its MACs and by how many there are. `word` is the type word that a reply would have.
    pub(crate) fn judge(
        &mut self,
        message: &[u8],
        sender: u32,
        from: SocketAddr,
        now: Moment,
        word: [u8; 4],
        random: &mut dyn Random,
    ) -> Verdict {
        // First of all, and without any curve: does it know whom it talks to (whitepaper §5.3)?
        if !self.keys.mac1_fits(message) {
            return Verdict::Drop;
        }
        if !self.under_load(now) {
            return Verdict::Pass;
        }
        let Some((rest, [mac1, mac2])) = split(message) else { return Verdict::Drop };
        let cookie = self.cookie(from, now, random);
        if bool::from(mac(&cookie, &[rest, mac1]).ct_ne(mac2)) {
            return Verdict::Challenge(reply(&self.keys, mac1, cookie, sender, word, random));
        }
        if self.allows(from.ip(), now) { Verdict::Pass } else { Verdict::Drop }
    }

    fn under_load(&mut self, now: Moment) -> bool {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.heard) = (now, 0);
        }
        self.heard = self.heard.saturating_add(1);
        self.heard > LOAD
    }

    /// What the owner of an address has to show; changes every two minutes.
    fn cookie(&mut self, from: SocketAddr, now: Moment, random: &mut dyn Random) -> [u8; 16] {
        if self.secret_made.is_none_or(|made| now.since(made) >= COOKIE_LIFETIME) {
            random.fill_bytes(&mut self.secret);
            self.secret_made = Some(now);
        }
        match from.ip() {
            IpAddr::V4(ip) => mac(&self.secret, &[&ip.octets(), &from.port().to_be_bytes()]),
            IpAddr::V6(ip) => mac(&self.secret, &[&ip.octets(), &from.port().to_be_bytes()]),
        }
    }

    fn allows(&mut self, from: IpAddr, now: Moment) -> bool {
        // Keyed with the secret, so that nobody can choose whose place they share.
        let place = match from {
            IpAddr::V4(ip) => mac(&self.secret, &[&ip.octets()]),
            // A host has a whole /64.
            IpAddr::V6(ip) => mac(&self.secret, &[ip.octets().get(..8).unwrap_or_default()]),
        };
        let Some(source) = place.first().and_then(|&place| self.sources.get_mut(usize::from(place))) else {
            return false;
        };
        let gained = source.since.map_or(BURST, |since| {
            u32::try_from(now.since(since).as_millis() * u128::from(PER_SOURCE) / 1000).unwrap_or(BURST)
        });
        if gained > 0 {
            source.left = source.left.saturating_add(gained).min(BURST);
            source.since = Some(now);
        }
        let allowed = source.left > 0;
        source.left = source.left.saturating_sub(1);
        allowed
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}
