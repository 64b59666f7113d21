//! A REALITY server that follows a script.

mod flight;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::hmac;

use super::hello::Hello;
use super::script::{Claim, Identity, Received, Sabotage, Script, Secrets};
use crate::auth::{AuthKey, SESSION_ID};
use crate::error::Alert;
use crate::options::{ClientVersion, ShortId};
use crate::record::{Decrypter, Encrypter, Framed, frame, kind};
use crate::schedule::TrafficSecret;
use crate::shares::{agree, group};
use crate::suite::Transcript;
use crate::wire::{put_message, put_vec};

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
    secrets: Option<Secrets>,
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
            secrets: None,
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

    /// The connection's secrets, once it has answered.
    #[must_use]
    pub const fn secrets(&self) -> Option<&Secrets> {
        self.secrets.as_ref()
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
        match &self.script.sabotage {
            Some(Sabotage::Raw(bytes)) => self.output.extend_from_slice(bytes),
            Some(Sabotage::HelloRetry) => self.hello_retry(&hello),
            Some(Sabotage::Tls12) => self.tls12(),
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
}
