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
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    #[cfg(any(test, feature = "testing"))]
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};

    use super::*;
    use crate::options::PublicKey;
    use crate::shares::agree;
    use crate::vectors::{self, hex};
    use crate::wire::{put_message, put_u16, put_vec};

    fn random() -> [u8; 32] {
        hex(vectors::RANDOM).try_into().unwrap()
    }

    fn auth_key(private: &str) -> (Zeroizing<Vec<u8>>, AuthKey) {
        let private = aws_lc_rs::agreement::PrivateKey::from_private_key(&aws_lc_rs::agreement::X25519, &hex(private));
        let shared = agree(&private.unwrap(), &hex(vectors::SERVER_PUBLIC)).unwrap();
        let key = AuthKey::derive(&shared, &random()).unwrap();
        (shared, key)
    }

    fn seal(mut hello: Vec<u8>, key: &AuthKey) -> Vec<u8> {
        let claim = claim(ClientVersion([26, 3, 27]), 1_767_225_600, "0123456789abcdef".parse().unwrap());
        assert_eq!(claim, *hex("1a031b006955b9000123456789abcdef"));
        key.seal(&mut hello, &random(), claim).unwrap();
        hello
    }

    /// The hello of B1 with other groups and shares.
    fn hello_with(shares: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let b1 = hex(vectors::HELLO);
        let mut hello = Vec::new();
        put_message(&mut hello, 1, |out| {
            out.extend_from_slice(&b1[4..81]); // up to and with the compression methods
            put_vec::<2>(out, |out| {
                out.extend_from_slice(&b1[83..103]); // server_name
                put_u16(out, 10);
                put_vec::<2>(out, |out| {
                    put_vec::<2>(out, |out| shares.iter().for_each(|(group, _)| put_u16(out, *group)))
                });
                out.extend_from_slice(&b1[111..141]); // signature_algorithms, ALPN
                put_u16(out, 51);
                put_vec::<2>(out, |out| {
                    put_vec::<2>(out, |out| {
                        for (group, share) in shares {
                            put_u16(out, *group);
                            put_vec::<2>(out, |out| out.extend_from_slice(share));
                        }
                    });
                });
                out.extend_from_slice(&b1[183..]); // psk_key_exchange_modes, supported_versions
            });
        });
        hello
    }

    fn hybrid() -> Vec<u8> {
        let mut share: Vec<u8> = (0..1184_u32).map(|i| (7 * i + 3) as u8).collect();
        share.extend(hex(vectors::SECOND_PUBLIC));
        share
    }

    fn sha256(bytes: &[u8]) -> Vec<u8> {
        digest(&SHA256, bytes).as_ref().to_vec()
    }

    #[test]
    fn b1_one_x25519_share() {
        let (shared, key) = auth_key(vectors::CLIENT_PRIVATE);
        assert_eq!(**shared, hex("04c304fb1ca83cee75e206344231f33797e07d9929db670994b7c6fbeb1dc255"));
        assert_eq!(key.bytes()[..], hex(vectors::AUTH_KEY));
        let x25519 = hex(vectors::CLIENT_PUBLIC);
        assert_eq!(hello_with(&[(0x1d, x25519)]), hex(vectors::HELLO), "the builder of this test");

        let hello = seal(hex(vectors::HELLO), &key);
        let sealed = hex("9135e77d732b7c0b3d1368af48bbe4c4c18d8fe8c1e7fa336dcb6fd0af5794c8");
        assert_eq!(hello[SESSION_ID..SESSION_ID + 32], sealed);
        assert_eq!(sha256(&hello), hex("2352c4547da761364711a4352002c02b9f874d726432d0ccdcf5a8d61f25e45f"));
    }

    #[test]
    fn b2_hybrid_and_x25519() {
        let (_, key) = auth_key(vectors::CLIENT_PRIVATE);
        let hello = hello_with(&[(0x11ec, hybrid()), (0x1d, hex(vectors::CLIENT_PUBLIC))]);
        assert_eq!(hello.len(), 1418);
        assert_eq!(sha256(&hello), hex("0065938945b64762547c000088c0860b5fd536166ae62a4ab534b7f9e28e0de6"));
        let hello = seal(hello, &key);
        let sealed = hex("9135e77d732b7c0b3d1368af48bbe4c4acba5ac9877de5b79cf3f6d4c1bdab03");
        assert_eq!(hello[SESSION_ID..SESSION_ID + 32], sealed);
        assert_eq!(sha256(&hello), hex("deab79446a9f4a250b3032ce2fb517e4cbfe6a72b9b89f0c19f34da4d040255b"));
    }

    #[test]
    fn b3_only_the_hybrid_share() {
        let (shared, key) = auth_key(vectors::SECOND_PRIVATE);
        assert_eq!(**shared, hex("7c79d7b5f31b9aac367477f5f7c7a68b5c44cac28ed5c902a59ec48c02956a6a"));
        assert_eq!(key.bytes()[..], hex("dc0cc78c0944d28c97d293ea0136ca77808deaef28e83a7ad309ebaef9510b3e"));
        let hello = hello_with(&[(0x11ec, hybrid())]);
        assert_eq!(hello.len(), 1380);
        assert_eq!(sha256(&hello), hex("e887d30e713a8e9795f941441410b02c7605dfca98e72583accf6a4b50a97eb8"));
        let hello = seal(hello, &key);
        let sealed = hex("f4b2c2c19f90249cca7508084183927a01c802023b7e8a28059b939041d4d4f9");
        assert_eq!(hello[SESSION_ID..SESSION_ID + 32], sealed);
        assert_eq!(sha256(&hello), hex("09302067a6429f4d6247808f5a81e87a101b10fe97e00e20f28eb89567681eb4"));
    }

    #[test]
    fn keys_are_those_of_the_spec() {
        let private = aws_lc_rs::agreement::PrivateKey::from_private_key(
            &aws_lc_rs::agreement::X25519,
            &hex(vectors::SERVER_PRIVATE),
        );
        assert_eq!(private.unwrap().compute_public_key().unwrap().as_ref(), hex(vectors::SERVER_PUBLIC));
        let text: PublicKey = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ".parse().unwrap();
        assert_eq!(text.0[..], hex(vectors::SERVER_PUBLIC));
    }

    #[test]
    fn debug_is_redacted() {
        let (_, key) = auth_key(vectors::CLIENT_PRIVATE);
        assert_eq!(format!("{key:?}"), "AuthKey([redacted])");
    }
}
