//! The secret that only client and server know, and what it seals and signs (spec: vless-reality §2.2 to §2.5).

use std::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::options::{ClientVersion, ShortId};

/// Where the session id begins in a ClientHello message: behind its header, the version, the random and a length.
pub(crate) const SESSION_ID: usize = 4 + 2 + 32 + 1;

/// The 32 bytes derived from the X25519 agreement between our key share and the server's long-term key.
#[derive(Clone)]
pub(crate) struct AuthKey(Zeroizing<[u8; 32]>);

impl AuthKey {
    /// §2.3: HKDF-SHA256 with the first 20 bytes of the hello's random as salt.
    pub(crate) fn derive(shared: &[u8], random: &[u8; 32]) -> Result<Self, Error> {
        let failed = |_| Error::Library("deriving the authentication key");
        let mut key = Zeroizing::new([0; 32]);
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &random[..20]).extract(shared);
        secret.expand(&[b"REALITY"], hkdf::HKDF_SHA256).map_err(failed)?.fill(&mut *key).map_err(failed)?;
        Ok(Self(key))
    }

    /// §2.4: seals `claim` into the session id of `hello`, which must still be zero: the whole message is
    /// authenticated with it.
    pub(crate) fn seal(&self, hello: &mut [u8], random: &[u8; 32], claim: [u8; 16]) -> Result<(), Error> {
        const FAILED: Error = Error::Library("sealing the session id");
        let key = UnboundKey::new(&aead::AES_256_GCM, &*self.0).map_err(|_| FAILED)?;
        let nonce = Nonce::try_assume_unique_for_key(&random[20..]).map_err(|_| FAILED)?;
        let mut sealed = claim;
        let tag = LessSafeKey::new(key)
            .seal_in_place_separate_tag(nonce, Aad::from(&*hello), &mut sealed)
            .map_err(|_| FAILED)?;
        let session_id = hello.get_mut(SESSION_ID..SESSION_ID + 32).ok_or(FAILED)?;
        let (front, back) = session_id.split_at_mut(16);
        front.copy_from_slice(&sealed);
        back.copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// §2.5: the key of the code that stands in the certificate where a signature would be.
    pub(crate) fn mac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA512, &*self.0)
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey([redacted])")
    }
}

/// §2.2: what the client says of itself.
///
/// ```text
///  0                 3   4                8            16
///  +-----------------+---+----------------+------------+
///  | version x, y, z | 0 | Unix time, s   | short id   |
///  +-----------------+---+----------------+------------+
/// ```
pub(crate) fn claim(version: ClientVersion, unix_time: u32, short_id: ShortId) -> [u8; 16] {
    let mut claim = [0; 16];
    claim[..3].copy_from_slice(&version.0);
    claim[4..8].copy_from_slice(&unix_time.to_be_bytes());
    claim[8..].copy_from_slice(&short_id.0);
    claim
}
