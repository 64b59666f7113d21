//! The key schedule of RFC 8446 §7.1, without pre-shared keys. One type per stage, so that a secret cannot be used in
//! the wrong place.

use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::record::RecordKey;
use crate::suite::{Hash, Suite};
use crate::wire::put_vec;

/// After ServerHello: the handshake traffic secrets, and what the application secrets grow from.
#[derive(Debug)]
pub(crate) struct HandshakeSecrets {
    pub(crate) client: TrafficSecret,
    pub(crate) server: TrafficSecret,
    pub(crate) master: MasterSecret,
}

/// What the application secrets grow from.
pub(crate) struct MasterSecret {
    suite: Suite,
    prk: hkdf::Prk,
}

impl HandshakeSecrets {
    /// `shared` is the (EC)DHE input, `transcript` the hash of ClientHello and ServerHello.
    pub(crate) fn new(suite: Suite, shared: &[u8], transcript: &[u8]) -> Result<Self, Error> {
        let hash = suite.hash();
        let zeros = &[0; MAX_HASH][..hash.len()];
        let early = hkdf::Salt::new(hash.hkdf(), zeros).extract(zeros);
        let handshake = after(hash, &early)?.extract(shared);
        Ok(Self {
            client: TrafficSecret::derive(suite, &handshake, b"c hs traffic", transcript)?,
            server: TrafficSecret::derive(suite, &handshake, b"s hs traffic", transcript)?,
            master: MasterSecret { suite, prk: after(hash, &handshake)?.extract(zeros) },
        })
    }
}

impl MasterSecret {
    /// The application traffic secrets; `transcript` is the hash up to and with the server's Finished.
    pub(crate) fn application(&self, transcript: &[u8]) -> Result<ApplicationSecrets, Error> {
        Ok(ApplicationSecrets {
            client: TrafficSecret::derive(self.suite, &self.prk, b"c ap traffic", transcript)?,
            server: TrafficSecret::derive(self.suite, &self.prk, b"s ap traffic", transcript)?,
        })
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret([redacted])")
    }
}

/// After the server's Finished.
#[derive(Debug)]
pub(crate) struct ApplicationSecrets {
    pub(crate) client: TrafficSecret,
    pub(crate) server: TrafficSecret,
}

/// The secret of one direction in one epoch. Wiped on drop, never printed.
pub(crate) struct TrafficSecret {
    suite: Suite,
    bytes: Zeroizing<[u8; MAX_HASH]>,
}

impl TrafficSecret {
    fn derive(suite: Suite, parent: &hkdf::Prk, label: &[u8], transcript: &[u8]) -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; MAX_HASH]);
        expand_label(parent, label, transcript, &mut bytes[..suite.hash().len()])?;
        Ok(Self { suite, bytes })
    }

    /// Key and IV of this epoch (RFC 8446 §7.3).
    pub(crate) fn record_key(&self) -> Result<RecordKey, Error> {
        let secret = self.prk();
        let mut key = Zeroizing::new([0; 32]);
        let key = &mut key[..self.suite.aead().key_len()];
        expand_label(&secret, b"key", &[], key)?;
        let mut iv = Zeroizing::new([0; 12]);
        expand_label(&secret, b"iv", &[], &mut *iv)?;
        RecordKey::new(self.suite, key, *iv)
    }

    /// The key that makes and checks this side's Finished (RFC 8446 §4.4.4).
    pub(crate) fn finished_key(&self) -> Result<hmac::Key, Error> {
        let mut key = Zeroizing::new([0; MAX_HASH]);
        let key = &mut key[..self.suite.hash().len()];
        expand_label(&self.prk(), b"finished", &[], key)?;
        Ok(hmac::Key::new(self.suite.hash().hmac(), key))
    }

    /// The next epoch's secret, after KeyUpdate (RFC 8446 §7.2).
    pub(crate) fn next(&self) -> Result<Self, Error> {
        Self::derive(self.suite, &self.prk(), b"traffic upd", &[])
    }

    fn prk(&self) -> hkdf::Prk {
        let hash = self.suite.hash();
        hkdf::Prk::new_less_safe(hash.hkdf(), &self.bytes[..hash.len()])
    }
}

impl fmt::Debug for TrafficSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrafficSecret([redacted])")
    }
}

/// The salt of the next extraction: Derive-Secret(secret, "derived", "").
fn after(hash: Hash, secret: &hkdf::Prk) -> Result<hkdf::Salt, Error> {
    let empty = aws_lc_rs::digest::digest(hash.digest(), &[]);
    let mut derived = Zeroizing::new([0; MAX_HASH]);
    let derived = &mut derived[..hash.len()];
    expand_label(secret, b"derived", empty.as_ref(), derived)?;
    Ok(hkdf::Salt::new(hash.hkdf(), derived))
}

/// HKDF-Expand-Label (RFC 8446 §7.1), filling `out`.
fn expand_label(secret: &hkdf::Prk, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), Error> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    let mut info = Vec::with_capacity(2 + 1 + 6 + label.len() + 1 + context.len());
    info.extend_from_slice(&[0, out.len() as u8]); // at most 48
    put_vec::<1>(&mut info, |info| {
        info.extend_from_slice(b"tls13 ");
        info.extend_from_slice(label);
    });
    put_vec::<1>(&mut info, |info| info.extend_from_slice(context));
    let failed = |_| Error::Library("deriving a key");
    secret.expand(&[&info], Length(out.len())).map_err(failed)?.fill(out).map_err(failed)
}

/// The longest hash in use, SHA-384.
const MAX_HASH: usize = 48;
