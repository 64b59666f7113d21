//! Ordinary TLS 1.3 for Vision: rustls shakes hands, the record layer is ours.
//!
//! Vision must open one record, look at it, and only then decide whether the next bytes are a record at all. rustls reads
//! ahead and decrypts what it has read, so after the handshake its keys move into [`record`], and rustls stays behind
//! only to derive new ones (`rustls::kernel`, made for TLS in the kernel, which has the same need).

mod record;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use adit_net::Stream;
use parking_lot::Mutex;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(super) use record::{Opener, Sealer};

/// Makes TLS 1.3 clients of one outbound.
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

/// A connection whose records are ours.
pub(super) struct Secured {
    pub(super) opener: Opener,
    pub(super) sealer: Sealer,
    /// Read beyond the handshake, not opened.
    pub(super) received: Vec<u8>,
}

impl Connector {
    /// As `config`, but with keys that can be had. Tickets are not kept: they come under keys that rustls no longer has.
    pub(super) fn new(config: &ClientConfig, server_name: &ServerName<'static>) -> Self {
        let mut config = config.clone();
        config.enable_secret_extraction = true;
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config), server_name: server_name.clone() }
    }

    /// Shakes hands over `io`. No deadline of its own.
    ///
    /// # Errors
    /// The stream's; those of rustls, as `InvalidData`; a server that does not speak TLS 1.3.
    ///
    /// # Cancel safety
    /// Dropping the future leaves `io` in the middle of a handshake.
    pub(super) async fn connect<S: Stream>(&self, io: &mut S) -> io::Result<Secured> {
        let tls =
            UnbufferedClientConnection::new(Arc::clone(&self.config), self.server_name.clone()).map_err(invalid)?;
        let mut handshake = Handshake { tls, received: Vec::new(), shown: 0, output: Vec::new() };
        loop {
            match handshake.step() {
                Ok(Step::Again) => {}
                Ok(Step::Receive) => handshake.receive(io).await?,
                Ok(Step::Done) => break,
                Err(error) => {
                    // An alert, if rustls has made one. The connection is lost whether it arrives or not.
                    let _ = handshake.step();
                    let _ = io.write_all(&handshake.output).await;
                    return Err(error);
                }
            }
        }
        io.write_all(&handshake.output).await?;
        handshake.into_secured()
    }
}

/// A handshake under way.
struct Handshake {
    tls: UnbufferedClientConnection,
    received: Vec<u8>,
    /// What rustls has been shown of `received` and wants to see again: whole records, one more at a time, because what
    /// follows the last one of the handshake is not for rustls.
    shown: usize,
    /// To be sent before we wait for the server.
    output: Vec<u8>,
}

enum Step {
    Again,
    Receive,
    Done,
}

impl Handshake {
    fn step(&mut self) -> io::Result<Step> {
        let shown = self.received.get_mut(..self.shown).unwrap_or_default();
        let UnbufferedStatus { discard, state } = self.tls.process_tls_records(shown);
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut self.output, |room| data.encode(room)).map(|()| Step::Again)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Step::Again)
            }
            Ok(ConnectionState::BlockedHandshake) => Ok(Step::Receive),
            Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done),
            Ok(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            Err(error) => Err(invalid(error)),
        };
        self.received.drain(..discard);
        self.shown = self.shown.saturating_sub(discard);
        step
    }

    /// Shows one more record, reading it if it is not here.
    async fn receive<S: Stream>(&mut self, io: &mut S) -> io::Result<()> {
        loop {
            match whole_record(self.received.get(self.shown..).unwrap_or_default()) {
                0 => {}
                record => {
                    self.shown += record;
                    return Ok(());
                }
            }
            io.write_all(&self.output).await?;
            self.output.clear();
            self.received.reserve(ROOM);
            if io.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn into_secured(mut self) -> io::Result<Secured> {
        if self.tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, OLD_TLS));
        }
        let (secrets, kernel) = self.tls.dangerous_into_kernel_connection().map_err(invalid)?;
        let kernel = Arc::new(Mutex::new(kernel));
        self.received.shrink_to_fit();
        Ok(Secured {
            opener: Opener::new(secrets.rx, Arc::clone(&kernel)).map_err(invalid)?,
            sealer: Sealer::new(secrets.tx, kernel).map_err(invalid)?,
            received: self.received,
        })
    }
}

const OLD_TLS: &str = "the server chose TLS 1.2; flow xtls-rprx-vision needs 1.3";

/// Most answers of a server fit.
const ROOM: usize = 8 * 1024;

/// The length of the record at the front; 0 while it is not all there.
fn whole_record(bytes: &[u8]) -> usize {
    match bytes.first_chunk() {
        Some(&[_, _, _, high, low]) => {
            let length = 5 + usize::from(u16::from_be_bytes([high, low]));
            if bytes.len() < length { 0 } else { length }
        }
        None => 0,
    }
}

/// Appends what `encode` writes into the room it asks for.
fn encode(output: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) -> io::Result<()> {
    let start = output.len();
    let needed = match encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(EncodeError::AlreadyEncoded) => return Ok(()),
        Ok(_) => 0,
    };
    output.resize(start + needed, 0);
    let written = encode(output.get_mut(start..).unwrap_or_default()).map_err(invalid)?;
    output.truncate(start + written);
    Ok(())
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
