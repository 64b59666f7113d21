//! What the server says from ServerHello to Finished.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, X25519};
use aws_lc_rs::hmac;
use aws_lc_rs::kem::{EncapsulationKey, ML_KEM_768};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::super::certificate;
use super::super::hello::Hello;
use super::super::script::{Group, Layout, Sabotage, Secrets};
use super::{Keys, TestServer, Waiting};
use crate::auth::AuthKey;
use crate::record::{Decrypter, Encrypter, kind};
use crate::schedule::{HandshakeSecrets, MasterSecret};
use crate::shares::{ML_KEM_CIPHERTEXT, agree, group};
use crate::suite::{Suite, Transcript};
use crate::wire::{put_message, put_u16, put_vec};

impl TestServer {
    pub(super) fn hello_retry(&mut self, hello: &Hello) {
        let random = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"HelloRetryRequest");
        let mut message = Vec::new();
        put_message(&mut message, 2, |out| {
            server_hello(out, random.as_ref(), &hello.session_id, 0x1301, &[(43, &[3, 4]), (51, &[0, 0x17])]);
        });
        self.in_the_clear(&message);
    }

    pub(super) fn tls12(&mut self) {
        let mut message = Vec::new();
        put_message(&mut message, 2, |out| server_hello(out, &[1; 32], &[], 0xc02f, &[(0xff01, &[0])]));
        message.extend_from_slice(&[11, 0, 0, 3, 0, 0, 0]); // such servers put more into the same record
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

    pub(super) fn flight(&mut self, message: &[u8], hello: &Hello, auth: Option<&AuthKey>) {
        let sabotage = self.script.sabotage.clone();
        let suite = Suite::from(self.script.suite);
        let (share, shared) = exchange(self.script.group, hello);
        let mut answer = Vec::new();
        put_message(&mut answer, 2, |out| {
            let session_id = if sabotage == Some(Sabotage::SessionId) { &[9; 32][..] } else { &hello.session_id };
            let id = match (&sabotage, suite) {
                (Some(Sabotage::UnknownSuite), _) => 0x1304,
                (_, Suite::Aes128GcmSha256) => 0x1301,
                (_, Suite::Aes256GcmSha384) => 0x1302,
                (_, Suite::ChaCha20Poly1305Sha256) => 0x1303,
            };
            let extensions: &[(u16, &[u8])] = &[(10, &[0, 2, 0, 0x1d]), (51, &share), (43, &[3, 4])];
            let skip = usize::from(!self.script.misplaced_extension);
            server_hello(out, &[3; 32], session_id, id, &extensions[skip..]);
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
        let handshake = [secrets.client.bytes().to_vec(), secrets.server.bytes().to_vec()];
        let read = Decrypter::new(secrets.client).unwrap();
        let mut write = Encrypter::new(secrets.server).unwrap();
        if let Some(Sabotage::AlertInFlight(alert)) = sabotage {
            write.seal_alert(alert, &mut self.output).unwrap();
        }
        let messages = match sabotage {
            Some(Sabotage::Flight(bytes)) => vec![bytes],
            _ => self.messages([message, &answer], auth, &mut transcript, &finished.0),
        };
        self.spread(&messages, &mut write);
        self.change_keys(read, transcript, finished.1, &secrets.master, handshake);
    }

    /// EncryptedExtensions to Finished.
    fn messages(
        &self,
        hellos: [&[u8]; 2],
        auth: Option<&AuthKey>,
        transcript: &mut Transcript,
        finished: &hmac::Key,
    ) -> Vec<Vec<u8>> {
        let sabotage = self.script.sabotage.as_ref();
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
            signature[5] ^= u8::from(sabotage == Some(&Sabotage::BadCertificateVerify));
            let ours = auth.is_some() && sabotage != Some(&Sabotage::WrongScheme);
            put_u16(out, if ours { 0x0807 } else { 0x0403 });
            put_vec::<2>(out, |out| out.extend_from_slice(&signature));
        });
        transcript.add(&verify);
        messages.push(verify);

        let mut last = Vec::new();
        put_message(&mut last, 20, |out| {
            let mut mac = hmac::sign(finished, transcript.current().as_ref()).as_ref().to_vec();
            mac[7] ^= u8::from(sabotage == Some(&Sabotage::BadFinished));
            out.extend_from_slice(&mac);
        });
        transcript.add(&last);
        match sabotage {
            Some(Sabotage::OutOfOrder) => messages.insert(0, last),
            Some(Sabotage::BehindFinished) => messages.push([&*last, &[8, 0, 0, 2, 0, 0]].concat()),
            _ => messages.push(last),
        }
        messages
    }

    fn encrypted_extensions(&self, ours: bool) -> Vec<u8> {
        let mut message = Vec::new();
        put_message(&mut message, 8, |out| {
            put_vec::<2>(out, |out| {
                if self.script.sabotage == Some(Sabotage::UnsolicitedExtension) {
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
        if self.script.sabotage == Some(Sabotage::HugeMessage) {
            return vec![11, 0x10, 0, 0, 0, 0, 0];
        }
        let der = auth.map_or_else(certificate::genuine, |auth| self.reality_certificate(hellos, auth));
        let mut message = Vec::new();
        let compressed = self.script.sabotage == Some(Sabotage::CompressedCertificate);
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
        mac[63] ^= u8::from(self.script.sabotage == Some(Sabotage::BadHmac));
        let extension = self.identity.ml_dsa().map(|pair| {
            let message = hmac::sign(&auth.mac(), &[&key, hellos[0], hellos[1]].concat());
            let mut signature = vec![0; 3309];
            pair.sign(message.as_ref(), &mut signature).unwrap();
            signature[1000] ^= u8::from(self.script.sabotage == Some(Sabotage::BadMlDsa));
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

    fn change_keys(
        &mut self,
        read: Decrypter,
        transcript: Transcript,
        finished: hmac::Key,
        master: &MasterSecret,
        [client_handshake, server_handshake]: [Vec<u8>; 2],
    ) {
        let secrets = master.application(transcript.current().as_ref()).unwrap();
        self.secrets = Some(Secrets {
            client_handshake,
            server_handshake,
            client_application: secrets.client.bytes().to_vec(),
            server_application: secrets.server.bytes().to_vec(),
        });
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
