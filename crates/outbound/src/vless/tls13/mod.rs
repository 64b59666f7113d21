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
        let mut tls =
            UnbufferedClientConnection::new(Arc::clone(&self.config), self.server_name.clone()).map_err(invalid)?;
        let (mut received, mut output) = (Vec::new(), Vec::new());
        // What rustls has been shown of `received`: whole records, one more at a time, because what follows the last one
        // of the handshake is not for rustls.
        let mut shown = 0;
        loop {
            let window = shown + whole_record(received.get(shown..).unwrap_or_default());
            let UnbufferedStatus { discard, state } =
                tls.process_tls_records(received.get_mut(..window).unwrap_or_default());
            let step = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut output, |room| data.encode(room))?;
                    Step::Again
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Step::Send
                }
                Ok(ConnectionState::BlockedHandshake) => Step::Receive,
                Ok(ConnectionState::WriteTraffic(_)) => Step::Done,
                Ok(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Err(error) => Step::Fail(error),
            };
            received.drain(..discard);
            shown = window.saturating_sub(discard);
            match step {
                Step::Again => {}
                Step::Send => {
                    io.write_all(&output).await?;
                    output.clear();
                }
                Step::Receive => {
                    while whole_record(received.get(shown..).unwrap_or_default()) == 0 {
                        received.reserve(ROOM);
                        if io.read_buf(&mut received).await? == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                    }
                }
                Step::Done => break,
                Step::Fail(error) => {
                    let shown = received.get_mut(..shown).unwrap_or_default();
                    if let Ok(ConnectionState::EncodeTlsData(mut alert)) = tls.process_tls_records(shown).state {
                        encode(&mut output, |room| alert.encode(room))?;
                    }
                    // The connection is lost whether it arrives or not.
                    let _ = io.write_all(&output).await;
                    return Err(invalid(error));
                }
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
    Fail(rustls::Error),
}

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
