//! DNS over streams: TCP (RFC 7766) and TLS (RFC 7858). One connection, many questions on it at once, answers in any
//! order, closed when nobody asks for a while.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_net::Task;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::kept::{Connection, Kept};
use super::{Reach, UpstreamError, random_id};
use crate::message::{Extension, Question, id_of, set_id};
use crate::response::{Response, read_response};
use crate::tls::TlsClient;

/// How long a connection without questions is kept (RFC 7766 §6.2.3: in the order of seconds).
const IDLE: Duration = Duration::from_secs(10);
/// How long a connection that has worked may leave questions unanswered before it counts as dead and they are asked on a
/// new one. A server that is merely slow is found again there, and waited for.
const DEAD: Duration = Duration::from_secs(2);
/// As [`DEAD`], for a connection on which nothing was heard yet: as long as anybody waits.
const SLOW: Duration = Duration::from_secs(5);
/// How many connections a question is tried on: servers may close one at any time (RFC 7766 §6.2.4).
const TRIES: usize = 3;
/// Questions that wait to be written.
const QUEUE: usize = 64;
/// A header; nothing shorter is a message.
const SHORTEST: usize = 12;

/// The streams to one server.
pub(super) struct Pipes {
    reach: Arc<Reach>,
    tls: Option<TlsClient>,
    /// Every question gets a connection of its own.
    one_shot: bool,
    kept: Kept<Pipe>,
}

impl Pipes {
    pub(super) fn new(reach: Arc<Reach>, tls: Option<TlsClient>, one_shot: bool) -> Self {
        Self { reach, tls, one_shot, kept: Kept::new() }
    }

    pub(super) async fn ask(&self, question: &Question, extension: Extension) -> Result<Response, UpstreamError> {
        let query = question.encode(0, extension)?;
        for _ in 0..TRIES {
            let (pipe, new) =
                if self.one_shot { (Arc::new(self.open().await?), true) } else { self.kept.get(self.open()).await? };
            match pipe.exchange(query.clone()).await {
                Some(answer) => {
                    let id = id_of(&answer).unwrap_or_default();
                    return Ok(read_response(&answer, question, id)?);
                }
                None if new => break,
                // It ended while it was not looked at: no fault of the server's.
                None => {}
            }
        }
        Err(UpstreamError::Closed)
    }

    async fn open(&self) -> Result<Pipe, UpstreamError> {
        let stream = self.reach.connect().await?;
        Ok(match &self.tls {
            None => Pipe::over(stream),
            Some(tls) => Pipe::over(tls.connect(stream).await?),
        })
    }
}

/// One connection, driven by a task of its own.
struct Pipe {
    asked: mpsc::Sender<Asked>,
    _driver: Task<()>,
}

/// A question on its way, and who waits for the answer.
struct Asked {
    query: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Connection for Pipe {
    fn is_open(&self) -> bool {
        !self.asked.is_closed()
    }
}

impl Pipe {
    fn over<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Self {
        let (asked, questions) = mpsc::channel(QUEUE);
        let (read, write) = tokio::io::split(stream);
        let driver = Driver {
            read,
            write,
            incoming: BytesMut::new(),
            waiting: HashMap::new(),
            heard: Instant::now(),
            works: false,
        };
        let driver = Task::spawn("dns connection", async move {
            if let Err(error) = driver.run(questions).await {
                tracing::debug!(%error, "a connection to a nameserver ended");
            }
        });
        Self { asked, _driver: driver }
    }

    /// `None` if the connection ended first.
    async fn exchange(&self, query: Vec<u8>) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        self.asked.send(Asked { query, answer }).await.ok()?;
        answered.await.ok()
    }
}

struct Driver<S> {
    read: ReadHalf<S>,
    write: WriteHalf<S>,
    /// Received, and not yet a whole message. Empty without allocation when nothing is expected.
    incoming: BytesMut,
    /// Who waits, by the id their question got on this connection.
    waiting: HashMap<u16, oneshot::Sender<Vec<u8>>>,
    /// When something was last heard, or the first of the waiting questions was sent.
    heard: Instant,
    /// Whether anything was heard at all.
    works: bool,
}

impl<S: AsyncRead + AsyncWrite> Driver<S> {
    /// Until the server ends the connection, nobody asks, or nobody answers. Whoever waits then is told by the drop.
    async fn run(mut self, mut questions: mpsc::Receiver<Asked>) -> io::Result<()> {
        loop {
            let patience = match (self.waiting.is_empty(), self.works) {
                (true, _) => IDLE,
                (false, true) => DEAD,
                (false, false) => SLOW,
            };
            tokio::select! {
                question = questions.recv() => match question {
                    Some(asked) => self.send(asked).await?,
                    None => break,
                },
                read = self.read.read_buf(&mut self.incoming) => match read? {
                    0 => break,
                    _ => self.deliver()?,
                },
                () = sleep_until(self.heard + patience) => break,
            }
        }
        // `close_notify` and FIN; a peer that does not listen is not waited for.
        timeout(DEAD, self.write.shutdown()).await?
    }

    async fn send(&mut self, Asked { mut query, answer }: Asked) -> io::Result<()> {
        let mut id = random_id()?;
        while self.waiting.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        set_id(&mut query, id);
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        // Length and message in one segment (RFC 7766 §8).
        let mut frame = Vec::with_capacity(query.len() + 2);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.append(&mut query);
        if self.waiting.is_empty() {
            self.heard = Instant::now();
        }
        self.waiting.insert(id, answer);
        timeout(DEAD, flushed(&mut self.write, &frame)).await?
    }

    /// Hands out the whole messages among what was received.
    fn deliver(&mut self) -> io::Result<()> {
        (self.heard, self.works) = (Instant::now(), true);
        while let Some(length) = self.incoming.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length))) {
            if length < SHORTEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without a header"));
            }
            if self.incoming.len() < 2 + length {
                return Ok(());
            }
            self.incoming.advance(2);
            let message = self.incoming.split_to(length);
            // One that nobody waits for any more came too late, or is unasked for.
            if let Some(answer) = id_of(&message).and_then(|id| self.waiting.remove(&id)) {
                let _ = answer.send(message.to_vec());
            }
        }
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        Ok(())
    }
}

async fn flushed<W: AsyncWrite>(write: &mut WriteHalf<W>, bytes: &[u8]) -> io::Result<()> {
    write.write_all(bytes).await?;
    write.flush().await
}
