//! What the server says from ServerHello to Finished.

use std::mem;

use aws_lc_rs::hmac;

use super::{Established, Negotiated};
use crate::auth::AuthKey;
use crate::error::{Alert, Error, Misbehaviour};
use crate::hello::{APPLICATION_SETTINGS, ClientHello};
use crate::impostor::{Hints, Impostor};
use crate::options::MlDsaKey;
use crate::record::{Decrypter, Encrypter, Opener, Sealer, kind};
use crate::schedule::{HandshakeSecrets, MasterSecret};
use crate::server_hello::ServerHello;
use crate::shares::group;
use crate::suite::Transcript;
use crate::verify::{self, ServerProven, Stranger, Witness};
use crate::wire::{Reader, put_message, put_u16, put_vec};

/// Our hello is out.
pub(super) struct Opening {
    pub(super) hello: ClientHello,
    pub(super) ml_dsa: Option<MlDsaKey>,
    pub(super) hints: Hints,
}

/// ServerHello is in; everything is encrypted from here.
pub(super) struct Flight {
    decrypter: Decrypter,
    encrypter: Encrypter,
    server_finished: hmac::Key,
    client_finished: hmac::Key,
    master: MasterSecret,
    transcript: Transcript,
    auth: AuthKey,
    ml_dsa: Option<MlDsaKey>,
    hellos: [Vec<u8>; 2],
    offered: Vec<u16>,
    negotiated: Negotiated,
    terms: Terms,
    hints: Hints,
    expect: Expect,
}

/// What a genuine site may ask for, and a browser answers.
#[derive(Default)]
struct Terms {
    h2: bool,
    application_settings: bool,
    certificate_request: bool,
}

/// Which message has to come, with what the ones before have shown.
enum Expect {
    EncryptedExtensions,
    Certificate,
    CertificateVerify(Witness),
    Finished(Result<ServerProven, Stranger>),
    /// None: the handshake has ended or failed.
    Nothing,
}

/// How the handshake ended.
pub(super) enum End {
    Established(Established),
    Stranger(Impostor),
}

impl Opening {
    /// Takes in the ServerHello.
    pub(super) fn answer(self, message: Vec<u8>) -> Result<Flight, Error> {
        let (kind, body) = split(&message)?;
        if kind != SERVER_HELLO {
            return Err(Misbehaviour::Unexpected("handshake message").into());
        }
        let server = ServerHello::read(body, &self.hello.message)?;
        let shared = self.hello.keys.agree(server.group, server.share)?;

        let mut transcript = Transcript::new(server.suite.hash());
        transcript.add(&self.hello.message);
        transcript.add(&message);
        let secrets = HandshakeSecrets::new(server.suite, &shared, transcript.current().as_ref())?;
        Ok(Flight {
            server_finished: secrets.server.finished_key()?,
            client_finished: secrets.client.finished_key()?,
            decrypter: Decrypter::new(secrets.server)?,
            encrypter: Encrypter::new(secrets.client)?,
            master: secrets.master,
            transcript,
            negotiated: Negotiated { suite: server.suite.name(), group: group_name(server.group) },
            auth: self.hello.auth,
            ml_dsa: self.ml_dsa,
            hellos: [self.hello.message, message],
            offered: self.hello.offered,
            terms: Terms::default(),
            hints: self.hints,
            expect: Expect::EncryptedExtensions,
        })
    }
}

impl Flight {
    /// Decrypts a record in place and returns the part of handshake messages in it.
    pub(super) fn open<'a>(&mut self, header: [u8; 5], payload: &'a mut [u8]) -> Result<&'a [u8], Error> {
        let (kind, content) = self.decrypter.open(header, payload)?;
        match (kind, &*content) {
            (kind::HANDSHAKE, content) => Ok(content),
            (kind::ALERT, &[_, alert]) => Err(Error::PeerAlert(Alert(alert))),
            (kind::ALERT, _) => Err(Misbehaviour::Malformed("alert").into()),
            _ => Err(Misbehaviour::Unexpected("record during the handshake").into()),
        }
    }

    /// Takes in one message. At the end our answer is appended to `output`.
    pub(super) fn message(&mut self, message: &[u8], output: &mut Vec<u8>) -> Result<Option<End>, Error> {
        let (kind, body) = split(message)?;
        let expect = mem::replace(&mut self.expect, Expect::Nothing);
        self.expect = match (expect, kind) {
            (Expect::EncryptedExtensions, ENCRYPTED_EXTENSIONS) => {
                self.encrypted_extensions(body)?;
                Expect::Certificate
            }
            (Expect::Certificate, CERTIFICATE_REQUEST) if !self.terms.certificate_request => {
                self.terms.certificate_request = true;
                Expect::Certificate
            }
            (Expect::Certificate, CERTIFICATE) => {
                let hellos = [&*self.hellos[0], &*self.hellos[1]];
                Expect::CertificateVerify(verify::examine(body, &self.auth, self.ml_dsa.as_ref(), hellos)?)
            }
            // REALITY servers never compress, whatever was offered.
            (Expect::Certificate, COMPRESSED_CERTIFICATE) if self.offered.contains(&COMPRESS_CERTIFICATE) => {
                Expect::CertificateVerify(Witness::Stranger(Stranger::Genuine))
            }
            (Expect::CertificateVerify(Witness::Ours(claimant)), CERTIFICATE_VERIFY) => {
                Expect::Finished(Ok(claimant.prove(body, self.transcript.current().as_ref())?))
            }
            // Its certificate is nobody's business: nothing will be sent to it but a goodbye.
            (Expect::CertificateVerify(Witness::Stranger(how)), CERTIFICATE_VERIFY) => Expect::Finished(Err(how)),
            (Expect::Finished(server), FINISHED) => return self.finished(server, message, body, output).map(Some),
            _ => return Err(Misbehaviour::Unexpected("handshake message").into()),
        };
        self.transcript.add(message);
        Ok(None)
    }

    /// Appends an alert to `output`; nothing if even that fails.
    pub(super) fn seal_alert(&mut self, alert: Alert, output: &mut Vec<u8>) {
        if self.encrypter.seal_alert(alert, output).is_err() {
            output.clear();
        }
    }

    fn encrypted_extensions(&mut self, body: &[u8]) -> Result<(), Error> {
        const MALFORMED: Error = Error::Misbehaved(Misbehaviour::Malformed("EncryptedExtensions"));
        let mut message = Reader::new(body);
        let mut list = Reader::new(message.vec16().ok_or(MALFORMED)?);
        message.end().ok_or(MALFORMED)?;
        while !list.is_empty() {
            let kind = list.u16().ok_or(MALFORMED)?;
            let body = list.vec16().ok_or(MALFORMED)?;
            match (kind, body) {
                (kind, _) if !self.offered.contains(&kind) => return Err(Misbehaviour::UnsolicitedExtension.into()),
                (ALPN, [0, 3, 2, b'h', b'2']) => self.terms.h2 = true,
                (ALPN, [0, 9, 8, name @ ..]) if name == b"http/1.1" => self.terms.h2 = false,
                (ALPN, _) => return Err(Misbehaviour::Illegal("application protocol").into()),
                (APPLICATION_SETTINGS, _) => self.terms.application_settings = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// The server's Finished, and with it our answer and the keys for everything after.
    fn finished(
        &mut self,
        server: Result<ServerProven, Stranger>,
        message: &[u8],
        body: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<End, Error> {
        hmac::verify(&self.server_finished, self.transcript.current().as_ref(), body)
            .map_err(|_| Error::BadFinished)?;
        self.transcript.add(message);
        let secrets = self.master.application(self.transcript.current().as_ref())?;

        let opener = Opener::new(secrets.server)?;
        let encrypter = Encrypter::new(secrets.client)?;

        output.extend_from_slice(&[kind::CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]);
        let answer = self.answer();
        self.encrypter.seal(kind::HANDSHAKE, &answer, output)?;
        Ok(match server {
            Ok(proof) => {
                let sealer = Sealer::new(encrypter, &proof);
                End::Established(Established { opener, sealer, proof, negotiated: self.negotiated })
            }
            Err(how) => End::Stranger(Impostor::new(opener, encrypter, self.terms.h2, how, self.hints.clone())),
        })
    }

    /// Our messages: what a browser would say to such a site, then Finished.
    fn answer(&mut self) -> Vec<u8> {
        let mut answer = Vec::with_capacity(64);
        if self.terms.application_settings {
            // draft-vvv-tls-alps §4: the client's settings, of which Chrome has none, in a message of their own.
            put_message(&mut answer, ENCRYPTED_EXTENSIONS, |out| {
                put_vec::<2>(out, |out| {
                    put_u16(out, APPLICATION_SETTINGS);
                    put_vec::<2>(out, |_| {});
                });
            });
        }
        if self.terms.certificate_request {
            // RFC 8446 §4.4.2: no certificate. The context is empty during the handshake (§4.3.2).
            put_message(&mut answer, CERTIFICATE, |out| out.extend_from_slice(&[0, 0, 0, 0]));
        }
        self.transcript.add(&answer);
        let mac = hmac::sign(&self.client_finished, self.transcript.current().as_ref());
        put_message(&mut answer, FINISHED, |out| out.extend_from_slice(mac.as_ref()));
        answer
    }
}

/// Type and body of a message that is known to be whole.
fn split(message: &[u8]) -> Result<(u8, &[u8]), Error> {
    match message {
        [kind, _, _, _, body @ ..] => Ok((*kind, body)),
        _ => Err(Misbehaviour::Malformed("handshake message").into()),
    }
}

const fn group_name(group: u16) -> &'static str {
    match group {
        group::X25519 => "X25519",
        group::X25519MLKEM768 => "X25519MLKEM768",
        _ => "secp256r1",
    }
}

// RFC 8446 §B.3, RFC 8879.
const SERVER_HELLO: u8 = 2;
const ENCRYPTED_EXTENSIONS: u8 = 8;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const CERTIFICATE_VERIFY: u8 = 15;
pub(super) const FINISHED: u8 = 20;
const COMPRESSED_CERTIFICATE: u8 = 25;

const ALPN: u16 = 16;
const COMPRESS_CERTIFICATE: u16 = 27;
