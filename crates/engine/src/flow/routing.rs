//! A target whose verdict is awaited: looked into first, if somebody wants that, then asked for.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use adit_dns::Held;
use adit_net::{BoxFuture, DialError, DnsMode, Session, Target};
use adit_sniffer::{Found, Plan, Protocol, QuicSniffer, Verdict};
use tokio::time::{Sleep, sleep};

use super::inbox::{Datagram, enqueue};
use crate::look::take;
use crate::route::Route;
use crate::world::World;

/// Datagrams that wait for one verdict; the oldest go first.
const WAITING: usize = 16;

/// How long a client may take to say whom it means, from its first datagram.
const PATIENCE: Duration = Duration::from_millis(300);

/// See the module.
pub(super) struct Routing {
    /// Where the client's datagrams are addressed to.
    pub(super) written: Target,
    waiting: VecDeque<Datagram>,
    /// The fake address in `written` goes on standing for its name.
    held: Option<Held>,
    stage: Stage,
}

enum Stage {
    Looking(Box<Looking>),
    Asked(BoxFuture<'static, (Session, Result<Route, DialError>)>),
}

/// Looking for a name in the first datagrams.
struct Looking {
    plan: Arc<Plan>,
    sniffer: QuicSniffer,
    session: Session,
    /// Whether the target may be dialled if no name is found.
    recalled: Result<(), DialError>,
    until: Pin<Box<Sleep>>,
    /// What came of it.
    over: Option<Option<Found>>,
}

/// A verdict that has come.
pub(super) struct Settled {
    pub(super) written: Target,
    pub(super) session: Session,
    pub(super) route: Result<Route, DialError>,
    pub(super) waiting: VecDeque<Datagram>,
    pub(super) held: Option<Held>,
}

impl Routing {
    /// Begins to find out where `first` goes. The session's target is the address that the client wrote to.
    pub(super) fn new(world: &Arc<World>, mut session: Session, first: Datagram) -> Self {
        let written = session.target.clone();
        // Held before it is asked for: from here on it stands for one name.
        let fake_addresses = world.dns.as_ref().and_then(|dns| dns.fake_addresses());
        let held = fake_addresses.zip(written.host.ip()).and_then(|(fake, ip)| fake.hold(ip));
        let recalled = world.recall(&mut session);
        let stage = match wanting(world, &session) {
            Some(plan) => Stage::Looking(Box::new(Looking {
                plan: Arc::clone(plan),
                sniffer: QuicSniffer::new(),
                session,
                recalled,
                until: Box::pin(sleep(PATIENCE)),
                over: None,
            })),
            None => ask(world, session, recalled),
        };
        let mut routing = Self { written, waiting: VecDeque::new(), held, stage };
        routing.wait(first);
        routing
    }

    /// Lets `datagram` wait for the verdict, and looks into it.
    pub(super) fn wait(&mut self, datagram: Datagram) {
        if let Stage::Looking(looking) = &mut self.stage {
            looking.feed(&datagram.payload);
        }
        enqueue(&mut self.waiting, datagram, WAITING);
        if let Stage::Looking(looking) = &mut self.stage
            && self.waiting.len() >= WAITING
        {
            // The next one would push out the first.
            looking.over.get_or_insert(None);
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, world: &Arc<World>) -> Poll<Settled> {
        if let Stage::Looking(looking) = &mut self.stage {
            let timed_out = looking.until.as_mut().poll(cx).is_ready();
            let Some(found) = looking.over.take().or_else(|| timed_out.then_some(None)) else { return Poll::Pending };
            // The name, and where the session goes if there is none.
            let Looking { plan, session, recalled, .. } = &mut **looking;
            let recalled = std::mem::replace(recalled, Ok(()));
            let recalled = match found {
                Some(found) => take(plan, session, found, recalled),
                None => recalled,
            };
            self.stage = ask(world, session.clone(), recalled);
        }
        let Stage::Asked(verdict) = &mut self.stage else { return Poll::Pending };
        verdict.as_mut().poll(cx).map(|(session, route)| Settled {
            written: self.written.clone(),
            session,
            route,
            waiting: std::mem::take(&mut self.waiting),
            held: self.held.take(),
        })
    }
}

impl Looking {
    fn feed(&mut self, payload: &[u8]) {
        if self.over.is_some() {
            return;
        }
        self.over = match self.sniffer.feed(payload) {
            Verdict::Name(name) => Some(Some(Found { protocol: Protocol::Quic, name })),
            Verdict::NotThis => Some(None),
            Verdict::NeedMore => None,
        };
    }
}

/// The plan that wants to look into `session`.
fn wanting<'w>(world: &'w World, session: &Session) -> Option<&'w Arc<Plan>> {
    let plan = world.sniffer.as_ref()?;
    let mapped = if let DnsMode::RedirHost { name, .. } = &session.dns { Some(name) } else { None };
    plan.wants(session, mapped, Instant::now()).filter(|wanted| wanted.quic).map(|_| plan)
}

fn ask(world: &Arc<World>, session: Session, recalled: Result<(), DialError>) -> Stage {
    let world = Arc::clone(world);
    Stage::Asked(Box::pin(async move {
        let route = match recalled {
            Ok(()) => world.route(&session).await,
            Err(why) => Err(why),
        };
        (session, route)
    }))
}
