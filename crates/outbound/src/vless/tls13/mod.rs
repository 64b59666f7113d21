//! Ordinary TLS 1.3 for Vision: rustls shakes hands, the record layer is ours.
//!
//! Vision must open one record, look at it, and only then decide whether the next bytes are a record at all. rustls reads
//! ahead and decrypts what it has read, so after the handshake its keys move into [`record`], and rustls stays behind
//! only to derive new ones (`rustls::kernel`, made for TLS in the kernel, which has the same need).

mod record;

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
        let mut tls =
            UnbufferedClientConnection::new(Arc::clone(&self.config), self.server_name.clone()).map_err(invalid)?;
        let (mut received, mut output) = (Vec::new(), Vec::new());
        loop {
            // One record at a time: what follows the last one of the handshake is not for rustls.
            let record = first_record(&received);
            let UnbufferedStatus { discard, state } =
                tls.process_tls_records(received.get_mut(..record).unwrap_or_default());
            let step = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut output, |room| data.encode(room))?;
                    Step::Again
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Step::Send
                }
                Ok(ConnectionState::BlockedHandshake) if discard == 0 => Step::Receive,
                Ok(ConnectionState::BlockedHandshake) => Step::Again,
                Ok(ConnectionState::WriteTraffic(_)) => Step::Done,
                Ok(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Err(error) => {
                    say_goodbye(&mut tls, io, output).await;
                    return Err(invalid(error));
                }
            };
            received.drain(..discard);
            match step {
                Step::Again => {}
                Step::Send => {
                    io.write_all(&output).await?;
                    output.clear();
                }
                Step::Receive if io.read_buf(&mut received).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Step::Receive => {}
                Step::Done => break,
            }
        }
        if tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the server chose TLS 1.2; flow xtls-rprx-vision needs 1.3",
            ));
        }
        let (secrets, kernel) = tls.dangerous_into_kernel_connection().map_err(invalid)?;
        let kernel = Arc::new(Mutex::new(kernel));
        received.shrink_to_fit();
        Ok(Secured {
            opener: Opener::new(secrets.rx, Arc::clone(&kernel)).map_err(invalid)?,
            sealer: Sealer::new(secrets.tx, kernel).map_err(invalid)?,
            received,
        })
    }
}

enum Step {
    Again,
    Send,
    Receive,
    Done,
}

/// Sends the alert that rustls has prepared. The connection is lost whether it arrives or not.
async fn say_goodbye<S: Stream>(tls: &mut UnbufferedClientConnection, io: &mut S, mut output: Vec<u8>) {
    while let Ok(ConnectionState::EncodeTlsData(mut data)) = tls.process_tls_records(&mut []).state {
        if encode(&mut output, |room| data.encode(room)).is_err() {
            return;
        }
    }
    let _ = io.write_all(&output).await;
}

/// The length of the record at the front, or of what there is of it.
fn first_record(bytes: &[u8]) -> usize {
    match bytes.first_chunk() {
        Some(&[_, _, _, high, low]) => bytes.len().min(5 + usize::from(u16::from_be_bytes([high, low]))),
        None => bytes.len(),
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
