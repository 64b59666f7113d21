//! Certificates made for this run.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Scratch;

/// The name on every leaf, beside `localhost`, `origin.test` and the loopback addresses.
pub const TARGET: &str = "target.test";

/// A certificate authority of this process and the leaves it signed.
#[derive(Debug)]
pub struct Authority {
    root: CertificateDer<'static>,
    small: Leaf,
    large: Leaf,
    scratch: Scratch,
}

/// A certificate for [`TARGET`] with its key (ECDSA P-256: a browser offers no Ed25519, so a target must not use it).
#[derive(Debug)]
pub struct Leaf {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pem: String,
    key_pem: String,
}

impl Leaf {
    fn new(issuer: &Issuer<'_, KeyPair>, extra_names: usize) -> Self {
        let mut names: Vec<String> = [TARGET, "localhost", "origin.test", "127.0.0.1", "::1"].map(String::from).into();
        names.extend((0..extra_names).map(|n| format!("a-rather-long-name-number-{n}.target.test")));
        let mut params = CertificateParams::new(names).expect("names for a certificate");
        params.distinguished_name.push(DnType::CommonName, TARGET);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = params.signed_by(&key, issuer).expect("a certificate");
        Self {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// As rustls wants it.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    /// As rustls wants it.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// The certificate as PEM text.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key as PEM text.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

impl Authority {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.distinguished_name.push(DnType::CommonName, "a root made for one test run");
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
            let root = params.self_signed(&key).expect("a root certificate");
            let issuer = Issuer::new(params, key);
            let scratch = Scratch::new("authority");
            scratch.write("root.pem", root.pem());
            Self {
                small: Leaf::new(&issuer, 0),
                // An ML-DSA server needs a target whose Certificate record has at least 3,544 bytes (spec §10).
                large: Leaf::new(&issuer, 100),
                root: root.der().clone(),
                scratch,
            }
        })
    }

    /// An ordinary leaf.
    #[must_use]
    pub fn small(&self) -> &Leaf {
        &self.small
    }

    /// A leaf of some 5 KB.
    #[must_use]
    pub fn large(&self) -> &Leaf {
        &self.large
    }

    /// The root as a PEM file, for `curl --cacert` and its like.
    #[must_use]
    pub fn root_file(&self) -> std::path::PathBuf {
        // Statics are not dropped, so the folder of a finished run stays; it is a kilobyte in the temporary folder.
        Path::join(self.scratch.path(), "root.pem")
    }

    /// A store that trusts the root and nothing else.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("our own root");
        Arc::new(roots)
    }
}
