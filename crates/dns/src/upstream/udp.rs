//! DNS over UDP (RFC 1035 §4.2.1). A socket's port is as hard to guess as a question's id (RFC 5452), so questions have
//! sockets of their own, until there are many at once or the way out makes each socket expensive.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use adit_net::{RecvDatagram, SendDatagram, Target};
use parking_lot::Mutex;
use tokio::io::ReadBuf;
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Reach, UpstreamError, random_id};
use crate::message::{Extension, Question, id_of, is_truncated};
use crate::response::{Response, read_response};

/// How long the first answer may take before the question is sent again; doubled each time.
const RETRANSMIT: Duration = Duration::from_secs(1);
/// How often a question is sent in all: at 0, 1 and 3 seconds.
const ATTEMPTS: u32 = 3;
/// More than we announce, for servers that do not care.
const BUFFER: usize = 4096;
/// Sockets to one server at once (F-E6); more questions share them.
const SOCKETS_MAX: usize = 64;
/// How long a socket that may be shared waits for another question.
const IDLE: Duration = Duration::from_secs(10);
/// How long a socket is given questions: then its port has been seen often enough.
const AGE_MAX: Duration = Duration::from_secs(60);

/// An answer; `None` if it did not fit.
type Landed = io::Result<Option<Response>>;

/// The sockets to one server.
pub(super) struct Sockets {
    reach: Arc<Reach>,
    places: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    lines: Vec<Weak<Line>>,
    /// Receives for each of them, and keeps it.
    receivers: JoinSet<()>,
}

impl Sockets {
    pub(super) fn new(reach: Arc<Reach>) -> Self {
        Self { reach, places: Arc::new(Semaphore::new(SOCKETS_MAX)), open: Mutex::default() }
    }

    /// Asks by UDP; `None` if the answer did not fit.
    pub(super) async fn ask(
        &self,
        question: &Question,
        extension: Extension,
    ) -> Result<Option<Response>, UpstreamError> {
        let mut waiter = self.waiter(question).await?;
        let query = question.encode(waiter.id, extension)?;
        for attempt in 0..ATTEMPTS {
            waiter.line.send(&query).await?;
            if let Ok(landed) = timeout(RETRANSMIT * 2_u32.pow(attempt), &mut waiter.landing).await {
                return Ok(landed.map_err(|_| UpstreamError::Closed)??);
            }
        }
        Err(UpstreamError::Silent)
    }

    /// A place on a socket: on one that is there, if it may be shared, or on a new one.
    async fn waiter(&self, question: &Question) -> Result<Waiter, UpstreamError> {
        if self.reach.out.shares
            && let Some(waiter) = self.shared(question)?
        {
            return Ok(waiter);
        }
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match self.shared(question)? {
                Some(waiter) => return Ok(waiter),
                // All are still being opened, or were just closed.
                None => Arc::clone(&self.places).acquire_owned().await.map_err(|_| UpstreamError::Closed)?,
            },
        };
        let (sockets, server) = self.reach.datagrams().await?;
        let line = Arc::new(Line {
            server,
            opened: Instant::now(),
            idle: if self.reach.out.shares { IDLE } else { Duration::ZERO },
            send: AsyncMutex::new(sockets.send),
            waiting: Mutex::default(),
            fewer: Notify::new(),
            _place: permit,
        });
        let waiter = Waiter::new(&line, question)?.ok_or(UpstreamError::Closed)?;
        let mut open = self.open.lock();
        open.lines.retain(|line| line.strong_count() > 0);
        open.lines.push(Arc::downgrade(&line));
        while open.receivers.try_join_next().is_some() {}
        open.receivers.spawn(line.receive(sockets.recv));
        Ok(waiter)
    }

    /// A place on any of the sockets that are there.
    fn shared(&self, question: &Question) -> io::Result<Option<Waiter>> {
        let lines: Vec<Arc<Line>> = {
            let open = self.open.lock();
            let lines = open.lines.iter().filter_map(Weak::upgrade);
            lines.filter(|line| line.opened.elapsed() < AGE_MAX).collect()
        };
        let choice = usize::from(random_id()?).checked_rem(lines.len());
        choice.and_then(|choice| lines.get(choice)).map_or(Ok(None), |line| Waiter::new(line, question))
    }
}

/// One socket.
struct Line {
    server: Target,
    opened: Instant,
    /// How long it is kept when nobody waits.
    idle: Duration,
    send: AsyncMutex<Box<dyn SendDatagram>>,
    waiting: Mutex<Waiting>,
    /// Somebody has stopped waiting.
    fewer: Notify,
    _place: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Waiting {
    /// By the id that a question has on this socket.
    questions: HashMap<u16, (Question, oneshot::Sender<Landed>)>,
    is_closed: bool,
}

/// Who waits for an answer. Dropped, it waits no more.
struct Waiter {
    line: Arc<Line>,
    id: u16,
    landing: oneshot::Receiver<Landed>,
}

impl Waiter {
    /// `None` if the socket is closed.
    fn new(line: &Arc<Line>, question: &Question) -> io::Result<Option<Self>> {
        let mut id = random_id()?;
        let mut waiting = line.waiting.lock();
        if waiting.is_closed {
            return Ok(None);
        }
        while waiting.questions.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        let (answer, landing) = oneshot::channel();
        waiting.questions.insert(id, (question.clone(), answer));
        Ok(Some(Self { line: Arc::clone(line), id, landing }))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.line.waiting.lock().questions.remove(&self.id);
        self.line.fewer.notify_one();
    }
}

impl Line {
    async fn send(&self, query: &[u8]) -> io::Result<()> {
        let mut send = self.send.lock().await;
        poll_fn(|cx| send.poll_send(cx, query, &self.server)).await
    }

    /// Hands out answers until nobody waits for any.
    async fn receive(self: Arc<Self>, mut recv: Box<dyn RecvDatagram>) {
        let mut buffer = vec![0; BUFFER];
        let mut used = Instant::now();
        while !self.is_over(used) {
            let mut room = ReadBuf::new(&mut buffer);
            tokio::select! {
                received = poll_fn(|cx| recv.poll_recv(cx, &mut room)) => match received {
                    Ok(from) => self.deliver(&from, room.filled()),
                    Err(error) => return self.fail(&error),
                },
                () = self.fewer.notified() => used = Instant::now(),
                () = sleep_until(used + self.idle), if !self.idle.is_zero() => {
                    if self.is_waited_for() {
                        used = Instant::now();
                    }
                }
            }
        }
    }

    fn is_waited_for(&self) -> bool {
        !self.waiting.lock().questions.is_empty()
    }

    /// Whether nobody waits, or will.
    fn is_over(&self, used: Instant) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = waiting.questions.is_empty() && used.elapsed() >= self.idle;
        waiting.is_closed
    }

    /// Passes over everything that is not an answer: it may be forged, and the real one still on its way
    /// (RFC 5452 §9.1).
    fn deliver(&self, from: &Target, message: &[u8]) {
        let Some(id) = id_of(message).filter(|_| *from == self.server) else { return };
        let mut waiting = self.waiting.lock();
        let Some((question, _)) = waiting.questions.get(&id) else { return };
        let landed = if is_truncated(message) {
            None
        } else {
            match read_response(message, question, id) {
                Ok(response) => Some(response),
                Err(error) => {
                    tracing::debug!(server = %self.server, %error, "passed over a datagram that is no answer");
                    return;
                }
            }
        };
        if let Some((_, answer)) = waiting.questions.remove(&id) {
            let _ = answer.send(Ok(landed));
        }
    }

    fn fail(&self, error: &io::Error) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        for (_, (_, answer)) in waiting.questions.drain() {
            let _ = answer.send(Err(io::Error::new(error.kind(), error.to_string())));
        }
    }
}
