//! A REALITY server that follows a script.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, X25519};
use aws_lc_rs::hmac;
use aws_lc_rs::kem::{EncapsulationKey, ML_KEM_768};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};

use super::certificate;
use super::hello::Hello;
use crate::auth::{AuthKey, SESSION_ID};
use crate::error::Alert;
use crate::options::{ClientVersion, MlDsaKey, Options, PublicKey, ServerName, ShortId};
use crate::record::{Decrypter, Encrypter, Framed, frame, kind};
use crate::schedule::{HandshakeSecrets, MasterSecret, TrafficSecret};
use crate::shares::{ML_KEM_CIPHERTEXT, agree, group};
use crate::suite::Transcript;
use crate::wire::{put_message, put_u16, put_vec};

/// The keys of a server.
#[derive(Clone, Debug)]
pub struct Identity {
    private: [u8; 32],
    certificate: [u8; 32],
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
        options.mldsa65_verify = self.ml_dsa().map(|pair| {
            let key: Box<[u8]> = pair.public_key().as_ref().into();
            MlDsaKey::new(key.try_into().unwrap())
        });
        options
    }

    fn ml_dsa(&self) -> Option<PqdsaKeyPair> {
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
    /// What a site does when it is asked for by a hello that is not accepted.
    pub site_chooses_h2: bool,
    /// The site also asks for a client certificate and uses ALPS.
    pub site_is_curious: bool,
    /// What goes wrong.
    pub fault: Option<Fault>,
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
            site_chooses_h2: true,
            site_is_curious: false,
            fault: None,
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

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These bytes instead of a ServerHello.
    Raw(Vec<u8>),
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

/// A REALITY server, or, for clients that do not authenticate, the site behind it. Bytes in, bytes out.
pub struct TestServer {
    identity: Identity,
    script: Script,
    inbox: Vec<u8>,
    output: Vec<u8>,
    keys: Option<Keys>,
    received: Received,
    claim: Option<Claim>,
    hello: Option<Vec<u8>>,
}

struct Keys {
    read: Decrypter,
    write: Encrypter,
    /// Until the client's Finished.
    waiting: Option<Waiting>,
}

struct Waiting {
    transcript: Transcript,
    finished: hmac::Key,
    application: TrafficSecret,
}

impl TestServer {
    /// A server that waits for a hello.
    #[must_use]
    pub fn new(identity: Identity, script: Script) -> Self {
        Self {
            identity,
            script,
            inbox: Vec::new(),
            output: Vec::new(),
            keys: None,
            received: Received::default(),
            claim: None,
            hello: None,
        }
    }

    /// A server behind the handshake.
    pub(super) fn open(client: TrafficSecret, server: TrafficSecret) -> Self {
        let mut open = Self::new(Identity::new(1), Script::default());
        let (read, write) = (Decrypter::new(client).unwrap(), Encrypter::new(server).unwrap());
        open.keys = Some(Keys { read, write, waiting: None });
        open
    }

    /// Takes in what the client sent, in any pieces.
    ///
    /// # Panics
    /// When the client breaks the protocol.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        loop {
            let mut inbox = std::mem::take(&mut self.inbox);
            let framed = frame(&mut inbox).unwrap();
            let total = framed.total();
            let Framed::Whole { header, payload } = framed else {
                self.inbox = inbox;
                return;
            };
            self.record(header, payload);
            inbox.drain(..total);
            self.inbox = inbox;
        }
    }

    /// What to send to the client now.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// What came after the handshake.
    #[must_use]
    pub const fn received(&self) -> &Received {
        &self.received
    }

    /// Takes the application data out.
    #[must_use]
    pub fn take_data(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received.data)
    }

    /// What the client claimed, if it was accepted.
    #[must_use]
    pub const fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// The client's hello, as a handshake message.
    #[must_use]
    pub fn hello(&self) -> Option<&[u8]> {
        self.hello.as_deref()
    }

    /// Sends application data.
    pub fn send(&mut self, data: &[u8]) {
        data.chunks(16_384).for_each(|part| self.send_record(kind::APPLICATION_DATA, part, 0));
    }

    /// Sends an empty application record with zeros inside, as servers that imitate tickets do.
    pub fn send_empty(&mut self, padding: usize) {
        self.send_record(kind::APPLICATION_DATA, &[], padding);
    }

    /// Sends a NewSessionTicket of about `length` bytes.
    pub fn send_ticket(&mut self, length: usize) {
        let mut message = Vec::new();
        put_message(&mut message, 4, |out| {
            out.extend_from_slice(&[0, 0, 1, 0, 1, 2, 3, 4]);
            put_vec::<1>(out, |out| out.extend_from_slice(&[0; 8]));
            put_vec::<2>(out, |out| out.resize(out.len() + length, 0xab));
            put_vec::<2>(out, |_| {});
        });
        message.chunks(16_384).for_each(|part| self.send_record(kind::HANDSHAKE, part, 0));
    }

    /// Sends a KeyUpdate and changes the key.
    pub fn send_key_update(&mut self, request: bool) {
        self.send_record(kind::HANDSHAKE, &[24, 0, 0, 1, u8::from(request)], 0);
        self.keys().write.update().unwrap();
    }

    /// Sends an alert.
    pub fn send_alert(&mut self, alert: Alert) {
        self.send_record(kind::ALERT, &alert.record_content(), 0);
    }

    /// Sends any encrypted record.
    pub fn send_record(&mut self, kind: u8, content: &[u8], padding: usize) {
        let mut output = std::mem::take(&mut self.output);
        self.keys().write.seal_padded(kind, content, padding, &mut output).unwrap();
        self.output = output;
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    fn keys(&mut self) -> &mut Keys {
        self.keys.as_mut().expect("a handshake first")
    }

    fn record(&mut self, header: [u8; 5], payload: &mut [u8]) {
        match (header[0], &mut self.keys) {
            (kind::HANDSHAKE, None) => {
                assert_eq!(header[..3], [22, 3, 1], "the first record");
                self.answer(payload.to_vec());
            }
            (kind::CHANGE_CIPHER_SPEC, _) => assert_eq!(payload, [1]),
            (kind::ALERT, _) => self.received.alerts.push(Alert(payload[1])),
            (kind::APPLICATION_DATA, Some(keys)) => {
                let (kind, content) = keys.read.open(header, payload).unwrap();
                let content = content.to_vec();
                self.content(kind, &content);
            }
            (kind, _) => panic!("record of type {kind}"),
        }
    }

    fn content(&mut self, kind: u8, content: &[u8]) {
        match kind {
            kind::ALERT => self.received.alerts.push(Alert(content[1])),
            kind::APPLICATION_DATA => {
                assert_eq!(self.received.finished, Some(true), "data before Finished");
                self.received.data.extend_from_slice(content);
            }
            kind::HANDSHAKE if self.keys().waiting.is_some() => self.client_flight(content),
            kind::HANDSHAKE => {
                assert_eq!(content[..4], [24, 0, 0, 1], "a KeyUpdate");
                self.received.key_updates += 1;
                self.keys().read.update().unwrap();
            }
            kind => panic!("content type {kind}"),
        }
    }

    fn client_flight(&mut self, mut content: &[u8]) {
        let mut waiting = self.keys().waiting.take().unwrap();
        while !content.is_empty() {
            let length = usize::from(content[2]) << 8 | usize::from(content[3]);
            let (message, rest) = content.split_at(4 + length);
            content = rest;
            if message[0] == 20 {
                let right = hmac::verify(&waiting.finished, waiting.transcript.current().as_ref(), &message[4..]);
                self.received.finished = Some(right.is_ok());
                assert!(content.is_empty(), "data behind Finished");
                self.keys().read = Decrypter::new(waiting.application).unwrap();
                return;
            }
            self.received.extra_messages.push(message[0]);
            waiting.transcript.add(message);
        }
        self.keys().waiting = Some(waiting);
    }

    /// Judges the hello and sends everything up to Finished.
    fn answer(&mut self, message: Vec<u8>) {
        let hello = Hello::read(&message);
        let auth = self.authenticate(&message, &hello);
        match &self.script.fault {
            Some(Fault::Raw(bytes)) => self.output.extend_from_slice(bytes),
            Some(Fault::HelloRetry) => self.hello_retry(&hello),
            Some(Fault::Tls12) => self.tls12(),
            _ => self.flight(&message, &hello, auth.as_ref()),
        }
        self.hello = Some(message);
    }

    /// Spec: vless-reality §3.2.
    fn authenticate(&mut self, message: &[u8], hello: &Hello) -> Option<AuthKey> {
        let policy = self.script.policy;
        let shares = hello.key_shares();
        let at = |group| shares.iter().position(|(g, _)| *g == group);
        let hybrid_first = at(group::X25519MLKEM768).is_some_and(|h| at(group::X25519).is_none_or(|x| h < x));
        if hello.server_name() != self.identity.server_name || (policy.demand_hybrid && !hybrid_first) {
            return None;
        }
        let peer = hello.key_share(group::X25519)?;
        let private = PrivateKey::from_private_key(&X25519, &self.identity.private).unwrap();
        let auth = AuthKey::derive(&agree(&private, &peer)?, &hello.random).unwrap();

        let mut zeroed = message.to_vec();
        let mut sealed: Vec<u8> = zeroed[SESSION_ID..SESSION_ID + 32].to_vec();
        zeroed[SESSION_ID..SESSION_ID + 32].fill(0);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, auth.bytes()).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&hello.random[20..]).unwrap();
        let claim = key.open_in_place(nonce, Aad::from(&zeroed), &mut sealed).ok()?;
        assert_eq!(claim[3], 0, "the reserved byte");
        let claim = Claim {
            version: ClientVersion(claim[..3].try_into().unwrap()),
            unix_time: u32::from_be_bytes(claim[4..8].try_into().unwrap()),
            short_id: ShortId(claim[8..].try_into().unwrap()),
        };
        let in_time = policy.clock.is_none_or(|(now, slack)| now.abs_diff(claim.unix_time) <= slack);
        if claim.version < policy.min_version || claim.short_id != self.identity.short_id || !in_time {
            return None;
        }
        self.claim = Some(claim);
        Some(auth)
    }

    fn hello_retry(&mut self, hello: &Hello) {
        let random = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"HelloRetryRequest");
        let mut message = Vec::new();
        put_message(&mut message, 2, |out| {
            server_hello(out, random.as_ref(), &hello.session_id, 0x1301, &[(43, &[3, 4]), (51, &[0, 0x17])]);
        });
        self.in_the_clear(&message);
    }

    fn tls12(&mut self) {
        let mut message = Vec::new();
        put_message(&mut message, 2, |out| server_hello(out, &[1; 32], &[], 0xc02f, &[(0xff01, &[0])]));
        self.in_the_clear(&message);
    }

    fn in_the_clear(&mut self, message: &[u8]) {
        let content = match self.script.layout {
            Layout::Split { content } => content,
            _ => 16_384,
        };
        for part in message.chunks(content) {
            self.output.extend_from_slice(&[kind::HANDSHAKE, 3, 3]);
            put_vec::<2>(&mut self.output, |out| out.extend_from_slice(part));
        }
    }

    fn flight(&mut self, message: &[u8], hello: &Hello, auth: Option<&AuthKey>) {
        let fault = self.script.fault.clone();
        let suite = crate::suite::Suite::from(self.script.suite);
        let (share, shared) = exchange(self.script.group, hello);
        let mut answer = Vec::new();
        put_message(&mut answer, 2, |out| {
            let session_id = if fault == Some(Fault::SessionId) { &[9; 32][..] } else { &hello.session_id };
            let id = match (&fault, suite) {
                (Some(Fault::UnknownSuite), _) => 0x1304,
                (_, crate::suite::Suite::Aes128GcmSha256) => 0x1301,
                (_, crate::suite::Suite::Aes256GcmSha384) => 0x1302,
                (_, crate::suite::Suite::ChaCha20Poly1305Sha256) => 0x1303,
            };
            // Some targets put supported_groups where it does not belong; REALITY passes it on.
            server_hello(out, &[3; 32], session_id, id, &[(10, &[0, 2, 0, 0x1d]), (51, &share), (43, &[3, 4])]);
        });
        self.in_the_clear(&answer);
        for _ in 0..self.script.change_cipher_specs {
            self.output.extend_from_slice(&[20, 3, 3, 0, 1, 1]);
        }

        let mut transcript = Transcript::new(suite.hash());
        transcript.add(message);
        transcript.add(&answer);
        let secrets = HandshakeSecrets::new(suite, &shared, transcript.current().as_ref()).unwrap();
        let finished = (secrets.server.finished_key().unwrap(), secrets.client.finished_key().unwrap());
        let read = Decrypter::new(secrets.client).unwrap();
        let mut write = Encrypter::new(secrets.server).unwrap();
        if let Some(Fault::AlertInFlight(alert)) = fault {
            write.seal_alert(alert, &mut self.output).unwrap();
        }
        let messages = self.messages([message, &answer], auth, &mut transcript, &finished.0);
        self.spread(&messages, &mut write);
        self.change_keys(read, transcript, finished.1, &secrets.master);
    }

    /// EncryptedExtensions to Finished.
    fn messages(
        &self,
        hellos: [&[u8]; 2],
        auth: Option<&AuthKey>,
        transcript: &mut Transcript,
        finished: &hmac::Key,
    ) -> Vec<Vec<u8>> {
        let fault = self.script.fault.as_ref();
        let mut messages = vec![self.encrypted_extensions(auth.is_some())];
        if auth.is_none() && self.script.site_is_curious {
            messages.push(vec![13, 0, 0, 11, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
        }
        messages.push(self.certificate(hellos, auth));
        messages.iter().for_each(|message| transcript.add(message));

        let mut verify = Vec::new();
        put_message(&mut verify, 15, |out| {
            let signed =
                [&[b' '; 64], &b"TLS 1.3, server CertificateVerify\0"[..], transcript.current().as_ref()].concat();
            let mut signature = self.pair().sign(&signed).as_ref().to_vec();
            signature[5] ^= u8::from(fault == Some(&Fault::BadCertificateVerify));
            let ours = auth.is_some() && fault != Some(&Fault::WrongScheme);
            put_u16(out, if ours { 0x0807 } else { 0x0403 });
            put_vec::<2>(out, |out| out.extend_from_slice(&signature));
        });
        transcript.add(&verify);
        messages.push(verify);

        let mut last = Vec::new();
        put_message(&mut last, 20, |out| {
            let mut mac = hmac::sign(finished, transcript.current().as_ref()).as_ref().to_vec();
            mac[7] ^= u8::from(fault == Some(&Fault::BadFinished));
            out.extend_from_slice(&mac);
        });
        transcript.add(&last);
        match fault {
            Some(Fault::OutOfOrder) => messages.insert(0, last),
            Some(Fault::BehindFinished) => messages.push([&*last, &[8, 0, 0, 2, 0, 0]].concat()),
            _ => messages.push(last),
        }
        messages
    }

    fn encrypted_extensions(&self, ours: bool) -> Vec<u8> {
        let mut message = Vec::new();
        put_message(&mut message, 8, |out| {
            put_vec::<2>(out, |out| {
                if self.script.fault == Some(Fault::UnsolicitedExtension) {
                    out.extend_from_slice(&[0x12, 0x34, 0, 0]);
                }
                if !ours && self.script.site_chooses_h2 {
                    out.extend_from_slice(&[0, 16, 0, 5, 0, 3, 2, b'h', b'2']);
                }
                if !ours && self.script.site_is_curious {
                    out.extend_from_slice(&[0x44, 0xcd, 0, 0]);
                }
            });
        });
        message
    }

    fn certificate(&self, hellos: [&[u8]; 2], auth: Option<&AuthKey>) -> Vec<u8> {
        if self.script.fault == Some(Fault::HugeMessage) {
            return vec![11, 0x10, 0, 0, 0, 0, 0];
        }
        let der = auth.map_or_else(certificate::genuine, |auth| self.reality_certificate(hellos, auth));
        let mut message = Vec::new();
        let compressed = self.script.fault == Some(Fault::CompressedCertificate);
        put_message(&mut message, if compressed { 25 } else { 11 }, |out| {
            out.push(0);
            put_vec::<3>(out, |out| {
                put_vec::<3>(out, |out| out.extend_from_slice(&der));
                put_u16(out, 0);
            });
        });
        message
    }

    fn reality_certificate(&self, hellos: [&[u8]; 2], auth: &AuthKey) -> Vec<u8> {
        let key: [u8; 32] = self.pair().public_key().as_ref().try_into().unwrap();
        let mut mac = hmac::sign(&auth.mac(), &key).as_ref().to_vec();
        mac[63] ^= u8::from(self.script.fault == Some(Fault::BadHmac));
        let extension = self.identity.ml_dsa().map(|pair| {
            let message = hmac::sign(&auth.mac(), &[&key, hellos[0], hellos[1]].concat());
            let mut signature = vec![0; 3309];
            pair.sign(message.as_ref(), &mut signature).unwrap();
            signature[1000] ^= u8::from(self.script.fault == Some(Fault::BadMlDsa));
            signature
        });
        certificate::reality(&key, &mac, extension.as_deref())
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.identity.certificate).unwrap()
    }

    fn spread(&mut self, messages: &[Vec<u8>], write: &mut Encrypter) {
        let all = messages.concat();
        let (parts, padding): (Vec<&[u8]>, _) = match self.script.layout {
            Layout::PerMessage { padding } => (messages.iter().map(|m| &**m).collect(), padding),
            Layout::Coalesced { padding } => (vec![&all], padding),
            Layout::Split { content } => (all.chunks(content).collect(), 0),
        };
        for part in parts {
            write.seal_padded(kind::HANDSHAKE, part, padding, &mut self.output).unwrap();
        }
    }

    fn change_keys(&mut self, read: Decrypter, transcript: Transcript, finished: hmac::Key, master: &MasterSecret) {
        let secrets = master.application(transcript.current().as_ref()).unwrap();
        let write = Encrypter::new(secrets.server).unwrap();
        let waiting = Some(Waiting { transcript, finished, application: secrets.client });
        self.keys = Some(Keys { read, write, waiting });
        for padding in self.script.empty_records.clone() {
            self.send_empty(padding);
        }
    }
}

fn server_hello(out: &mut Vec<u8>, random: &[u8], session_id: &[u8], suite: u16, extensions: &[(u16, &[u8])]) {
    out.extend_from_slice(&[3, 3]);
    out.extend_from_slice(random);
    put_vec::<1>(out, |out| out.extend_from_slice(session_id));
    put_u16(out, suite);
    out.push(0);
    put_vec::<2>(out, |out| {
        for (kind, body) in extensions {
            put_u16(out, *kind);
            put_vec::<2>(out, |out| out.extend_from_slice(body));
        }
    });
}

/// The body of ServerHello's key_share, and the (EC)DHE input.
fn exchange(chosen: Group, hello: &Hello) -> (Vec<u8>, Vec<u8>) {
    let (algorithm, group) = match chosen {
        Group::X25519 => (&X25519, group::X25519),
        Group::Hybrid => (&X25519, group::X25519MLKEM768),
        Group::P256 => (&ECDH_P256, group::SECP256R1),
    };
    let theirs = hello.key_share(group).expect("a share of the target's group");
    let private = PrivateKey::generate(algorithm).unwrap();
    let public = private.compute_public_key().unwrap();
    let (mut share, mut shared, theirs) = match chosen {
        Group::Hybrid => {
            let kem = EncapsulationKey::new(&ML_KEM_768, &theirs[..1184]).unwrap();
            let (ciphertext, secret) = kem.encapsulate().unwrap();
            assert_eq!(ciphertext.as_ref().len(), ML_KEM_CIPHERTEXT);
            (ciphertext.as_ref().to_vec(), secret.as_ref().to_vec(), theirs[1184..].to_vec())
        }
        _ => (Vec::new(), Vec::new(), theirs),
    };
    share.extend_from_slice(public.as_ref());
    shared.extend_from_slice(&agree(&private, &theirs).unwrap());
    let mut body = Vec::new();
    put_u16(&mut body, group);
    put_vec::<2>(&mut body, |out| out.extend_from_slice(&share));
    (body, shared)
}
