//! The pattern against a published vector, against snow, and against what must not be accepted.

use proptest::prelude::*;
use snow::HandshakeState;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash};

use crate::noise::Rejected;
use crate::noise::pattern::{Asked, Heard, KeyPair, Keys};
use crate::{PresharedKey, PrivateKey, PublicKey};

const PROLOGUE: &[u8] = b"some prologue";

fn key(fill: u8) -> KeyPair {
    pair([fill; 32])
}

fn pair(bytes: [u8; 32]) -> KeyPair {
    KeyPair::new(PrivateKey::from_bytes(bytes))
}

fn shared(fill: u8) -> PresharedKey {
    PresharedKey::from_bytes([fill; 32])
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn private(text: &str) -> KeyPair {
    pair(hex(text).try_into().unwrap())
}

/// The one vector for this pattern among cacophony's, which implementations of Noise have in common
/// (<https://github.com/haskell-cryptography/cacophony>, `vectors/cacophony.txt`).
#[test]
fn the_published_vector() {
    let initiator = private("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1");
    let responder = private("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893");
    let (ours, theirs) = (
        private("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
        private("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"),
    );
    let shared = PresharedKey::from_bytes(*b"This is my Austrian perspective!");
    let (prologue, payload1, payload2) = (b"John Galt", b"Ludwig von Mises", b"Murray Rothbard");

    let mut first = [0; 112];
    let asked = Asked::write(prologue, &initiator, &responder.public(), &shared, ours, payload1, &mut first).unwrap();
    assert_eq!(
        first.as_slice(),
        hex(concat!(
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944001e21de9f98ddd8e2ad57527207feb56253c9c9",
            "4a9e496782ecfcb2a75fbcaf1b52948cc48daefe660c62119ab5000980c84831215f2441eba616548e832985464cf17e51ee9310",
            "9008399a21f7e13f",
        ))
    );
    let mut payload = [0; 16];
    let heard = Heard::read(prologue, &responder, &first, &mut payload).unwrap();
    assert_eq!((&payload, heard.remote()), (payload1, initiator.public()));

    let mut second = [0; 63];
    let keys = heard.write(&shared, &theirs, payload2, &mut second).unwrap();
    assert_eq!(
        second.as_slice(),
        hex(concat!(
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843cb765f2caef0751b8f007572dab0322217755c06",
            "32f365717edbf34d33e87a",
        ))
    );
    let mut payload = [0; 15];
    same(&asked.read(&second, &mut payload).unwrap(), &keys);
    assert_eq!(&payload, payload2);
    let texts: [(&[u8; 32], &str, &str); 2] = [
        (&keys.initiator, "462e20412e20486179656b", "8153ca9833bc3c1b91a7e66e5f4d4f5b59bf9e64c2f20d15f0bba7"),
        (&keys.responder, "4361726c204d656e676572", "07af0c9c86e1b4e80f36b04ff7688d51141af3debd0332f0a705ef"),
    ];
    for (key, text, sealed) in texts {
        assert_eq!(seal(key, hex(text)), hex(sealed));
    }
}

/// The first message of a transport.
fn seal(key: &[u8; 32], mut text: Vec<u8>) -> Vec<u8> {
    use chacha20poly1305::aead::AeadInPlace as _;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
    ChaCha20Poly1305::new(key.into()).encrypt_in_place(&[0; 12].into(), &[], &mut text).unwrap();
    text
}

fn same(ours: &Keys, theirs: &Keys) {
    assert_eq!((ours.initiator, ours.responder), (theirs.initiator, theirs.responder));
}

/// snow's own primitives; its keys are given, so that it never asks for a random number.
struct Fixed;

impl CryptoResolver for Fixed {
    fn resolve_rng(&self) -> Option<Box<dyn snow::types::Random>> {
        Some(Box::new(Self))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl snow::types::Random for Fixed {
    fn try_fill_bytes(&mut self, _dest: &mut [u8]) -> Result<(), snow::Error> {
        Err(snow::Error::Rng)
    }
}

fn snow(build: impl FnOnce(snow::Builder<'_>) -> HandshakeState) -> HandshakeState {
    let parameters = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
    build(snow::Builder::with_resolver(parameters, Box::new(Fixed)).prologue(PROLOGUE).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn snow_agrees_both_ways(keys in any::<[[u8; 32]; 5]>(), payload in any::<[u8; 12]>()) {
        let [initiator, responder, ours, theirs, secret] = keys;
        let (initiator_key, responder_key) = (pair(initiator), pair(responder));
        let shared = PresharedKey::from_bytes(secret);
        let mut snow_asks = snow(|builder| {
            let public = responder_key.public();
            builder
                .local_private_key(&initiator).unwrap()
                .remote_public_key(public.as_bytes()).unwrap()
                .fixed_ephemeral_key_for_testing_only(&ours)
                .psk(2, &secret).unwrap()
                .build_initiator().unwrap()
        });
        let mut snow_hears = snow(|builder| {
            builder
                .local_private_key(&responder).unwrap()
                .fixed_ephemeral_key_for_testing_only(&theirs)
                .psk(2, &secret).unwrap()
                .build_responder().unwrap()
        });
        let (mut first, mut expected) = ([0; 108], [0; 108]);
        let ephemeral = pair(ours);
        let public = responder_key.public();
        let asked = Asked::write(PROLOGUE, &initiator_key, &public, &shared, ephemeral, &payload, &mut first).unwrap();
        snow_asks.write_message(&payload, &mut expected).unwrap();
        prop_assert_eq!(first, expected);

        let mut read = [0; 12];
        let heard = Heard::read(PROLOGUE, &responder_key, &first, &mut read).unwrap();
        prop_assert_eq!(read, payload);
        snow_hears.read_message(&first, &mut read).unwrap();

        let (mut second, mut expected) = ([0; 48], [0; 48]);
        let keys = heard.write(&shared, &pair(theirs), &[], &mut second).unwrap();
        snow_hears.write_message(&[], &mut expected).unwrap();
        prop_assert_eq!(second, expected);
        same(&asked.read(&second, &mut []).unwrap(), &keys);
        prop_assert_eq!(snow_hears.dangerously_get_raw_split(), (keys.initiator, keys.responder));
    }

    /// F-G3: whatever a message is, reading it ends in an error and not in a panic.
    #[test]
    fn f_g3_noise_is_no_handshake(message in prop::collection::vec(any::<u8>(), 0..160)) {
        prop_assert!(Heard::read(PROLOGUE, &key(1), &message, &mut [0; 12]).is_err());
        let asked = Asked::write(PROLOGUE, &key(2), &key(1).public(), &shared(3), key(4), &[0; 12], &mut [0; 108]);
        prop_assert!(asked.unwrap().read(&message, &mut []).is_err());
    }
}

#[test]
fn another_shared_secret_gives_no_session() {
    let mut first = [0; 96];
    let asked = Asked::write(PROLOGUE, &key(1), &key(2).public(), &shared(3), key(4), &[], &mut first).unwrap();
    let heard = Heard::read(PROLOGUE, &key(2), &first, &mut []).unwrap();
    let mut second = [0; 48];
    heard.write(&shared(9), &key(5), &[], &mut second).unwrap();
    assert_eq!(asked.read(&second, &mut []).err(), Some(Rejected::Forged));
}

/// With zeros as a public key, every shared secret would be zero, and known to all.
#[test]
fn f_g3_keys_that_give_zero_are_refused() {
    let zero = PublicKey::from_bytes([0; 32]);
    let asked = Asked::write(PROLOGUE, &key(1), &zero, &shared(3), key(4), &[], &mut [0; 96]);
    assert_eq!(asked.err(), Some(Rejected::Forged));
    let mut first = [0; 96];
    let asked = Asked::write(PROLOGUE, &key(1), &key(2).public(), &shared(3), key(4), &[], &mut first).unwrap();
    first[..32].fill(0);
    assert_eq!(Heard::read(PROLOGUE, &key(2), &first, &mut []).err(), Some(Rejected::Forged));
    assert_eq!(asked.read(&[0; 48], &mut []).err(), Some(Rejected::Forged));
}
