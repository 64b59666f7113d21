//! The key shares of a hello: X25519, X25519MLKEM768 and P-256.

use std::fmt;

use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, ML_KEM_768};
use zeroize::Zeroizing;

use crate::error::{Error, Misbehaviour};
use crate::random::{self, Random};

/// Groups by IANA number.
pub(crate) mod group {
    pub(crate) const SECP256R1: u16 = 0x0017;
    pub(crate) const X25519: u16 = 0x001d;
    pub(crate) const X25519MLKEM768: u16 = 0x11ec;
}

/// Whether the hybrid share's X25519 half is the stand-alone key again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HybridKey {
    Independent,
    Shared,
}

/// The private keys behind a hello, and their public halves.
///
/// X25519 comes from aws-lc-rs as well: its keys can be used twice, which REALITY needs, and on the machine this was
/// written on key pair and agreement cost 4.4 and 15 µs against 11 and 34 µs with x25519-dalek 2.
pub(crate) struct KeyShares {
    x25519: PrivateKey,
    hybrid: Option<(DecapsulationKey, Option<PrivateKey>)>,
    p256: Option<PrivateKey>,
}

impl KeyShares {
    /// Makes a key pair for each of `groups`. There is always one for X25519, because REALITY authenticates with it.
    pub(crate) fn generate(groups: &[u16], hybrid_key: HybridKey, random: &mut dyn Random) -> Result<Self, Error> {
        const FAILED: Error = Error::Library("making key shares");
        let x25519 = x25519_key(random)?;
        let hybrid = if groups.contains(&group::X25519MLKEM768) {
            let kem = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| FAILED)?;
            let own = match hybrid_key {
                HybridKey::Independent => Some(x25519_key(random)?),
                HybridKey::Shared => None,
            };
            Some((kem, own))
        } else {
            None
        };
        let p256 = if groups.contains(&group::SECP256R1) {
            Some(PrivateKey::generate(&ECDH_P256).map_err(|_| FAILED)?)
        } else {
            None
        };
        Ok(Self { x25519, hybrid, p256 })
    }

    /// The public share for `group`, as it goes into the hello. Empty when there is none.
    pub(crate) fn public(&self, group: u16) -> Result<Vec<u8>, Error> {
        const FAILED: Error = Error::Library("encoding key shares");
        let public = |key: &PrivateKey| Ok(key.compute_public_key().map_err(|_| FAILED)?.as_ref().to_vec());
        match (group, &self.hybrid, &self.p256) {
            (group::X25519, _, _) => public(&self.x25519),
            (group::SECP256R1, _, Some(key)) => public(key),
            (group::X25519MLKEM768, Some((kem, own)), _) => {
                let key = kem.encapsulation_key().and_then(|key| key.key_bytes().map(|bytes| bytes.as_ref().to_vec()));
                let mut share = key.map_err(|_| FAILED)?;
                share.extend(public(own.as_ref().unwrap_or(&self.x25519))?);
                Ok(share)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The agreement that REALITY authenticates with: between the stand-alone X25519 key and the server's long-term
    /// key (spec: vless-reality §2.3). `None` when the result would be zero: a key of small order.
    pub(crate) fn reality(&self, server: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        agree(&self.x25519, server)
    }

    /// The (EC)DHE input of the key schedule, from the share the server answered with.
    pub(crate) fn agree(&self, group: u16, server: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        const BAD: Error = Error::Misbehaved(Misbehaviour::Illegal("key share"));
        match (group, &self.hybrid, &self.p256) {
            (group::X25519, _, _) => agree(&self.x25519, server).ok_or(BAD),
            (group::SECP256R1, _, Some(key)) => agree(key, server).ok_or(BAD),
            (group::X25519MLKEM768, Some((kem, own)), _) => {
                // The ciphertext first, then the X25519 key; the secrets in the same order.
                let (ciphertext, x25519) = server.split_at_checked(ML_KEM_CIPHERTEXT).ok_or(BAD)?;
                let kem = kem.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| BAD)?;
                let second = agree(own.as_ref().unwrap_or(&self.x25519), x25519).ok_or(BAD)?;
                let mut shared = Zeroizing::new(Vec::with_capacity(64));
                shared.extend_from_slice(kem.as_ref());
                shared.extend_from_slice(&second);
                Ok(shared)
            }
            _ => Err(Misbehaviour::Illegal("group").into()),
        }
    }
}

impl fmt::Debug for KeyShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyShares([redacted])")
    }
}

/// A fresh X25519 public key whose private half is thrown away: what ECH GREASE carries.
pub(crate) fn x25519_point(random: &mut dyn Random) -> Result<Vec<u8>, Error> {
    let public = x25519_key(random)?.compute_public_key();
    Ok(public.map_err(|_| Error::Library("making key shares"))?.as_ref().to_vec())
}

pub(crate) fn x25519_key(random: &mut dyn Random) -> Result<PrivateKey, Error> {
    let seed = Zeroizing::new(random::bytes::<32>(random));
    PrivateKey::from_private_key(&X25519, &*seed).map_err(|_| Error::Library("making key shares"))
}

pub(crate) fn agree(key: &PrivateKey, peer: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let peer = UnparsedPublicKey::new(key.algorithm(), peer);
    agreement::agree(key, peer, (), |shared| Ok(Zeroizing::new(shared.to_vec()))).ok()
}

/// Bytes of an ML-KEM-768 ciphertext.
pub(crate) const ML_KEM_CIPHERTEXT: usize = 1088;
