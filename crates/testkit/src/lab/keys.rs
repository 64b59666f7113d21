//! Keys as WireGuard writes them.

use std::fmt;

use aws_lc_rs::agreement::{PrivateKey, X25519};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// 32 bytes: a private, a public or a pre-shared key. Test keys are no secrets, so it prints.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// A new one, right as a private and as a pre-shared key.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
        // RFC 7748 §5; some programs store a private key in this form and print it back.
        bytes[0] &= 248;
        bytes[31] = bytes[31] & 127 | 64;
        Self(bytes)
    }

    /// The public key that belongs to this private key.
    #[must_use]
    pub fn public(&self) -> Self {
        let private = PrivateKey::from_private_key(&X25519, &self.0).expect("32 bytes");
        let public = private.compute_public_key().expect("a public key");
        Self(public.as_ref().try_into().expect("32 bytes"))
    }

    /// As configuration files have it.
    #[must_use]
    pub fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// As the control socket has it.
    pub(super) fn hex(&self) -> String {
        crate::data::hex(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base64())
    }
}
