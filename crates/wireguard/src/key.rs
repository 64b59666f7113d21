//! Keys: 32 bytes, written in base64 as `wg genkey` does.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Why a text is no key. It does not repeat the text, which may be half of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not base64.
    #[error("a key is base64, as `wg genkey` prints it")]
    NotBase64,
    /// Base64 of something that is not 32 bytes.
    #[error("a key has 32 bytes, this one has {0}")]
    Length(usize),
}

/// A private key. `Debug` prints `[redacted]`; the bytes are wiped on drop.
#[derive(Clone)]
pub struct PrivateKey(StaticSecret);

impl PrivateKey {
    /// Any 32 bytes are a key; X25519 clamps them itself.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(StaticSecret::from(bytes))
    }

    /// The key that others may know.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// The bytes, for the handshake.
    #[must_use]
    pub fn reveal(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl PartialEq for PrivateKey {
    /// Compares the public halves, which is all that may take a time that depends on the value.
    fn eq(&self, other: &Self) -> bool {
        self.public_key() == other.public_key()
    }
}

impl Eq for PrivateKey {}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self::from_bytes)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A secret that both ends share beside their key pairs. `Debug` prints `[redacted]`; the bytes are wiped on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; 32]);

impl PresharedKey {
    /// Wraps the bytes. All zero means the same as none.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the handshake.
    #[must_use]
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self)
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Wraps the bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn decode(text: &str) -> Result<[u8; 32], KeyError> {
    let mut bytes = STANDARD.decode(text.trim()).map_err(|_| KeyError::NotBase64)?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Length(bytes.len()));
    bytes.zeroize();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &str = "eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=";

    #[test]
    fn texts_that_are_no_key_are_told_apart() {
        assert_eq!("short".parse::<PublicKey>().unwrap_err(), KeyError::NotBase64);
        assert_eq!("AAAA".parse::<PublicKey>().unwrap_err(), KeyError::Length(3));
    }

    #[test]
    fn secrets_are_not_printed() {
        let private: PrivateKey = PRIVATE.parse().unwrap();
        let shared: PresharedKey = PRIVATE.parse().unwrap();
        assert_eq!(format!("{private:?} {shared:?}"), "[redacted] [redacted]");
    }
}
