//! The client's side of the handshake.

use crate::error::Error;
use crate::impostor::Impostor;
use crate::options::Options;
use crate::random::Random;
use crate::record::{Opener, Sealer};

/// A handshake under way. Bytes in, bytes out; the caller owns the socket, the buffer and the deadline.
#[derive(Debug)]
pub struct ClientHandshake(());

impl ClientHandshake {
    /// Prepares a ClientHello, which [`take_output`](Self::take_output) then holds. `unix_time` is in seconds; a
    /// server may refuse a clock that is off.
    ///
    /// # Errors
    /// [`Error::Options`] when an option cannot be used (a public key of small order, a server name that is none).
    pub fn new(options: &Options, random: &mut dyn Random, unix_time: u32) -> Result<Self, Error> {
        let _ = (options, random, unix_time);
        todo!()
    }

    /// The bytes to send to the server now; empty when there are none. First the ClientHello, at the end
    /// change_cipher_spec and Finished, after an error the alert.
    pub fn take_output(&mut self) -> Vec<u8> {
        todo!()
    }

    /// Takes in whole records from the front of `received` and decrypts them in place. Drop `consumed` bytes from the
    /// front, keep the rest, and call again when more has arrived; a buffer of [`MAX_RECORD`](crate::MAX_RECORD) bytes
    /// always suffices. Nothing behind the record of the server's Finished is looked at.
    ///
    /// # Errors
    /// The handshake has failed; [`take_output`](Self::take_output) holds the alert to send, if any. Nothing of the
    /// application's has been sent.
    pub fn feed(&mut self, received: &mut [u8]) -> Result<Progress, Error> {
        let _ = received;
        todo!()
    }
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
    /// A genuine TLS server that is not ours. Send [`ClientHandshake::take_output`], then leave through `impostor`.
    NotReality {
        /// Bytes of `received` that were used; what follows belongs to [`Impostor::opener`].
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

/// That the server showed a certificate made with our shared secret and holds its key. Cannot be made outside this
/// crate.
#[derive(Clone, Copy, Debug)]
pub struct ServerProven(());

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The cipher suite's IANA name, e.g. `TLS_AES_128_GCM_SHA256`.
    pub suite: &'static str,
    /// The group's IANA name, e.g. `X25519MLKEM768`.
    pub group: &'static str,
}
