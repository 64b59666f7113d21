//! The client's side of the handshake (RFC 8446 §4, §2.1 to §2.9 of spec vless-reality):
//!
//! ```text
//!  ClientHello                 ──►
//!                              ◄──  ServerHello, change_cipher_spec
//!                              ◄──  {EncryptedExtensions, Certificate, CertificateVerify, Finished}
//!  change_cipher_spec, {Finished} ──►
//! ```

mod flight;
mod messages;

use std::{fmt, mem};

use self::flight::{End, FINISHED, Flight, Opening};
use self::messages::Messages;
use crate::error::{Alert, Error, Misbehaviour};
use crate::hello::ClientHello;
use crate::impostor::{Hints, Impostor};
use crate::options::Options;
use crate::random::Random;
use crate::record::{Framed, MAX_CONTENT, Opener, Sealer, frame, kind};
use crate::verify::ServerProven;

/// A handshake under way. Bytes in, bytes out; the caller owns the socket, the buffer and the deadline, which has to be
/// its own: a peer may stay silent at any point (F-F3), and servers that have just started answer after 5 seconds.
pub struct ClientHandshake {
    output: Vec<u8>,
    messages: Messages,
    change_cipher_specs: u8,
    state: State,
}

enum State {
    AwaitServerHello(Box<Opening>),
    AwaitFinished(Box<Flight>),
    /// Finished or failed.
    Over,
}

/// How far a handshake is.
#[derive(Debug)]
pub enum Progress {
    /// Not finished.
    NeedMore {
        /// Bytes of `received` that were used.
        consumed: usize,
    },
    /// The server has proven that it is ours. Send [`ClientHandshake::take_output`] first: our Finished.
    Done {
        /// Bytes of `received` that were used; what follows belongs to [`Established::opener`].
        consumed: usize,
        /// The two directions.
        established: Box<Established>,
    },
    /// A TLS server that is not ours. Send [`ClientHandshake::take_output`], then leave through `impostor`.
    NotReality {
        /// Bytes of `received` that were used; what follows belongs to [`Impostor::listen`].
        consumed: usize,
        /// The way out.
        impostor: Box<Impostor>,
    },
}

/// A connection to a server that has proven itself.
#[derive(Debug)]
pub struct Established {
    /// Opens what the server sends.
    pub opener: Opener,
    /// Seals what we send.
    pub sealer: Sealer,
    /// That the server is ours.
    pub proof: ServerProven,
    /// What was agreed, for logs.
    pub negotiated: Negotiated,
}

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The cipher suite's IANA name, e.g. `TLS_AES_128_GCM_SHA256`.
    pub suite: &'static str,
    /// The group's IANA name, e.g. `X25519MLKEM768`.
    pub group: &'static str,
}

/// What one record came to.
enum Step {
    /// It is not all there.
    Incomplete,
    /// It was taken in, and the handshake goes on.
    Taken(usize),
    /// It was the last one.
    Ended(usize, Box<End>),
}

impl ClientHandshake {
    /// Prepares a ClientHello, which [`take_output`](Self::take_output) then holds. `unix_time` is in seconds; a
    /// server may refuse a clock that is off.
    ///
    /// # Errors
    /// [`Error::Options`] when an option cannot be used (a public key of small order, a server name that is none).
    pub fn new(options: &Options, random: &mut dyn Random, unix_time: u32) -> Result<Self, Error> {
        let hello = ClientHello::new(options, random, unix_time)?;
        let output = hello.record();
        let hints = Hints {
            server_name: options.server_name.clone(),
            fingerprint: options.fingerprint,
            browser: hello.browser,
            hybrid_share: options.has_hybrid_share(),
        };
        let opening = Opening { hello, ml_dsa: options.mldsa65_verify.clone(), hints };
        Ok(Self {
            output,
            messages: Messages::default(),
            change_cipher_specs: 0,
            state: State::AwaitServerHello(Box::new(opening)),
        })
    }

    /// The bytes to send to the server now; empty when there are none. First the ClientHello, at the end
    /// change_cipher_spec and Finished, after an error the alert.
    pub fn take_output(&mut self) -> Vec<u8> {
        mem::take(&mut self.output)
    }

    /// Takes in whole records from the front of `received` and decrypts them in place. Drop `consumed` bytes from the
    /// front, keep the rest, and call again when more has arrived; a buffer of [`MAX_RECORD`](crate::MAX_RECORD) bytes
    /// always suffices. Nothing behind the record of the server's Finished is looked at. After the end, or an error, it
    /// does nothing.
    ///
    /// # Errors
    /// The handshake has failed; [`take_output`](Self::take_output) holds the alert to send, if any. Nothing of the
    /// application's has been sent.
    pub fn feed(&mut self, received: &mut [u8]) -> Result<Progress, Error> {
        let mut consumed = 0;
        while let Some(rest) = received.get_mut(consumed..) {
            match self.record(rest) {
                Ok(Step::Incomplete) => break,
                Ok(Step::Taken(n)) => consumed += n,
                Ok(Step::Ended(n, end)) => return self.end(consumed + n, *end),
                Err(why) => return Err(self.fail(why)),
            }
        }
        Ok(Progress::NeedMore { consumed })
    }

    fn record(&mut self, received: &mut [u8]) -> Result<Step, Error> {
        if matches!(self.state, State::Over) {
            return Ok(Step::Incomplete);
        }
        let framed = frame(received).map_err(|why| match (&self.state, why) {
            (State::AwaitFinished(_), Error::NotTls) => Misbehaviour::Unexpected("bytes that are no record").into(),
            (_, why) => why,
        })?;
        let total = framed.total();
        let Framed::Whole { header, payload } = framed else {
            return Ok(Step::Incomplete);
        };
        match header[0] {
            kind::CHANGE_CIPHER_SPEC => self.change_cipher_spec(payload).map(|()| Step::Taken(total)),
            kind::ALERT => Err(self.alert_in_the_clear(payload)),
            kind::HANDSHAKE => self.handshake_in_the_clear(payload).map(|()| Step::Taken(total)),
            _ => match self.encrypted(header, payload)? {
                Some(end) => Ok(Step::Ended(total, Box::new(end))),
                None => Ok(Step::Taken(total)),
            },
        }
    }

    /// RFC 8446 §5: dropped, wherever it comes in the handshake. F-F4: but not for ever.
    fn change_cipher_spec(&mut self, payload: &[u8]) -> Result<(), Error> {
        if *payload != [1] {
            return Err(Misbehaviour::Unexpected("change_cipher_spec").into());
        }
        if self.change_cipher_specs >= MAX_CHANGE_CIPHER_SPECS {
            return Err(Misbehaviour::Flood("change_cipher_specs").into());
        }
        self.change_cipher_specs += 1;
        Ok(())
    }

    fn alert_in_the_clear(&self, payload: &[u8]) -> Error {
        match (payload, &self.state) {
            (&[_, alert], State::AwaitServerHello(_)) => Error::Refused(Alert(alert)),
            (&[_, alert], _) => Error::PeerAlert(Alert(alert)),
            _ => Misbehaviour::Malformed("alert").into(),
        }
    }

    fn handshake_in_the_clear(&mut self, payload: &[u8]) -> Result<(), Error> {
        if !matches!(self.state, State::AwaitServerHello(_)) {
            return Err(Misbehaviour::Unexpected("handshake message in the clear").into());
        }
        if payload.len() > MAX_CONTENT {
            return Err(Misbehaviour::RecordTooLong.into());
        }
        self.messages.add(payload)?;
        let Some(message) = self.messages.next()? else { return Ok(()) };
        if let State::AwaitServerHello(opening) = mem::replace(&mut self.state, State::Over) {
            let flight = opening.answer(message)?;
            self.messages.must_be_empty()?; // RFC 8446 §5.1: keys change here
            self.state = State::AwaitFinished(Box::new(flight));
        }
        Ok(())
    }

    fn encrypted(&mut self, header: [u8; 5], payload: &mut [u8]) -> Result<Option<End>, Error> {
        let State::AwaitFinished(flight) = &mut self.state else {
            return Err(Misbehaviour::Unexpected("encrypted record").into());
        };
        let content = flight.open(header, payload)?;
        self.messages.add(content)?;
        while let Some(message) = self.messages.next()? {
            if message.first() == Some(&FINISHED) {
                self.messages.must_be_empty()?; // keys change here as well; before we answer under the new ones
            }
            if let Some(end) = flight.message(&message, &mut self.output)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn end(&mut self, consumed: usize, end: End) -> Result<Progress, Error> {
        self.state = State::Over;
        Ok(match end {
            End::Established(established) => Progress::Done { consumed, established: Box::new(established) },
            End::Stranger(impostor) => Progress::NotReality { consumed, impostor: Box::new(impostor) },
        })
    }

    /// Queues the alert, under the handshake keys once there are any, and forgets all keys.
    fn fail(&mut self, why: Error) -> Error {
        let state = mem::replace(&mut self.state, State::Over);
        self.output.clear();
        if let Some(alert) = why.alert() {
            match state {
                State::AwaitFinished(mut flight) => flight.seal_alert(alert, &mut self.output),
                _ => {
                    self.output.extend_from_slice(&[kind::ALERT, 3, 3, 0, 2]);
                    self.output.extend_from_slice(&alert.record_content());
                }
            }
        }
        why
    }
}

impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::AwaitServerHello(_) => "ClientHandshake(awaiting ServerHello)",
            State::AwaitFinished(_) => "ClientHandshake(awaiting Finished)",
            State::Over => "ClientHandshake(over)",
        })
    }
}

/// As BoringSSL.
const MAX_CHANGE_CIPHER_SPECS: u8 = 32;
