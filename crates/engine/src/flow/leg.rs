//! The way of a flow through one outbound.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_dns::Held;
use adit_net::{BoxFuture, Datagrams, Dial, DialError, Host, ReturnPath, Session, Tag, Target};
use tokio::io::ReadBuf;
use tokio::time::timeout;

use super::TURN;
use super::inbox::{Datagram, INBOX, enqueue, settle};
use crate::route::Route;
use crate::table::{Row, Table};

/// An outbound that is not ready for datagrams after this is given up.
const OPEN_BUDGET: Duration = Duration::from_secs(20);

/// The largest UDP payload there is.
const LARGEST: usize = 65_535;

thread_local! {
    /// Where datagrams are received into; a flow that waits holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGEST].into_boxed_slice());
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
        while let Some(datagram) = self.waiting.front() {
            match datagrams.send.poll_send(cx, &datagram.payload, &datagram.target) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => self.row.counters().add_up(datagram.payload.len() as u64),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(to = %datagram.target, %error, "a datagram was not sent");
                }
            }
            sent += 1;
            self.waiting.pop_front();
        }
        settle(&mut self.waiting);
        sent
    }

    /// Carries answers back; `None` when the leg has ended.
    fn poll_recv(&mut self, cx: &mut Context<'_>, back: &dyn ReturnPath) -> Result<Option<usize>, ClientGone> {
        let State::Open(datagrams) = &mut self.state else { return Ok(None) };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut received = 0;
            while received < TURN {
                let mut buf = ReadBuf::new(scratch);
                match datagrams.recv.poll_recv(cx, &mut buf) {
                    Poll::Pending => break,
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(outbound = %self.purpose.outbound, %error, "a UDP leg ended");
                        return Ok(None);
                    }
                    Poll::Ready(Ok(from)) => {
                        received += 1;
                        self.row.counters().add_down(buf.filled().len() as u64);
                        let from = self.purpose.source(from);
                        back.send(&from, buf.filled()).map_err(|_| ClientGone)?;
                    }
                }
            }
            Ok(Some(received))
        })
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
