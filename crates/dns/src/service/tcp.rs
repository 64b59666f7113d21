//! Questions on streams (RFC 7766): many at once on each, answered in any order.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_net::Listener;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::gate::Gate;
use super::{Now, Service};
use crate::reply::Limit;
use crate::wire::u16_at;

/// How long a client may take for a whole question, and for taking an answer.
const IDLE: Duration = Duration::from_secs(10);
/// Connections at once.
const CONNECTIONS: usize = 256;
/// Questions of one connection that wait for others at once; then it is not read from.
const OPEN_MAX: usize = 32;
/// What is read at once.
const ROOM: usize = 2048;

type Services = Arc<dyn Fn() -> Service + Send + Sync>;

/// Never returns.
pub(super) async fn run(listener: Listener, services: Services) {
    let gate = Gate::new(CONNECTIONS);
    let mut connections = JoinSet::new();
    loop {
        let (stream, client) = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let client = client.ip();
        let Some(place) = gate.enter(client) else { continue };
        let services = Arc::clone(&services);
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = serve(stream, client, &*services).await {
                tracing::debug!(%client, %error, "a client's connection ended");
            }
        });
    }
}

impl Service {
    /// Answers the questions on a stream from `client` (RFC 7766) until it ends or is idle for ten seconds.
    ///
    /// # Errors
    /// The stream's, and `InvalidData` for what is no message.
    ///
    /// # Cancel safety
    /// Dropping the future abandons all answers.
    pub async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Send, client: IpAddr) -> io::Result<()> {
        serve(stream, client, &|| self.clone()).await
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send,
    client: IpAddr,
    services: &(dyn Fn() -> Service + Send + Sync),
) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut asked = Asked::default();
    let mut open: JoinSet<Option<Vec<u8>>> = JoinSet::new();
    let mut answer = Vec::new();
    let mut is_ended = false;
    while !is_ended || !open.is_empty() {
        tokio::select! {
            Some(answered) = open.join_next(), if !open.is_empty() => {
                if let Ok(Some(answer)) = answered {
                    send(&mut write, &answer).await?;
                }
            }
            question = asked.next(&mut read), if !is_ended && open.len() < OPEN_MAX => {
                let Some(question) = question? else {
                    is_ended = true;
                    continue;
                };
                let service = services();
                match service.answer_now(&question, Limit::Stream, &mut answer) {
                    Now::Answered => send(&mut write, &answer).await?,
                    Now::Silence => {}
                    Now::Later(_) => {
                        // Too many questions are open: this one is dropped, as a datagram would be.
                        let Some(place) = service.enter(client) else { continue };
                        open.spawn(async move { service.handle_entered(&question, Limit::Stream, place).await });
                    }
                }
            }
        }
    }
    write.shutdown().await
}

/// What a client has sent.
struct Asked {
    bytes: Vec<u8>,
    /// When the next question must be whole.
    until: Instant,
}

impl Default for Asked {
    fn default() -> Self {
        Self { bytes: Vec::new(), until: Instant::now() + IDLE }
    }
}

impl Asked {
    /// The next question; `None` when the client is done, in time.
    ///
    /// # Cancel safety
    /// What was read stays here.
    async fn next(&mut self, read: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(question) = self.take()? {
                self.until = Instant::now() + IDLE;
                return Ok(Some(question));
            }
            self.bytes.reserve(ROOM);
            tokio::select! {
                count = read.read_buf(&mut self.bytes) => if count? == 0 {
                    return Ok(None);
                },
                () = sleep_until(self.until) => return Ok(None),
            }
        }
    }

    /// A whole question, if there is one. A length that no message has ends the connection.
    fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = u16_at(&self.bytes, 0) else { return Ok(None) };
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of no length"));
        }
        let end = usize::from(length) + 2;
        let Some(question) = self.bytes.get(2..end).map(<[u8]>::to_vec) else { return Ok(None) };
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            // Nothing is held for a client that is silent.
            self.bytes = Vec::new();
        }
        Ok(Some(question))
    }
}

/// Length and message in one segment (RFC 7766 §8).
async fn send(write: &mut (impl AsyncWrite + Unpin), answer: &[u8]) -> io::Result<()> {
    let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(answer.len() + 2);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(answer);
    timeout(IDLE, write.write_all(&frame)).await?
}
