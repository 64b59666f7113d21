//! What a scripted server is and does.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};

use crate::error::Alert;
use crate::options::{ClientVersion, MlDsaKey, Options, PublicKey, ServerName, ShortId};

/// The keys of a server.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) private: [u8; 32],
    pub(super) certificate: [u8; 32],
    ml_dsa: Option<[u8; 32]>,
    /// The only name it answers to; `None` for hellos without one.
    pub server_name: Option<String>,
    /// The only short id it knows.
    pub short_id: ShortId,
}

impl Identity {
    /// Keys made from a number, for `target.test` and short id 0123456789abcdef.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        Self {
            private: [seed; 32],
            certificate: [seed ^ 0xff; 32],
            ml_dsa: None,
            server_name: Some("target.test".into()),
            short_id: "0123456789abcdef".parse().unwrap(),
        }
    }

    /// The same, signing with ML-DSA-65 as well.
    #[must_use]
    pub fn with_ml_dsa(seed: u8) -> Self {
        Self { ml_dsa: Some([seed ^ 0x55; 32]), ..Self::new(seed) }
    }

    /// What a client needs to connect.
    #[must_use]
    pub fn options(&self) -> Options {
        let private = PrivateKey::from_private_key(&X25519, &self.private).unwrap();
        let public = PublicKey(private.compute_public_key().unwrap().as_ref().try_into().unwrap());
        let name = self.server_name.clone().map_or(ServerName::Ip, ServerName::Dns);
        let mut options = Options::new(name, public, self.short_id);
        let ml_dsa = self.ml_dsa_key().map(|key| key.into_boxed_slice().try_into().unwrap());
        options.mldsa65_verify = ml_dsa.map(MlDsaKey::new);
        options
    }

    /// The ML-DSA-65 key it signs with, if it does.
    #[must_use]
    pub fn ml_dsa_key(&self) -> Option<Vec<u8>> {
        self.ml_dsa().map(|pair| pair.public_key().as_ref().to_vec())
    }

    pub(super) fn ml_dsa(&self) -> Option<PqdsaKeyPair> {
        self.ml_dsa.map(|seed| PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seed).unwrap())
    }
}

/// What the server does, and what goes wrong.
#[derive(Clone, Debug)]
pub struct Script {
    /// The cipher suite of the "target".
    pub suite: Suite,
    /// The group of the "target".
    pub group: Group,
    /// How handshake messages are spread over records.
    pub layout: Layout,
    /// What a hello must fulfil.
    pub policy: Policy,
    /// change_cipher_spec records behind ServerHello; real servers send one.
    pub change_cipher_specs: usize,
    /// Empty application records straight behind Finished: the padding in each.
    pub empty_records: Vec<usize>,
    /// The "target" puts supported_groups into its ServerHello, where it does not belong. Some do.
    pub misplaced_extension: bool,
    /// What a site does when it is asked for by a hello that is not accepted.
    pub site_chooses_h2: bool,
    /// The site also asks for a client certificate and uses ALPS.
    pub site_is_curious: bool,
    /// What it does wrong.
    pub sabotage: Option<Sabotage>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            suite: Suite::Aes128,
            group: Group::Hybrid,
            layout: Layout::PerMessage { padding: 0 },
            policy: Policy::default(),
            change_cipher_specs: 1,
            empty_records: Vec::new(),
            misplaced_extension: true,
            site_chooses_h2: true,
            site_is_curious: false,
            sabotage: None,
        }
    }
}

/// Cipher suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are their names")]
pub enum Suite {
    Aes128,
    Aes256,
    ChaCha20,
}

impl From<Suite> for crate::suite::Suite {
    fn from(suite: Suite) -> Self {
        match suite {
            Suite::Aes128 => Self::Aes128GcmSha256,
            Suite::Aes256 => Self::Aes256GcmSha384,
            Suite::ChaCha20 => Self::ChaCha20Poly1305Sha256,
        }
    }
}

/// Groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are their names")]
pub enum Group {
    X25519,
    Hybrid,
    P256,
}

/// How the messages from EncryptedExtensions to Finished are spread over records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One record each, with zeros inside.
    PerMessage {
        /// Zeros in each.
        padding: usize,
    },
    /// All in one record, with zeros inside.
    Coalesced {
        /// Zeros in it.
        padding: usize,
    },
    /// Records of so many bytes of content, wherever messages begin; ServerHello too.
    Split {
        /// Bytes of content.
        content: usize,
    },
}

/// What a hello must fulfil beside the right keys and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The X25519MLKEM768 share must come before X25519's, as Xray 26.9.8 and later demand.
    pub demand_hybrid: bool,
    /// The least version.
    pub min_version: ClientVersion,
    /// The server's clock, and by how many seconds the client's may differ.
    pub clock: Option<(u32, u32)>,
}

impl Default for Policy {
    /// The strictest of what real servers demand by default.
    fn default() -> Self {
        Self { demand_hybrid: true, min_version: ClientVersion([26, 3, 27]), clock: None }
    }
}

/// What the server does wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// These bytes instead of a ServerHello.
    Raw(Vec<u8>),
    /// These bytes of handshake messages, encrypted, instead of EncryptedExtensions to Finished.
    Flight(Vec<u8>),
    /// HelloRetryRequest for P-256.
    HelloRetry,
    /// A TLS 1.2 ServerHello.
    Tls12,
    /// ServerHello with another session id.
    SessionId,
    /// ServerHello with a suite that nobody offered.
    UnknownSuite,
    /// The certificate carries the code of another secret.
    BadHmac,
    /// The certificate is compressed.
    CompressedCertificate,
    /// The signature in CertificateVerify is wrong.
    BadCertificateVerify,
    /// CertificateVerify says ECDSA.
    WrongScheme,
    /// Finished is wrong.
    BadFinished,
    /// The signature by ML-DSA-65 is wrong.
    BadMlDsa,
    /// A message too many behind Finished, in the same record.
    BehindFinished,
    /// An extension nobody offered.
    UnsolicitedExtension,
    /// An encrypted alert instead of the certificate.
    AlertInFlight(Alert),
    /// Finished comes first.
    OutOfOrder,
    /// The Certificate message says it is 1 MiB long.
    HugeMessage,
}

/// What an authenticated client says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The version it announces.
    pub version: ClientVersion,
    /// Its clock, in seconds.
    pub unix_time: u32,
    /// Its short id.
    pub short_id: ShortId,
}

/// What a client has sent after the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Application data.
    pub data: Vec<u8>,
    /// Alerts, in the clear or not.
    pub alerts: Vec<Alert>,
    /// KeyUpdates.
    pub key_updates: usize,
    /// Whether its Finished was right; `None` before it came.
    pub finished: Option<bool>,
    /// Whether it answered ALPS or a certificate request.
    pub extra_messages: Vec<u8>,
}

/// What the keys of a connection grow from, each as long as the suite's hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// client_handshake_traffic_secret.
    pub client_handshake: Vec<u8>,
    /// server_handshake_traffic_secret.
    pub server_handshake: Vec<u8>,
    /// client_application_traffic_secret_0.
    pub client_application: Vec<u8>,
    /// server_application_traffic_secret_0.
    pub server_application: Vec<u8>,
}
