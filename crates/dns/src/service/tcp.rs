//! Questions on streams (RFC 7766): many at once on each, answered in any order.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_net::Listener;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::audience::Audience;
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
pub(super) async fn run(listener: Listener, audience: &Audience, services: Services) {
    let gate = Gate::new(CONNECTIONS);
    let mut connections = JoinSet::new();
    loop {
        let (stream, client) = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let client = client.ip();
        let ours = || stream.local_addr().ok().map(|ours| ours.ip());
        if !audience.admits(client, ours, std::time::Instant::now) {
            continue;
        }
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
    /// How much of it are questions that were taken: it goes when more is read, not with each of many short ones.
    taken: usize,
    /// When the next question must be whole.
    until: Instant,
}

impl Default for Asked {
    fn default() -> Self {
        Self { bytes: Vec::new(), taken: 0, until: Instant::now() + IDLE }
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
            self.bytes.drain(..self.taken.min(self.bytes.len()));
            self.taken = 0;
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
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some(length) = u16_at(rest, 0) else { return Ok(None) };
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of no length"));
        }
        let end = usize::from(length) + 2;
        let Some(question) = rest.get(2..end).map(<[u8]>::to_vec) else { return Ok(None) };
        self.taken += end;
        if self.taken == self.bytes.len() {
            // Nothing is held for a client that is silent.
            (self.bytes, self.taken) = (Vec::new(), 0);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// F-E3: many short questions in one piece take no longer, each, than one alone.
    #[tokio::test]
    async fn f_e3_short_questions_are_taken_in_linear_time() {
        let mut asked = Asked { bytes: b"\0\x01x".repeat(1_000_000), ..Asked::default() };
        let started = std::time::Instant::now();
        for _ in 0..1_000_000 {
            assert_eq!(asked.take().unwrap().as_deref(), Some(&b"x"[..]));
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!((asked.take().unwrap(), asked.bytes.capacity()), (None, 0));
    }

    /// F-E3: what was taken does not come again with what is read later.
    #[tokio::test]
    async fn f_e3_questions_cut_anywhere_are_taken_once() {
        let stream = b"\0\x02ab\0\x01c\0\x03def";
        for cut in 0..stream.len() {
            let (first, second) = stream.split_at(cut);
            let mut read = tokio::io::AsyncReadExt::chain(first, second);
            let mut asked = Asked::default();
            let mut questions = Vec::new();
            while let Some(question) = asked.next(&mut read).await.unwrap() {
                questions.push(question);
            }
            assert_eq!(questions, [&b"ab"[..], b"c", b"def"], "{cut}");
        }
    }
}
