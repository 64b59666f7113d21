//! Building a ClientHello, byte by byte as a browser would (spec: vless-reality §4; RFC 8446 §4.1.2).

mod grease;
mod presets;

use std::sync::OnceLock;

pub use self::presets::CHROME_VERSION;
pub(crate) use self::presets::{APPLICATION_SETTINGS, Browser};
use self::presets::{Extension, Order, Preset};

use self::grease::{GREASE, Grease};
use crate::auth::{self, AuthKey};
use crate::error::Error;
use crate::options::{BadOption, Fingerprint, Hybrid, Options, ServerName};
use crate::random::{self, Random};
use crate::shares::{KeyShares, group, x25519_point};
use crate::wire::{put_message, put_u16, put_vec};

/// A ClientHello ready to be sent, and what is needed to understand the answer.
pub(crate) struct ClientHello {
    /// The handshake message, session id sealed.
    pub(crate) message: Vec<u8>,
    pub(crate) keys: KeyShares,
    pub(crate) auth: AuthKey,
    /// The types of the extensions in it.
    pub(crate) offered: Vec<u16>,
    /// Whose hello it is.
    pub(crate) browser: Browser,
}

impl ClientHello {
    pub(crate) fn new(options: &Options, random: &mut dyn Random, unix_time: u32) -> Result<Self, Error> {
        options.server_name.check()?;
        let browser = draw(options.fingerprint, random);
        let preset = Preset::of(browser);
        let keys = KeyShares::generate(&share_groups(preset, options.hybrid), preset.hybrid_key, random)?;
        let nonce = random::bytes::<32>(random);
        let shared = keys.reality(&options.public_key.0).ok_or(WEAK_KEY)?;
        let auth = AuthKey::derive(&shared, &nonce)?;

        let mut writer =
            Writer { options, keys: &keys, grease: Grease::draw(random), grease_sent: 0, offered: Vec::new() };
        let mut message = Vec::with_capacity(2048);
        let mut failed = Ok(());
        put_message(&mut message, CLIENT_HELLO, |out| failed = writer.body(preset, &nonce, random, out));
        failed?;
        let offered = writer.offered;
        if preset.extensions.iter().any(|e| matches!(e, Extension::Padding)) {
            pad(&mut message);
        }
        auth.seal(&mut message, &nonce, auth::claim(options.client_version, unix_time, options.short_id))?;
        Ok(Self { message, keys, auth, offered, browser })
    }

    /// The record that carries it. Its version is 0301, later ones are 0303 (RFC 8446 §5.1, and as browsers do).
    pub(crate) fn record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(5 + self.message.len());
        record.extend_from_slice(&[22, 3, 1]);
        put_vec::<2>(&mut record, |out| out.extend_from_slice(&self.message));
        record
    }
}

struct Writer<'a> {
    options: &'a Options,
    keys: &'a KeyShares,
    grease: Grease,
    grease_sent: usize,
    offered: Vec<u16>,
}

impl Writer<'_> {
    fn body(
        &mut self,
        preset: &Preset,
        nonce: &[u8; 32],
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.extend_from_slice(&[3, 3]);
        out.extend_from_slice(nonce);
        put_vec::<1>(out, |out| out.extend_from_slice(&[0; 32])); // sealed later
        put_vec::<2>(out, |out| put_list(out, preset.ciphers, self.grease.cipher));
        put_vec::<1>(out, |out| out.push(0)); // no compression

        let mut order: Vec<Extension> = preset.extensions.to_vec();
        if let (Order::Shuffled, [_, middle @ .., _]) = (preset.order, &mut *order) {
            shuffle(middle, random);
        }
        let mut done = Ok(());
        put_vec::<2>(out, |out| done = order.iter().try_for_each(|extension| self.extension(*extension, random, out)));
        done
    }

    fn extension(&mut self, extension: Extension, random: &mut dyn Random, out: &mut Vec<u8>) -> Result<(), Error> {
        match extension {
            Extension::Grease => {
                let [first, second] = self.grease.extensions;
                let (kind, body): (_, &[u8]) = if self.grease_sent == 0 { (first, &[]) } else { (second, &[0]) };
                self.grease_sent += 1;
                self.put(kind, out, |out| out.extend_from_slice(body));
            }
            Extension::ServerName => self.server_name(out),
            Extension::Fixed(kind, body) => self.put(kind, out, |out| out.extend_from_slice(body)),
            Extension::Groups(groups) => {
                let (groups, grease) = (with_hybrid(groups, self.options.hybrid), self.grease.group);
                self.put(10, out, |out| put_vec::<2>(out, |out| put_list(out, &groups, grease)));
            }
            Extension::KeyShare(groups) => return self.key_share(groups, out),
            Extension::Versions(versions) => {
                let grease = self.grease.version;
                self.put(43, out, |out| put_vec::<1>(out, |out| put_list(out, versions, grease)));
            }
            Extension::Signatures(schemes) => {
                let grease = self.grease.signature;
                self.put(13, out, |out| put_vec::<2>(out, |out| put_list(out, schemes, grease)));
            }
            Extension::EchGrease { aeads, payloads } => return self.ech_grease(aeads, payloads, random, out),
            Extension::Padding => {} // depends on the length of all others
        }
        Ok(())
    }

    fn put(&mut self, kind: u16, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        self.offered.push(kind);
        put_u16(out, kind);
        put_vec::<2>(out, body);
    }

    fn server_name(&mut self, out: &mut Vec<u8>) {
        let ServerName::Dns(name) = &self.options.server_name else { return };
        self.put(0, out, |out| {
            put_vec::<2>(out, |out| {
                out.push(0); // host_name
                put_vec::<2>(out, |out| out.extend_from_slice(name.as_bytes()));
            });
        });
    }

    fn key_share(&mut self, groups: &[u16], out: &mut Vec<u8>) -> Result<(), Error> {
        let mut shares = Vec::with_capacity(1400);
        for group in with_hybrid(groups, self.options.hybrid) {
            if group == GREASE {
                put_u16(&mut shares, self.grease.group);
                put_vec::<2>(&mut shares, |out| out.push(0));
            } else {
                let public = self.keys.public(group)?;
                put_u16(&mut shares, group);
                put_vec::<2>(&mut shares, |out| out.extend_from_slice(&public));
            }
        }
        self.put(51, out, |out| put_vec::<2>(out, |out| out.extend_from_slice(&shares)));
        Ok(())
    }

    /// draft-ietf-tls-esni §6.2: what a server without ECH cannot tell from the real thing.
    fn ech_grease(
        &mut self,
        aeads: &[u16],
        payloads: &[u16],
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let aead = pick(aeads, random);
        let [config_id] = random::bytes(random);
        let point = x25519_point(random)?;
        let mut payload = vec![0; usize::from(pick(payloads, random))];
        random.fill(&mut payload);
        self.put(0xfe0d, out, |out| {
            out.push(0); // an outer hello
            put_u16(out, 1); // HKDF-SHA256
            put_u16(out, aead);
            out.push(config_id);
            put_vec::<2>(out, |out| out.extend_from_slice(&point));
            put_vec::<2>(out, |out| out.extend_from_slice(&payload));
        });
        Ok(())
    }
}

fn put_list(out: &mut Vec<u8>, values: &[u16], grease: u16) {
    for value in values {
        put_u16(out, if *value == GREASE { grease } else { *value });
    }
}

fn share_groups(preset: &Preset, hybrid: Hybrid) -> Vec<u16> {
    let groups = preset.extensions.iter().find_map(|extension| match extension {
        Extension::KeyShare(groups) => Some(with_hybrid(groups, hybrid)),
        _ => None,
    });
    groups.unwrap_or_default()
}

/// The list as the user wants it. Servers demand the hybrid share before X25519's (spec: vless-reality §2.6).
fn with_hybrid(groups: &[u16], hybrid: Hybrid) -> Vec<u16> {
    let mut groups = groups.to_vec();
    let has = groups.contains(&group::X25519MLKEM768);
    match hybrid {
        Hybrid::Strip => groups.retain(|g| *g != group::X25519MLKEM768),
        Hybrid::Insert if !has => {
            if let Some(at) = groups.iter().position(|g| *g == group::X25519) {
                groups.insert(at, group::X25519MLKEM768);
            }
        }
        Hybrid::Insert | Hybrid::AsFingerprint => {}
    }
    groups
}

/// BoringSSL's padding: hellos of 256 to 511 bytes, which some old servers choke on, become 512 bytes long.
fn pad(message: &mut Vec<u8>) {
    let length = message.len();
    if !(256..=511).contains(&length) {
        return;
    }
    let body = 512_usize.saturating_sub(length + 4).max(1);
    put_u16(message, 21);
    put_vec::<2>(message, |out| out.resize(out.len() + body, 0));
    // Both lengths in front grew: the message's and that of the block of extensions, found behind the fixed fields.
    let added = message.len() - length;
    let ciphers = auth::SESSION_ID + 32;
    let list = usize::from(u16::from_be_bytes([message[ciphers], message[ciphers + 1]]));
    let extensions = ciphers + 2 + list + 2;
    for at in [2, extensions] {
        let grown = usize::from(u16::from_be_bytes([message[at], message[at + 1]])) + added;
        message[at..at + 2].copy_from_slice(&(grown as u16).to_be_bytes()); // below 520
    }
}

/// Fisher-Yates.
fn shuffle<T>(items: &mut [T], random: &mut dyn Random) {
    for last in (1..items.len()).rev() {
        let bound = u8::try_from(last + 1).unwrap_or(u8::MAX); // lists here have at most 17 entries
        items.swap(last, usize::from(random::below(random, bound)));
    }
}

/// One of a few, uniformly; 0 of none.
fn pick(values: &[u16], random: &mut dyn Random) -> u16 {
    let bound = u8::try_from(values.len()).unwrap_or(u8::MAX);
    values.get(usize::from(random::below(random, bound))).copied().unwrap_or_default()
}

/// Resolves [`Fingerprint::Random`], once per process: a user's browser does not change between connections.
fn draw(fingerprint: Fingerprint, random: &mut dyn Random) -> Browser {
    static DRAWN: OnceLock<Browser> = OnceLock::new();
    Browser::of(fingerprint).unwrap_or_else(|| {
        *DRAWN.get_or_init(|| match random::below(random, 10) {
            0..6 => Browser::Chrome,
            6..9 => Browser::Safari,
            _ => Browser::Firefox,
        })
    })
}

const WEAK_KEY: BadOption = BadOption::new("public-key", "not a usable X25519 key (small order)");
const CLIENT_HELLO: u8 = 1;
