//! One client's UDP flow: its targets, its verdicts, and its ways through the outbounds it uses.
//!
//! One task owns all of it; only the inbox is shared. What the client addressed as it is meant goes through one leg for
//! each outbound, so that the client has one mapping for all its targets. Where the outbound is asked for something else
//! than what the client wrote (fake addresses, `hosts`, sniffed names), the leg is of that address alone, because all its
//! answers have to come from there.

mod inbox;
mod leg;
mod routing;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_dns::Held;
use adit_net::{ClientAddr, DialError, Network, Packet, Session, Target};
use adit_outbound::Role;
use tokio::time::{Instant, Sleep, sleep};

pub(crate) use self::inbox::{Datagram, Door, Inbox};
use self::leg::{ClientGone, Leg, Purpose, Translated, Turn};
use self::routing::{Routing, Settled};
use crate::dns::Questions;
use crate::flows::Leave;
use crate::log;
use crate::route::Route;
use crate::serve::no_dns;
use crate::table::Table;
use crate::world::World;

/// A flow without a datagram in either direction ends after this (faults §1).
const IDLE: Duration = Duration::from_secs(60);

/// A target that was refused is not tried again for this long; its datagrams are swallowed meanwhile.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Verdicts a flow remembers; beyond it they are forgotten and asked again.
const MAX_TARGETS: usize = 1024;

/// Targets whose verdict is awaited at once; datagrams to others are dropped meanwhile.
const MAX_ASKED: usize = 256;

/// Legs of translated addresses; the one that has not sent for longest makes room.
const MAX_TRANSLATED: usize = 64;

/// Datagrams moved per turn before other tasks get theirs.
const TURN: usize = 64;

thread_local! {
    /// What one flow has taken out of its inbox. Empty between turns.
    static BATCH: Cell<VecDeque<Datagram>> = const { Cell::new(VecDeque::new()) };
}

/// A task that runs until the flow is idle or its client is gone.
pub(crate) struct Flow {
    world: Arc<World>,
    table: Table,
    questions: Questions,
    client: ClientAddr,
    inbox: Arc<Inbox>,
    door: Door,
    verdicts: HashMap<Target, Verdict>,
    routing: Vec<Routing>,
    legs: Vec<Leg>,
    /// Counts datagrams and legs: both get the next number.
    count: u64,
    last_active: Instant,
    timer: Pin<Box<Sleep>>,
    /// The last to be dropped.
    _leave: Leave,
}

/// What is known of what a client wrote to.
enum Verdict {
    /// Being asked; see `routing`.
    Asked,
    /// Goes to the leg of this number; to `asked`, if that is not what the client wrote.
    Leg { id: u64, asked: Option<Target> },
    /// Our own DNS answers.
    Dns { _held: Option<Held> },
    /// Refused until then.
    Refused(Instant),
}

impl Flow {
    /// The flow of `client`, whose datagrams come through `inbox`, and who takes `leave` in the end.
    pub(crate) fn new(
        world: Arc<World>,
        table: Table,
        questions: Questions,
        client: ClientAddr,
        door: Door,
        inbox: Arc<Inbox>,
        leave: Leave,
    ) -> Self {
        Self {
            world,
            table,
            questions,
            client,
            inbox,
            door,
            verdicts: HashMap::new(),
            routing: Vec::new(),
            legs: Vec::new(),
            count: 0,
            last_active: Instant::now(),
            timer: Box::pin(sleep(IDLE)),
            _leave: leave,
        }
    }

    /// One turn of everything. `Ready` ends the flow.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut moved = 0;
        loop {
            let before = moved;
            moved += self.poll_inbox(cx);
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

    /// Takes what has come from the client; returns how many datagrams that were.
    fn poll_inbox(&mut self, cx: &Context<'_>) -> usize {
        // A flow that waits holds no room for a burst.
        let mut batch = BATCH.take();
        let taken = if let Poll::Ready(door) = self.inbox.poll_take(cx, &mut batch) {
            if let Some(door) = door {
                self.door = door;
            }
            let taken = batch.len();
            batch.drain(..).for_each(|datagram| self.take(datagram));
            taken
        } else {
            0
        };
        BATCH.set(batch);
        taken
    }

    /// Sends `datagram` on its way, or lets it wait for its verdict.
    fn take(&mut self, mut datagram: Datagram) {
        match self.verdicts.get(&datagram.target) {
            Some(Verdict::Leg { id, asked }) => {
                let Some(leg) = self.legs.iter_mut().find(|leg| leg.id == *id) else {
                    // The leg died: this datagram asks anew (F-B15).
                    return self.ask(datagram);
                };
                if let Some(asked) = asked {
                    datagram.target.clone_from(asked);
                }
                self.count += 1;
                leg.last = self.count;
                leg.send(datagram);
            }
            Some(Verdict::Asked) => {
                if let Some(asked) = self.routing.iter_mut().find(|routing| routing.written == datagram.target) {
                    asked.wait(datagram);
                }
            }
            Some(Verdict::Dns { .. }) => self.answer(&datagram),
            Some(Verdict::Refused(until)) if Instant::now() < *until => {}
            Some(Verdict::Refused(_)) | None => self.ask(datagram),
        }
    }

    /// Asks where `datagram`'s target goes.
    fn ask(&mut self, datagram: Datagram) {
        if self.verdicts.len() >= MAX_TARGETS {
            self.verdicts.retain(|_, verdict| matches!(verdict, Verdict::Asked));
        }
        if self.routing.len() >= MAX_ASKED {
            return;
        }
        let entry = self.door.entry.as_ref().clone();
        let mut session = Session::new(Network::Udp, entry, self.client, datagram.target.clone());
        session.dscp = datagram.dscp;
        self.verdicts.insert(datagram.target.clone(), Verdict::Asked);
        self.routing.push(Routing::new(&self.world, session, datagram));
    }

    /// Takes the verdicts that have come; returns how many.
    fn poll_routing(&mut self, cx: &mut Context<'_>) -> usize {
        let mut settled = 0;
        let mut at = 0;
        while let Some(routing) = self.routing.get_mut(at) {
            let Poll::Ready(verdict) = routing.poll(cx, &self.world) else {
                at += 1;
                continue;
            };
            self.routing.swap_remove(at);
            settled += 1;
            self.settle(verdict);
        }
        if self.routing.is_empty() {
            self.routing = Vec::new();
        }
        settled
    }

    fn settle(&mut self, settled: Settled) {
        let Settled { written, session, route, waiting, held } = settled;
        let route = match route {
            Ok(route) if route.way.role == Role::Dns && self.world.dns.is_none() => Err(no_dns()),
            route => route,
        };
        match route {
            Ok(route) if route.way.role == Role::Dns => {
                log::routed(&session, &route.decision);
                self.verdicts.insert(written, Verdict::Dns { _held: held });
                for datagram in &waiting {
                    self.answer(datagram);
                }
            }
            Ok(route) => self.follow(written, session, route, waiting, held),
            Err(why) => {
                log::not_reached(&session, None, &why);
                self.verdicts.insert(written, Verdict::Refused(Instant::now() + REFUSED_FOR));
            }
        }
    }

    /// Sends what waited through the leg of the route, which is opened if there is none.
    fn follow(
        &mut self,
        written: Target,
        session: Session,
        route: Route,
        waiting: VecDeque<Datagram>,
        held: Option<Held>,
    ) {
        let Some(outbound) = route.way.chain.first().cloned() else { return };
        log::routed(&session, &route.decision);
        // Whoever gave a name is told who has answered.
        let written_ip = written.host.ip().filter(|_| route.target.host != written.host);
        let translated = written_ip.map(|written| Translated { written, asked: route.target.host.clone() });
        let purpose = Purpose { outbound, translated };
        let asked = (route.target != written).then(|| route.target.clone());
        let id = match self.legs.iter().find(|leg| leg.purpose == purpose) {
            Some(leg) => leg.id,
            None => self.open(purpose, session, route, held),
        };
        self.verdicts.insert(written, Verdict::Leg { id, asked });
        for datagram in waiting {
            self.take(datagram);
        }
    }

    fn open(&mut self, purpose: Purpose, session: Session, route: Route, held: Option<Held>) -> u64 {
        if purpose.translated.is_some() {
            let of_addresses = |(_, leg): &(usize, &Leg)| leg.purpose.translated.is_some();
            let translated = || self.legs.iter().enumerate().filter(of_addresses);
            if translated().count() >= MAX_TRANSLATED
                && let Some((quietest, _)) = translated().min_by_key(|(_, leg)| leg.last)
            {
                self.legs.swap_remove(quietest);
            }
        }
        self.count += 1;
        // Most flows have one, and it is large.
        self.legs.reserve_exact(1);
        self.legs.push(Leg::open(self.count, purpose, &self.table, session, route, held));
        self.count
    }

    /// Lets our own DNS answer, from where the client has asked.
    fn answer(&self, datagram: &Datagram) {
        let Some(dns) = &self.world.dns else { return };
        let packet = Packet {
            entry: Arc::clone(&self.door.entry),
            client: self.client,
            target: datagram.target.clone(),
            dscp: datagram.dscp,
            payload: datagram.payload.clone(),
            back: Arc::clone(&self.door.back),
        };
        self.questions.answer(dns, &packet);
    }

    /// Opens legs, carries answers back, and buries what died; returns how many datagrams came.
    fn poll_legs(&mut self, cx: &mut Context<'_>) -> Result<usize, ClientGone> {
        let mut moved = 0;
        let mut at = 0;
        while let Some(leg) = self.legs.get_mut(at) {
            match leg.poll(cx, &*self.door.back)? {
                Turn::Alive { moved: here } => {
                    moved += here;
                    at += 1;
                }
                Turn::Dead => {
                    self.legs.swap_remove(at);
                }
                Turn::Refused(why) => {
                    let leg = self.legs.swap_remove(at);
                    self.refuse(&leg, &why);
                }
            }
        }
        Ok(moved)
    }

    /// The outbound was not reached: nothing that would take `leg` is tried for a while.
    fn refuse(&mut self, leg: &Leg, why: &DialError) {
        self.table.dials().failed(why);
        log::not_reached(leg.row.session(), leg.row.decision(), why);
        let until = Instant::now() + REFUSED_FOR;
        for verdict in self.verdicts.values_mut() {
            if matches!(verdict, Verdict::Leg { id, .. } if *id == leg.id) {
                *verdict = Verdict::Refused(until);
            }
        }
    }
}

impl Future for Flow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_turn(cx)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
