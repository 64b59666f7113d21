//! One client that has not said yet what it wants.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;

use adit_net::{BoxStream, ClientAddr, Prefixed};
use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How much is read at once while a client speaks a handshake.
const STEP: usize = 512;

/// A client's socket, and what was read from it and not yet understood.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) addr: ClientAddr,
    pub(crate) ahead: BytesMut,
}

/// Why a conversation ends before the client got what it wants.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The client left, or its connection broke.
    Gone,
    /// We end it: what the client is told (nothing, if empty) and what the log is told.
    Told { answer: Cow<'static, [u8]>, why: String },
}

impl Refusal {
    pub(crate) fn told(answer: impl Into<Cow<'static, [u8]>>, why: impl Display) -> Self {
        Self::Told { answer: answer.into(), why: why.to_string() }
    }

    /// Closed without a word, because the client would not understand any.
    pub(crate) fn silent(why: impl Display) -> Self {
        Self::told(&[][..], why)
    }
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Client {
    pub(crate) fn new(stream: TcpStream, addr: ClientAddr) -> Self {
        Self { stream, addr, ahead: BytesMut::new() }
    }

    /// Waits for more bytes and adds them to `ahead`. No buffer is held while nothing has arrived.
    ///
    /// # Errors
    /// The end of the stream is an error here.
    ///
    /// # Cancel safety
    /// No byte is lost when the future is dropped.
    pub(crate) async fn more(&mut self) -> io::Result<()> {
        loop {
            // Readiness is a guess until a read has failed, so a buffer may have been made in vain.
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
            self.stream.readable().await?;
            self.ahead.reserve(STEP);
            match self.stream.try_read_buf(&mut self.ahead) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a whole message, as `read` understands it, and takes it from `ahead`. `on_error` turns what `read`
    /// complains about into a refusal.
    pub(crate) async fn message<T, E: Display>(
        &mut self,
        mut read: impl FnMut(&[u8]) -> Result<Option<(T, usize)>, E>,
        on_error: impl Fn(E) -> Refusal,
    ) -> Result<T, Refusal> {
        loop {
            if let Some((message, length)) = read(&self.ahead).map_err(&on_error)? {
                self.ahead.advance(length.min(self.ahead.len()));
                return Ok(message);
            }
            self.more().await?;
        }
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The stream as whoever serves the client should see it: what was read ahead comes first.
    pub(crate) fn into_stream(self) -> BoxStream {
        if self.ahead.is_empty() {
            Box::new(self.stream)
        } else {
            Box::new(Prefixed::new(self.ahead.to_vec(), self.stream))
        }
    }
}
