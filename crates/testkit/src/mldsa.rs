//! Keys for servers that also sign with ML-DSA-65.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ml_dsa::{Keypair as _, MlDsa65, SigningKey};

/// The seed a server is configured with and the key its clients verify with, both base64url without padding.
///
/// (spec vless-reality §9.2: `mldsa65Seed` and `mldsa65Verify`.)
#[must_use]
pub fn key_pair(seed: [u8; 32]) -> (String, String) {
    let key = SigningKey::<MlDsa65>::from_seed(&seed.into());
    let public = key.verifying_key().encode();
    (BASE64_URL_SAFE_NO_PAD.encode(seed), BASE64_URL_SAFE_NO_PAD.encode(public))
}
