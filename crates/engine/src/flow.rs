//! One client's UDP flow: its targets, its verdicts, and one leg per outbound it uses.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{BoxFuture, Datagrams, Dial, DialError, Network, Packet, ReturnPath, Session, Tag, Target};
use tokio::io::ReadBuf;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, timeout};

use crate::flows::Queued;
use crate::log;
use crate::route::Route;
use crate::table::{Row, Table};
use crate::world::World;

/// A flow without a datagram in either direction ends after this (faults §1).
const IDLE: Duration = Duration::from_secs(60);

/// A target that was refused is not tried again for this long; its datagrams are swallowed meanwhile.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// An outbound that is not ready for datagrams after this is given up.
const OPEN_BUDGET: Duration = Duration::from_secs(20);

/// Datagrams that wait for a verdict or for a leg to open; the oldest go first.
const WAITING: usize = 16;

/// Verdicts a flow remembers; beyond it they are forgotten and asked again.
const MAX_TARGETS: usize = 1024;

/// Datagrams moved per turn before other tasks get theirs.
const TURN: usize = 64;

/// The largest UDP payload there is.
const LARGEST: usize = 65_535;

thread_local! {
    /// Where datagrams are received into; a flow that waits holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGEST].into_boxed_slice());
}

/// See the module.
pub(crate) struct Flow {
    world: Arc<World>,
    table: Table,
    inbox: mpsc::Receiver<Queued>,
    back: Arc<dyn ReturnPath>,
    verdicts: HashMap<Target, Verdict>,
    routing: Vec<Routing>,
    legs: Vec<Leg>,
    last_active: Instant,
    timer: Pin<Box<Sleep>>,
}

/// What is known of a target.
enum Verdict {
    /// Being asked; see `routing`.
    Asked,
    /// Goes to the leg of this outbound, under this name.
    Leg(Tag, Target),
    /// Refused until then.
    Refused(Instant),
}

/// A target whose verdict is awaited.
struct Routing {
    session: Session,
    verdict: BoxFuture<'static, Result<Route, DialError>>,
    waiting: VecDeque<Queued>,
}

/// The way through one outbound.
struct Leg {
    outbound: Tag,
    row: Row,
    killed: BoxFuture<'static, ()>,
    /// Datagrams that wait until the leg is open and its socket takes them.
    waiting: VecDeque<(Target, Queued)>,
    state: LegState,
}

enum LegState {
    Opening(BoxFuture<'static, Result<Datagrams, DialError>>),
    Open(Datagrams),
}

/// The client cannot be reached any more.
struct ClientGone;

impl Flow {
    pub(crate) fn new(
        world: Arc<World>,
        table: Table,
        inbox: mpsc::Receiver<Queued>,
        back: Arc<dyn ReturnPath>,
    ) -> Self {
        Self {
            world,
            table,
            inbox,
            back,
            verdicts: HashMap::new(),
            routing: Vec::new(),
            legs: Vec::new(),
            last_active: Instant::now(),
            timer: Box::pin(tokio::time::sleep(IDLE)),
        }
    }

    /// Runs until the flow is idle, its client is gone, or its inbox is dropped.
    pub(crate) async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await;
    }

    /// One turn of everything. `Ready` ends the flow.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut moved = 0;
        loop {
            let before = moved;
            match self.inbox.poll_recv(cx) {
                Poll::Ready(Some(packet)) => {
                    moved += 1;
                    self.take(packet);
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            moved += self.poll_routing(cx);
            match self.poll_legs(cx) {
                Ok(n) => moved += n,
                Err(ClientGone) => return Poll::Ready(()),
            }
            if moved == before {
                break;
            }
            self.last_active = Instant::now();
            if moved >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.poll_idle(cx)
    }

    /// One timer and a stamp, checked when it fires: not a timer set anew for each datagram.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let end = self.last_active + IDLE;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// Sends `packet` on its way, or lets it wait for its verdict.
    fn take(&mut self, packet: Queued) {
        self.back = Arc::clone(&packet.packet.back);
        match self.verdicts.get(&packet.packet.target) {
            Some(Verdict::Leg(outbound, target)) => {
                let (outbound, target) = (outbound.clone(), target.clone());
                if let Some(leg) = self.legs.iter_mut().find(|leg| leg.outbound == outbound) {
                    leg.send(target, packet);
                } else {
                    // The leg died: this packet asks anew (F-B15).
                    self.ask(packet);
                }
            }
            Some(Verdict::Asked) => {
                let target = &packet.packet.target;
                if let Some(asked) = self.routing.iter_mut().find(|routing| routing.session.target == *target) {
                    enqueue(&mut asked.waiting, packet);
                }
            }
            Some(Verdict::Refused(until)) if Instant::now() < *until => {}
            Some(Verdict::Refused(_)) | None => self.ask(packet),
        }
    }

    /// Asks where `packet`'s target goes.
    fn ask(&mut self, packet: Queued) {
        if self.verdicts.len() >= MAX_TARGETS {
            self.verdicts.retain(|_, verdict| matches!(verdict, Verdict::Asked));
        }
        if self.routing.len() >= MAX_TARGETS {
            return;
        }
        let Packet { entry, client, target, .. } = &packet.packet;
        let session = Session::new(Network::Udp, entry.as_ref().clone(), *client, target.clone());
        self.verdicts.insert(target.clone(), Verdict::Asked);
        let (world, asked) = (Arc::clone(&self.world), session.clone());
        let verdict = Box::pin(async move { world.route(&asked).await });
        self.routing.push(Routing { session, verdict, waiting: VecDeque::from([packet]) });
    }

    /// Takes the verdicts that have come; returns how many.
    fn poll_routing(&mut self, cx: &mut Context<'_>) -> usize {
        let mut settled = 0;
        let mut at = 0;
        while let Some(routing) = self.routing.get_mut(at) {
            let Poll::Ready(verdict) = routing.verdict.as_mut().poll(cx) else {
                at += 1;
                continue;
            };
            let Routing { session, waiting, .. } = self.routing.swap_remove(at);
            settled += 1;
            match verdict {
                Ok(route) => self.follow(session, route, waiting),
                Err(why) => self.refuse(&session, &why),
            }
        }
        settled
    }

    /// Sends what waited through the leg of the route's outbound, which is opened if there is none.
    fn follow(&mut self, session: Session, route: Route, waiting: VecDeque<Queued>) {
        let Some(outbound) = route.way.chain.first().cloned() else { return };
        log::routed(&session, &route.decision);
        self.verdicts.insert(session.target.clone(), Verdict::Leg(outbound.clone(), route.target.clone()));
        let target = route.target.clone();
        let leg = match self.legs.iter().position(|leg| leg.outbound == outbound) {
            Some(at) => &mut self.legs[at],
            None => {
                self.legs.push(Leg::open(&self.table, outbound, session, route));
                let last = self.legs.len() - 1;
                &mut self.legs[last]
            }
        };
        for packet in waiting {
            leg.send(target.clone(), packet);
        }
    }

    fn refuse(&mut self, session: &Session, why: &DialError) {
        log::not_reached(session, None, why);
        self.verdicts.insert(session.target.clone(), Verdict::Refused(Instant::now() + REFUSED_FOR));
    }

    /// Opens legs, carries answers back, and buries what died; returns how many datagrams came.
    fn poll_legs(&mut self, cx: &mut Context<'_>) -> Result<usize, ClientGone> {
        let mut moved = 0;
        let mut at = 0;
        while let Some(leg) = self.legs.get_mut(at) {
            match leg.poll(cx, &*self.back)? {
                LegTurn::Alive { moved: here } => {
                    moved += here;
                    at += 1;
                }
                LegTurn::Dead => {
                    self.legs.swap_remove(at);
                }
                LegTurn::Refused(why) => {
                    let leg = self.legs.swap_remove(at);
                    log::not_reached(leg.row.session(), leg.row.decision(), &why);
                    let until = Instant::now() + REFUSED_FOR;
                    for verdict in self.verdicts.values_mut() {
                        if matches!(verdict, Verdict::Leg(outbound, _) if *outbound == leg.outbound) {
                            *verdict = Verdict::Refused(until);
                        }
                    }
                }
            }
        }
        Ok(moved)
    }
}

/// What came of looking at a leg.
enum LegTurn {
    Alive { moved: usize },
    Dead,
    Refused(DialError),
}

impl Leg {
    /// Begins to open the way through `route`'s outbound.
    fn open(table: &Table, outbound: Tag, session: Session, route: Route) -> Self {
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
        Self { outbound, row, killed, waiting: VecDeque::new(), state: LegState::Opening(datagrams) }
    }

    /// Takes one datagram; [`Leg::poll`] sends it. When the socket is full the oldest go, as in a network.
    fn send(&mut self, to: Target, packet: Queued) {
        enqueue(&mut self.waiting, (to, packet));
    }

    fn poll(&mut self, cx: &mut Context<'_>, back: &dyn ReturnPath) -> Result<LegTurn, ClientGone> {
        if self.killed.as_mut().poll(cx).is_ready() {
            return Ok(LegTurn::Dead);
        }
        if let LegState::Opening(datagrams) = &mut self.state {
            match datagrams.as_mut().poll(cx) {
                Poll::Pending => return Ok(LegTurn::Alive { moved: 0 }),
                Poll::Ready(Err(why)) => return Ok(LegTurn::Refused(why)),
                Poll::Ready(Ok(opened)) => self.state = LegState::Open(opened),
            }
        }
        let sent = self.poll_send(cx);
        Ok(match self.poll_recv(cx, back)? {
            Some(received) => LegTurn::Alive { moved: sent + received },
            None => LegTurn::Dead,
        })
    }

    /// Sends what waits, as far as the socket takes it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> usize {
        let LegState::Open(datagrams) = &mut self.state else { return 0 };
        let mut sent = 0;
        while let Some((to, packet)) = self.waiting.front() {
            match datagrams.send.poll_send(cx, &packet.packet.payload, to) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => self.row.counters().add_up(packet.packet.payload.len() as u64),
                Poll::Ready(Err(error)) => tracing::debug!(%to, %error, "a datagram was not sent"),
            }
            sent += 1;
            self.waiting.pop_front();
        }
        sent
    }

    /// Carries answers back; `None` when the leg has ended.
    fn poll_recv(&mut self, cx: &mut Context<'_>, back: &dyn ReturnPath) -> Result<Option<usize>, ClientGone> {
        let LegState::Open(datagrams) = &mut self.state else { return Ok(None) };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut received = 0;
            while received < TURN {
                let mut buf = ReadBuf::new(scratch);
                match datagrams.recv.poll_recv(cx, &mut buf) {
                    Poll::Pending => break,
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(outbound = %self.outbound, %error, "a UDP leg ended");
                        return Ok(None);
                    }
                    Poll::Ready(Ok(from)) => {
                        received += 1;
                        self.row.counters().add_down(buf.filled().len() as u64);
                        back.send(&from, buf.filled()).map_err(|_| ClientGone)?;
                    }
                }
            }
            Ok(Some(received))
        })
    }
}

/// Lets `item` wait; the oldest goes when too many do.
fn enqueue<T>(waiting: &mut VecDeque<T>, item: T) {
    if waiting.len() == WAITING {
        waiting.pop_front();
    }
    waiting.push_back(item);
}
