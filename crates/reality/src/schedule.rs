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
#[cfg_attr(feature = "testing", derive(Clone))]
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

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.suite.hash().len()]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    fn key_and_iv(secret: &TrafficSecret) -> (Vec<u8>, Vec<u8>) {
        let (mut key, mut iv) = (vec![0; secret.suite.aead().key_len()], vec![0; 12]);
        expand_label(&secret.prk(), b"key", &[], &mut key).unwrap();
        expand_label(&secret.prk(), b"iv", &[], &mut iv).unwrap();
        (key, iv)
    }

    /// RFC 8448 §3, Simple 1-RTT Handshake.
    #[test]
    fn rfc_8448_trace() {
        let shared = hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d");
        let hellos = hex("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8");
        let secrets = HandshakeSecrets::new(Suite::Aes128GcmSha256, &shared, &hellos).unwrap();
        assert_eq!(secrets.client.bytes(), hex("b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"));
        assert_eq!(secrets.server.bytes(), hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"));
        let (key, iv) = key_and_iv(&secrets.server);
        assert_eq!(key, hex("3fce516009c21727d0f2e4e86ee403bc"));
        assert_eq!(iv, hex("5d313eb2671276ee13000b30"));

        let flight = hex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13");
        let application = secrets.master.application(&flight).unwrap();
        assert_eq!(application.client.bytes(), hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"));
        assert_eq!(application.server.bytes(), hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"));
        let (key, iv) = key_and_iv(&application.client);
        assert_eq!(key, hex("17422dda596ed5d9acd890e3c63f5051"));
        assert_eq!(iv, hex("5b78923dee08579033e523d9"));

        let finished = hmac::sign(&secrets.client.finished_key().unwrap(), &flight);
        assert_eq!(finished.as_ref(), hex("a8ec436d677634ae525ac1fcebe11a039ec17694fac6e98527b642f2edd5ce61"));
    }

    /// The published walk through a connection with SHA-384 (The Illustrated TLS 1.3 Connection).
    #[test]
    fn sha_384_trace() {
        let shared = hex("df4a291baa1eb7cfa6934b29b474baad2697e29f1f920dcc77c8a0a088447624");
        let hellos = hex("e05f64fcd082bdb0dce473adf669c2769f257a1c75a51b7887468b5e0e7a7de4
                          f4d34555112077f16e079019d5a845bd");
        let secrets = HandshakeSecrets::new(Suite::Aes256GcmSha384, &shared, &hellos).unwrap();
        let client = hex("db89d2d6df0e84fed74a2288f8fd4d0959f790ff23946cdf4c26d85e51bebd42
                          ae184501972f8d30c4a3e4a3693d0ef0");
        let server = hex("23323da031634b241dd37d61032b62a4f450584d1f7f47983ba2f7cc0cdcc39a
                          68f481f2b019f9403a3051908a5d1622");
        assert_eq!(secrets.client.bytes(), client);
        assert_eq!(secrets.server.bytes(), server);
    }

    #[test]
    fn secrets_are_redacted() {
        let secrets = HandshakeSecrets::new(Suite::Aes128GcmSha256, &[1; 32], &[2; 32]).unwrap();
        let shown = format!("{secrets:?} {:?}", secrets.client.record_key().unwrap());
        assert_eq!(shown.matches("[redacted]").count(), 4, "{shown}");
        assert!(!shown.contains(", 1"), "{shown}");
    }
}
