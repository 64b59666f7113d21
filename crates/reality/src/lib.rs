//! A TLS 1.3 client with REALITY authentication.
//!
//! What it is: bytes in, bytes out. A [`ClientHandshake`] makes a browser's ClientHello with the authenticator hidden
//! in it, checks that the server is ours, and yields an [`Opener`] and a [`Sealer`], one per direction. Time and
//! randomness are arguments.
//!
//! What it is not: it does no I/O, keeps no clock and no timer, knows no VLESS, and is no general TLS library: it
//! trusts no certificate authority, and a server that is not ours gets nothing but a polite goodbye ([`Impostor`]).
//!
//! ```
//! use std::io::{self, Read, Write};
//!
//! use adit_reality::{ClientHandshake, Established, MAX_RECORD, Options, Progress, SystemRandom};
//!
//! /// Returns the two directions, and what the server has sent beyond its handshake.
//! fn connect(
//!     socket: &mut (impl Read + Write),
//!     options: &Options,
//!     unix_time: u32,
//! ) -> io::Result<(Box<Established>, Vec<u8>)> {
//!     let mut handshake = ClientHandshake::new(options, &mut SystemRandom, unix_time).map_err(io::Error::other)?;
//!     socket.write_all(&handshake.take_output())?;
//!     let (mut buffer, mut part) = (Vec::new(), [0; MAX_RECORD]);
//!     loop {
//!         let n = socket.read(&mut part)?;
//!         if n == 0 {
//!             return Err(io::ErrorKind::UnexpectedEof.into());
//!         }
//!         buffer.extend_from_slice(&part[..n]);
//!         let progress = handshake.feed(&mut buffer);
//!         socket.write_all(&handshake.take_output())?; // our Finished, or the alert
//!         match progress.map_err(io::Error::other)? {
//!             Progress::NeedMore { consumed } => drop(buffer.drain(..consumed)),
//!             Progress::Done { consumed, established } => return Ok((established, buffer.split_off(consumed))),
//!             Progress::NotReality { mut impostor, .. } => {
//!                 socket.write_all(&impostor.close())?;
//!                 return Err(io::Error::other(impostor.explanation()));
//!             }
//!         }
//!     }
//! }
//! ```

#![forbid(unsafe_code)]

mod auth;
mod certificate;
mod error;
mod handshake;
mod hello;
mod impostor;
mod options;
mod random;
mod record;
mod schedule;
mod server_hello;
mod shares;
mod suite;
#[cfg(feature = "testing")]
#[expect(clippy::unwrap_used, clippy::expect_used, reason = "tests, benches and fuzz targets may stop")]
pub mod testing;
#[cfg(test)]
mod vectors;
mod verify;
mod wire;

pub use error::{Alert, Error, Fault, Misbehaviour};
pub use handshake::{ClientHandshake, Established, Negotiated, Progress};
pub use hello::CHROME_VERSION;
pub use impostor::Impostor;
pub use options::{BadOption, ClientVersion, Fingerprint, Hybrid, MlDsaKey, Options, PublicKey, ServerName, ShortId};
pub use random::{Random, SystemRandom};
pub use record::{Content, MAX_RECORD, Opened, Opener, Sealer};
pub use verify::ServerProven;
