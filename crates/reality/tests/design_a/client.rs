//! A REALITY client made of stock rustls, through its public API only. It shares no line with the crate it is compared
//! with: hello, key schedule, records and CertificateVerify are rustls', the rest is in this file.
//!
//! rustls cannot be told a session id, but it draws one from the `SecureRandom` it is given. So a hello is made twice
//! from one script: first with zeros for a session id, then with what was sealed over those bytes.
//!
//! ```text
//!  pass 1:  script = 00…00 | order | random      → hello with a session id of zeros
//!           session id = AES-256-GCM(auth key, claim, AAD = that hello)
//!  pass 2:  script = session id | order | random → the same hello, sealed
//! ```
//!
//! Its hello looks like rustls, not like a browser: for tests only.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex};

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, ML_KEM_768};
use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey as Verifier};
use aws_lc_rs::{aead, hkdf, hmac};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnectionData, Resumption, UnbufferedClientConnection};
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
    aws_lc_rs as stock, verify_tls13_signature,
};
use rustls::kernel::KernelConnection;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct, Error, KeyLog,
    NamedGroup, PeerIncompatible, ProtocolVersion, SignatureScheme, Tls13CipherSuite,
};

/// What to know of a server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) public_key: [u8; 32],
    pub(crate) short_id: [u8; 8],
    /// The client version to announce.
    pub(crate) version: [u8; 3],
    /// The key that must have signed, too.
    pub(crate) ml_dsa: Option<Vec<u8>>,
}

/// A handshake under way.
pub(crate) struct Handshake {
    connection: UnbufferedClientConnection,
    hellos: Arc<Mutex<Vec<u8>>>,
    log: Arc<Log>,
    held: Vec<u8>,
    output: Vec<u8>,
}

impl Handshake {
    pub(crate) fn new(server: &Server, unix_time: u32) -> Result<Box<Self>, Error> {
        let keys = Arc::new(Keys::generate()?);
        let (mut random, mut order) = ([0; 32], [0; 2]);
        aws_lc_rs::rand::fill(&mut random).map_err(|_| failed("random"))?;
        aws_lc_rs::rand::fill(&mut order).map_err(|_| failed("random"))?;
        let hellos = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::new(Log::default());
        let pass = |session_id: &[u8; 32], auth: &[u8; 32]| {
            let script = [&session_id[..], &order, &random].concat();
            SCRIPT.with_borrow_mut(|s| *s = Script { random: script.into(), keys: Some(Arc::clone(&keys)) });
            let judge = Judge {
                mac: hmac::Key::new(hmac::HMAC_SHA512, auth),
                server: server.clone(),
                hellos: Arc::clone(&hellos),
            };
            begin(&server.name, judge, Arc::clone(&log))
        };

        let (_, draft) = pass(&[0; 32], &[0; 32])?;
        let auth = auth_key(&keys.x25519, &server.public_key, &random)?;
        let session_id = seal(&auth, &random, server, unix_time, &draft[5..])?;
        let (connection, output) = pass(&session_id, &auth)?;
        assert_eq!(draft[..44], output[..44], "the passes differ in nothing but the session id");
        assert_eq!((&draft[76..], &session_id[..]), (&output[76..], &output[44..76]));

        lock(&hellos).extend_from_slice(&output[5..]);
        Ok(Box::new(Self { connection, hellos, log, held: Vec::new(), output }))
    }

    /// What to send now.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        mem::take(&mut self.output)
    }

    /// Takes in bytes in any pieces; strictly one record at a time, so that nothing is read ahead.
    pub(crate) fn feed(mut self: Box<Self>, bytes: &[u8]) -> Result<Progress, Error> {
        self.held.extend_from_slice(bytes);
        while let Some(length) = record(&self.held) {
            let rest = self.held.split_off(length);
            let mut incoming = mem::replace(&mut self.held, rest);
            if incoming.starts_with(&[22]) {
                lock(&self.hellos).extend_from_slice(&incoming[5..]); // ServerHello is the only one in the clear
            }
            if turn(&mut self.connection, &mut incoming, &mut self.output)? {
                let connection = Connection::new(self.connection, &self.log)?;
                return Ok(Progress::Done(Box::new(Done { connection, output: self.output, rest: self.held })));
            }
        }
        Ok(Progress::NeedMore(self))
    }
}

pub(crate) enum Progress {
    NeedMore(Box<Handshake>),
    Done(Box<Done>),
}

pub(crate) struct Done {
    pub(crate) connection: Connection,
    /// To be sent.
    pub(crate) output: Vec<u8>,
    /// What came behind the server's Finished.
    pub(crate) rest: Vec<u8>,
}

/// An established connection, its records sealed and opened by rustls' ciphers outside of any rustls connection.
pub(crate) struct Connection {
    kernel: KernelConnection<ClientConnectionData>,
    suite: &'static Tls13CipherSuite,
    encrypt: (u64, Box<dyn MessageEncrypter>),
    decrypt: (u64, Box<dyn MessageDecrypter>),
    /// Secrets in the order and under the names of NSS' key log.
    pub(crate) secrets: Vec<(String, Vec<u8>)>,
}

/// What a record held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Data(Vec<u8>),
    KeyUpdate,
    /// The description of an alert.
    Alert(u8),
}

impl Connection {
    fn new(connection: UnbufferedClientConnection, log: &Log) -> Result<Self, Error> {
        let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
        let suite = kernel.negotiated_cipher_suite().tls13().ok_or_else(|| failed("TLS 1.3"))?;
        let (encrypt, decrypt) = (encrypter(suite, secrets.tx), decrypter(suite, secrets.rx));
        let secrets = lock(&log.0).clone();
        Ok(Self { kernel, suite, encrypt, decrypt, secrets })
    }

    pub(crate) fn seal(&mut self, data: &[u8]) -> Result<Vec<u8>, Error> {
        let records: Result<Vec<_>, _> =
            data.chunks(16_384).map(|part| self.seal_record(ContentType::ApplicationData, part)).collect();
        Ok(records?.concat())
    }

    pub(crate) fn seal_close_notify(&mut self) -> Result<Vec<u8>, Error> {
        self.seal_record(ContentType::Alert, &[1, 0])
    }

    pub(crate) fn key_update(&mut self) -> Result<Vec<u8>, Error> {
        let message = self.seal_record(ContentType::Handshake, &[24, 0, 0, 1, 0])?;
        self.encrypt = encrypter(self.suite, self.kernel.update_tx_secret()?);
        Ok(message)
    }

    fn seal_record(&mut self, typ: ContentType, content: &[u8]) -> Result<Vec<u8>, Error> {
        let (sequence, cipher) = &mut self.encrypt;
        let version = ProtocolVersion::TLSv1_2; // of the record, not of the connection
        let message = OutboundPlainMessage { typ, version, payload: OutboundChunks::Single(content) };
        let sealed = cipher.encrypt(message, *sequence)?;
        *sequence += 1;
        Ok(sealed.encode())
    }

    /// Opens the first record of `bytes` and drops it; `None` when it is not all there.
    pub(crate) fn open(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Opened>, Error> {
        let Some(length) = record(bytes) else { return Ok(None) };
        let rest = bytes.split_off(length);
        let mut sealed = mem::replace(bytes, rest);
        let (sequence, cipher) = &mut self.decrypt;
        let outer = ContentType::from(sealed[0]);
        let message = InboundOpaqueMessage::new(outer, ProtocolVersion::TLSv1_2, &mut sealed[5..]);
        let opened = cipher.decrypt(message, *sequence)?;
        *sequence += 1;
        Ok(Some(match (opened.typ, opened.payload) {
            (ContentType::ApplicationData, data) => Opened::Data(data.to_vec()),
            (ContentType::Alert, &[_, alert]) => Opened::Alert(alert),
            (ContentType::Handshake, &[24, 0, 0, 1, 0 | 1]) => {
                self.decrypt = decrypter(self.suite, self.kernel.update_rx_secret()?);
                Opened::KeyUpdate
            }
            other => return Err(failed(&format!("a record of {other:?}"))),
        }))
    }
}

fn encrypter(
    suite: &Tls13CipherSuite,
    (sequence, secrets): (u64, ConnectionTrafficSecrets),
) -> (u64, Box<dyn MessageEncrypter>) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (sequence, suite.aead_alg.encrypter(key, iv)),
        _ => unreachable!("TLS 1.3 has no other"),
    }
}

fn decrypter(
    suite: &Tls13CipherSuite,
    (sequence, secrets): (u64, ConnectionTrafficSecrets),
) -> (u64, Box<dyn MessageDecrypter>) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (sequence, suite.aead_alg.decrypter(key, iv)),
        _ => unreachable!("TLS 1.3 has no other"),
    }
}

/// Bytes of the record in front, if it is all there.
fn record(bytes: &[u8]) -> Option<usize> {
    let length = 5 + usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]));
    (bytes.len() >= length).then_some(length)
}

/// Makes a connection and its hello's record.
fn begin(name: &str, judge: Judge, log: Arc<Log>) -> Result<(UnbufferedClientConnection, Vec<u8>), Error> {
    let provider = CryptoProvider {
        secure_random: &Scripted,
        kx_groups: vec![&HybridGroup, &X25519Group],
        ..stock::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    config.key_log = log;
    let name = ServerName::try_from(name.to_owned()).map_err(|_| failed("the server's name"))?;
    let mut connection = UnbufferedClientConnection::new(Arc::new(config), name)?;
    let mut hello = Vec::new();
    turn(&mut connection, &mut Vec::new(), &mut hello)?;
    Ok((connection, hello))
}

/// Lets the connection do what it can. Whether the handshake is over.
fn turn(
    connection: &mut UnbufferedClientConnection,
    incoming: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<bool, Error> {
    loop {
        let UnbufferedStatus { discard, state } = connection.process_tls_records(incoming);
        let over = match state? {
            ConnectionState::EncodeTlsData(mut data) => {
                let mut room = vec![0; 4096];
                loop {
                    match data.encode(&mut room) {
                        Ok(n) => break output.extend_from_slice(&room[..n]),
                        Err(EncodeError::InsufficientSize(needs)) => room.resize(needs.required_size, 0),
                        Err(EncodeError::AlreadyEncoded) => break,
                    }
                }
                None
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                None
            }
            ConnectionState::BlockedHandshake => Some(false),
            ConnectionState::WriteTraffic(_) => Some(true),
            other => return Err(failed(&format!("in state {other:?}"))),
        };
        incoming.drain(..discard);
        if let Some(over) = over {
            return Ok(over);
        }
    }
}

/// Spec: vless-reality §2.3.
fn auth_key(own: &PrivateKey, server: &[u8; 32], random: &[u8; 32]) -> Result<[u8; 32], Error> {
    let mut key = [0; 32];
    agree(own, UnparsedPublicKey::new(&X25519, server), failed("the public key"), |shared| {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &random[..20]).extract(shared);
        let okm = secret.expand(&[b"REALITY"], hkdf::HKDF_SHA256).map_err(|_| failed("HKDF"))?;
        okm.fill(&mut key).map_err(|_| failed("HKDF"))
    })?;
    Ok(key)
}

/// Spec: vless-reality §2.2, §2.4.
fn seal(auth: &[u8; 32], random: &[u8; 32], server: &Server, unix_time: u32, hello: &[u8]) -> Result<[u8; 32], Error> {
    let [x, y, z] = server.version;
    let mut sealed = [&[x, y, z, 0][..], &unix_time.to_be_bytes(), &server.short_id].concat();
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, auth).map_err(|_| failed("AES-256-GCM"))?;
    let nonce = aead::Nonce::try_assume_unique_for_key(&random[20..]).map_err(|_| failed("AES-256-GCM"))?;
    aead::LessSafeKey::new(key)
        .seal_in_place_append_tag(nonce, aead::Aad::from(hello), &mut sealed)
        .map_err(|_| failed("AES-256-GCM"))?;
    sealed.try_into().map_err(|_| failed("AES-256-GCM"))
}

/// The private keys of both passes.
struct Keys {
    kem: DecapsulationKey,
    x25519: PrivateKey,
    /// ML-KEM-768's encapsulation key, then X25519's public key.
    share: Vec<u8>,
}

impl Keys {
    fn generate() -> Result<Self, Error> {
        let kem = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| failed("ML-KEM"))?;
        let x25519 = PrivateKey::generate(&X25519).map_err(|_| failed("X25519"))?;
        let mut share = kem
            .encapsulation_key()
            .and_then(|key| Ok(key.key_bytes()?.as_ref().to_vec()))
            .map_err(|_| failed("ML-KEM"))?;
        share.extend_from_slice(x25519.compute_public_key().map_err(|_| failed("X25519"))?.as_ref());
        Ok(Self { kem, x25519, share })
    }

    fn agree(&self, peer: &[u8]) -> Result<Vec<u8>, Error> {
        agree(&self.x25519, UnparsedPublicKey::new(&X25519, peer), failed("X25519"), |shared| Ok(shared.to_vec()))
    }
}

/// What the next connection of this thread draws. rustls wants `&'static` providers, so it cannot be handed to them.
#[derive(Default)]
struct Script {
    random: VecDeque<u8>,
    keys: Option<Arc<Keys>>,
}

thread_local! {
    static SCRIPT: RefCell<Script> = RefCell::default();
}

#[derive(Debug)]
struct Scripted;

impl SecureRandom for Scripted {
    /// In `ClientConnection::new`: 32 bytes of session id, 2 that order the extensions, 32 of random. Nothing later.
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        SCRIPT.with_borrow_mut(|script| {
            out.iter_mut()
                .try_for_each(|byte| script.random.pop_front().map(|next| *byte = next).ok_or(GetRandomFailed))
        })
    }
}

/// X25519MLKEM768 with X25519 beside it: two shares with one X25519 key.
#[derive(Debug)]
struct HybridGroup;

impl SupportedKxGroup for HybridGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let keys = SCRIPT.with_borrow(|script| script.keys.clone()).ok_or(Error::FailedToGetRandomBytes)?;
        Ok(Box::new(Exchange(keys)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

/// Only listed, so that the hybrid group's second share is sent.
#[derive(Debug)]
struct X25519Group;

impl SupportedKxGroup for X25519Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Err(PeerIncompatible::NoKxGroupsInCommon.into()) // after a HelloRetryRequest: not our server
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange(Arc<Keys>);

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, x25519) = peer.split_at_checked(1088).ok_or_else(|| failed("the key share"))?;
        let kem = self.0.kem.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| failed("ML-KEM"))?;
        Ok([kem.as_ref(), &self.0.agree(x25519)?].concat().into())
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((NamedGroup::X25519, &self.0.share[1184..]))
    }

    fn complete_hybrid_component(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        self.0.agree(peer).map(Into::into)
    }

    fn pub_key(&self) -> &[u8] {
        &self.0.share
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

/// Spec: vless-reality §2.5.
#[derive(Debug)]
struct Judge {
    mac: hmac::Key,
    server: Server,
    /// ClientHello and ServerHello.
    hellos: Arc<Mutex<Vec<u8>>>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        const STRANGER: Error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let info = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let key = info.as_ref().strip_prefix(ED25519).ok_or(STRANGER)?;
        let signature = certificate.len().checked_sub(64).map(|at| &certificate[at..]).ok_or(STRANGER)?;
        hmac::verify(&self.mac, key, signature).map_err(|_| STRANGER)?;
        if let Some(ml_dsa) = &self.server.ml_dsa {
            let message = hmac::sign(&self.mac, &[key, &lock(&self.hellos)].concat());
            let extension = certificate.get(126..3435).ok_or(STRANGER)?;
            Verifier::new(&ML_DSA_65, ml_dsa).verify(message.as_ref(), extension).map_err(|_| STRANGER)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &stock::default_provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        stock::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// SubjectPublicKeyInfo up to the key (RFC 8410 §4).
const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

#[derive(Debug, Default)]
struct Log(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Log {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        lock(&self.0).push((label.to_owned(), secret.to_vec()));
    }
}

fn failed(what: &str) -> Error {
    Error::General(format!("REALITY: {what}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
