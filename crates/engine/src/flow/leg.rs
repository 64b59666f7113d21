//! The way of a flow through one outbound.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_dns::Held;
use adit_net::{BATCH, BoxFuture, Datagrams, Dial, DialError, Host, ReturnPath, Session, Tag, Target};
use tokio::time::timeout;

use super::TURN;
use super::inbox::{Datagram, INBOX, enqueue};
use crate::route::Route;
use crate::table::{Row, Table};

/// An outbound that is not ready for datagrams after this is given up.
const OPEN_BUDGET: Duration = Duration::from_secs(20);

/// Room for the largest UDP payload there is.
const LARGEST: usize = 65_535;

thread_local! {
    /// Where datagrams are received into; a flow that waits holds no buffer. Pages become real when they are written to.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BATCH * LARGEST].into_boxed_slice());
}

thread_local! {
    /// Room for a leg's datagrams, which a leg that waits does not hold: filled and emptied within a turn, mostly.
    static SPARE: Cell<VecDeque<Datagram>> = const { Cell::new(VecDeque::new()) };
}

/// Which traffic of a flow a leg carries.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Purpose {
    pub(super) outbound: Tag,
    /// None: whatever the client addressed as it is meant. Answers keep their real source, and come from anywhere
    /// (RFC 4787 §5, endpoint-independent filtering).
    pub(super) translated: Option<Translated>,
}

/// Traffic to an address that stands for something else. All answers come from that address.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) written: IpAddr,
    pub(super) asked: Host,
}

/// See the module.
pub(super) struct Leg {
    /// Names this leg for the life of the flow.
    pub(super) id: u64,
    pub(super) purpose: Purpose,
    /// The flow's count at its last datagram.
    pub(super) last: u64,
    pub(super) row: Row,
    killed: BoxFuture<'static, ()>,
    /// Datagrams that wait until the leg is open and its socket takes them.
    waiting: VecDeque<Datagram>,
    state: State,
    _held: Option<Held>,
}

enum State {
    Opening(BoxFuture<'static, Result<Datagrams, DialError>>),
    Open(Datagrams),
}

/// What came of looking at a leg.
pub(super) enum Turn {
    Alive { moved: usize },
    Dead,
    Refused(DialError),
}

/// The client cannot be reached any more.
pub(super) struct ClientGone;

impl Leg {
    /// Begins to open the way through `route`'s outbound.
    pub(super) fn open(
        id: u64,
        purpose: Purpose,
        table: &Table,
        session: Session,
        route: Route,
        held: Option<Held>,
    ) -> Self {
        let client = session.client;
        let row = table.enter(session);
        row.decided(route.decision);
        let killed = Box::pin(row.killed_for_ever());
        let datagrams = Box::pin(async move {
            let dial = Dial { target: &route.target, known: route.known, client: Some(client) };
            match timeout(OPEN_BUDGET, route.way.dialer.datagrams(dial)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(DialError::TimedOut(format!("opening a packet socket for {}", route.target))),
            }
        });
        let state = State::Opening(datagrams);
        Self { id, purpose, last: 0, row, killed, waiting: VecDeque::new(), state, _held: held }
    }

    /// Takes one datagram; [`Leg::poll`] sends it. When the socket is full the oldest go, as in a network.
    pub(super) fn send(&mut self, datagram: Datagram) {
        if self.waiting.capacity() == 0 {
            self.waiting = SPARE.take();
        }
        enqueue(&mut self.waiting, datagram, INBOX);
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, back: &dyn ReturnPath) -> Result<Turn, ClientGone> {
        if self.killed.as_mut().poll(cx).is_ready() {
            return Ok(Turn::Dead);
        }
        if let State::Opening(datagrams) = &mut self.state {
            match datagrams.as_mut().poll(cx) {
                Poll::Pending => return Ok(Turn::Alive { moved: 0 }),
                Poll::Ready(Err(why)) => return Ok(Turn::Refused(why)),
                Poll::Ready(Ok(opened)) => self.state = State::Open(opened),
            }
        }
        let sent = self.poll_send(cx);
        Ok(match self.poll_recv(cx, back)? {
            Some(received) => Turn::Alive { moved: sent + received },
            None => Turn::Dead,
        })
    }

    /// Sends what waits, as far as the socket takes it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> usize {
        let State::Open(datagrams) = &mut self.state else { return 0 };
        let mut sent = 0;
        while let Some(first) = self.waiting.front() {
            let mut payloads = [IoSlice::new(&[]); BATCH];
            let together = self.waiting.iter().take_while(|datagram| datagram.target == first.target);
            let mut count = 0;
            for (slot, datagram) in payloads.iter_mut().zip(together) {
                *slot = IoSlice::new(&datagram.payload);
                count += 1;
            }
            let payloads = payloads.get(..count).unwrap_or_default();
            let gone = match datagrams.send.poll_send_batch(cx, payloads, &first.target) {
                Poll::Pending => break,
                Poll::Ready(Ok(gone)) => {
                    let bytes: usize = payloads.iter().take(gone).map(|payload| payload.len()).sum();
                    self.row.counters().add_up(bytes as u64);
                    gone.max(1)
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(to = %first.target, %error, "a datagram was not sent");
                    1
                }
            };
            sent += gone;
            self.waiting.drain(..gone.min(count));
        }
        if sent > 0 && self.waiting.is_empty() {
            SPARE.set(std::mem::take(&mut self.waiting));
        }
        sent
    }

    /// Carries answers back; `None` when the leg has ended.
    fn poll_recv(&mut self, cx: &mut Context<'_>, back: &dyn ReturnPath) -> Result<Option<usize>, ClientGone> {
        let State::Open(datagrams) = &mut self.state else { return Ok(None) };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut received = 0;
            while received < TURN {
                let mut answers = Answers::to(back);
                let mut take = |from, payload| answers.add(self.purpose.source(from), payload);
                match datagrams.recv.poll_recv_batch(cx, scratch, &mut take) {
                    Poll::Pending => break,
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(outbound = %self.purpose.outbound, %error, "a UDP leg ended");
                        return Ok(None);
                    }
                    Poll::Ready(Ok(())) => {
                        let (count, bytes) = answers.finish().map_err(|_| ClientGone)?;
                        received += count;
                        self.row.counters().add_down(bytes);
                    }
                }
            }
            Ok(Some(received))
        })
    }
}

/// Answers on their way back to the client: those of one sender go together.
struct Answers<'r> {
    back: &'r dyn ReturnPath,
    from: Option<Target>,
    payloads: [IoSlice<'r>; BATCH],
    waiting: usize,
    count: usize,
    bytes: u64,
    outcome: io::Result<()>,
}

impl<'r> Answers<'r> {
    fn to(back: &'r dyn ReturnPath) -> Self {
        let payloads = [IoSlice::new(&[]); BATCH];
        Self { back, from: None, payloads, waiting: 0, count: 0, bytes: 0, outcome: Ok(()) }
    }

    fn add(&mut self, from: Target, payload: &'r [u8]) {
        if self.waiting == BATCH || self.from.as_ref() != Some(&from) {
            self.flush();
            self.from = Some(from);
        }
        if let Some(slot) = self.payloads.get_mut(self.waiting) {
            *slot = IoSlice::new(payload);
            self.waiting += 1;
        }
        self.count += 1;
        self.bytes += payload.len() as u64;
    }

    fn flush(&mut self) {
        let payloads = self.payloads.get(..self.waiting).unwrap_or_default();
        if let Some(from) = self.from.as_ref().filter(|_| !payloads.is_empty())
            && self.outcome.is_ok()
        {
            self.outcome = self.back.send_batch(from, payloads);
        }
        self.waiting = 0;
    }

    /// How many there were, and how long they were together.
    fn finish(mut self) -> io::Result<(usize, u64)> {
        self.flush();
        self.outcome.map(|()| (self.count, self.bytes))
    }
}

impl Purpose {
    /// Who the client is told has answered.
    fn source(&self, from: Target) -> Target {
        match &self.translated {
            Some(translated) => Target::new(translated.written, from.port),
            None => from,
        }
    }
}
