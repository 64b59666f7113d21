//! One connection, from the client's wish to its end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_dns::Service;

use adit_net::{
    Accepted, BoxStream, Broken, Dial, DialError, End, Handler, Limits, Packet, Reply, Side, farewell, relay,
};
use adit_outbound::Role;
use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::dns::Questions;
use crate::flows::Flows;
use crate::log;
use crate::table::{Row, Table};
use crate::world::World;

/// Everything up to the connected outbound: connect 10 s and handshake 10 s (faults §1), and a name to look up.
const DIAL_BUDGET: Duration = Duration::from_secs(25);

/// How long REJECT-DROP keeps a client waiting (mihomo-surface §3.7).
const DROP_HOLD: Duration = Duration::from_secs(60);

/// Serves connections and UDP flows by the rules of the world it holds.
#[derive(Debug)]
pub struct Engine {
    world: ArcSwap<World>,
    table: Table,
    flows: Flows,
    questions: Questions,
}

/// How a served connection ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was relayed.
    Relayed(End),
    /// Our own DNS answered; an error is the client's connection's.
    Answered(io::Result<()>),
    /// Somebody ended it by hand.
    Killed,
    /// No outbound was reached; the client was told.
    NotReached(DialError),
}

/// In a few words, for the log.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relayed(End::Broken(Broken { side: Side::Client, error })) => write!(f, "the client broke: {error}"),
            Self::Relayed(End::Broken(Broken { side: Side::Upstream, error })) => {
                write!(f, "the upstream broke: {error}")
            }
            Self::Relayed(End::Done(_)) => f.write_str("done"),
            Self::Relayed(End::Idle) => f.write_str("idle"),
            Self::Answered(_) => f.write_str("answered"),
            Self::Killed => f.write_str("closed by hand"),
            Self::NotReached(why) => write!(f, "not reached: {why}"),
        }
    }
}

/// What a session was routed to.
enum Reached {
    Upstream(BoxStream),
    /// Our own DNS answers.
    Dns(Service),
}

impl Engine {
    /// An engine for `world`.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            world: ArcSwap::from_pointee(world),
            table: Table::new(),
            flows: Flows::new(),
            questions: Questions::default(),
        }
    }

    /// Serves one connection to its end.
    ///
    /// # Cancel safety
    /// Dropping the future closes both sides and removes the row.
    pub async fn serve(&self, client: Accepted) -> Outcome {
        let Accepted { mut session, mut stream, reply } = client;
        let mut reply = Some(reply);
        let identified = Box::pin(self.world().identify(&mut session, &mut stream, &mut reply)).await;
        let mut row = self.table.enter(session);

        let upstream = match Box::pin(self.reach(&row, identified)).await {
            Ok(Reached::Upstream(upstream)) => upstream,
            Ok(Reached::Dns(dns)) => return Box::pin(answer(dns, &row, stream, reply)).await,
            Err(why) => {
                self.table.dials().failed(&why);
                log::not_reached(row.session(), row.decision(), &why);
                row.ended("not reached");
                Box::pin(refuse(stream, reply, &why)).await;
                return Outcome::NotReached(why);
            }
        };
        if let Some(error) = accept(&mut stream, reply).await.err() {
            return Outcome::Relayed(End::Broken(Broken { side: Side::Client, error }));
        }
        let outcome = tokio::select! {
            end = relay(stream, upstream, row.counters(), Limits::default()) => Outcome::Relayed(end),
            () = row.killed() => Outcome::Killed,
        };
        row.ended(outcome.to_string());
        outcome
    }

    /// Decides where the session goes, and dials.
    async fn reach(&self, row: &Row, identified: Result<(), DialError>) -> Result<Reached, DialError> {
        identified?;
        let session = row.session();
        let world = self.world.load_full();
        if let Some(dns) = world.captured(session.entry.protocol, &session.target) {
            return Ok(Reached::Dns(dns.clone()));
        }
        let route = world.route(session).await?;
        log::routed(session, &route.decision);
        row.decided(route.decision);
        if route.way.role == Role::Dns {
            return world.dns.clone().map(Reached::Dns).ok_or_else(no_dns);
        }
        let dial = Dial { target: &route.target, known: route.known, client: Some(session.client) };
        let begun = Instant::now();
        match timeout(DIAL_BUDGET, route.way.dialer.connect(dial)).await {
            Ok(Ok(upstream)) => {
                self.table.dials().succeeded(route.way.kind, begun.elapsed());
                row.connected_to(upstream.socket().and_then(|socket| socket.peer_addr().ok()).map(|peer| peer.ip()));
                Ok(Reached::Upstream(upstream))
            }
            Ok(Err(why)) => Err(why),
            Err(_) => Err(DialError::TimedOut(format!("reaching {}", route.target))),
        }
    }

    /// What is open right now.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Gives new connections another world. Those that are open keep theirs.
    pub fn replace(&self, world: World) {
        self.world.store(Arc::new(world));
    }

    /// The world that new connections get.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.world.load_full()
    }
}

impl Handler for Engine {
    async fn tcp(&self, client: Accepted) {
        let id = client.session.id;
        match self.serve(client).await {
            Outcome::Relayed(End::Broken(Broken { side, error })) => {
                tracing::debug!(%id, ?side, %error, "a connection broke");
            }
            outcome => tracing::debug!(%id, ?outcome, "a connection ended"),
        }
    }

    fn udp(&self, packet: Packet) {
        match self.world.load().captured(packet.entry.protocol, &packet.target) {
            Some(dns) => self.questions.answer(dns, &packet),
            None => self.flows.deliver(self, packet),
        }
    }
}

/// Tells the client that it is connected, unless it has been told.
async fn accept(stream: &mut BoxStream, reply: Option<&'static dyn Reply>) -> io::Result<()> {
    match reply {
        Some(reply) => stream.write_all(&reply.accepted()).await,
        None => Ok(()),
    }
}

/// Tells the client why not, in its protocol's words. A client whose protocol has none, or who was told that it is
/// connected, sees its connection fail.
async fn refuse(mut stream: BoxStream, reply: Option<&'static dyn Reply>, why: &DialError) {
    if matches!(why, DialError::Dropped) {
        let _ = timeout(DROP_HOLD, until_gone(&mut stream)).await;
        return;
    }
    match reply.map(|reply| reply.refused(why)).filter(|words| !words.is_empty()) {
        Some(words) => farewell(stream, &words).await,
        None => stream.abort(),
    }
}

/// Answers DNS questions until the client is done.
async fn answer(dns: Service, row: &Row, mut stream: BoxStream, reply: Option<&'static dyn Reply>) -> Outcome {
    let answered = async {
        accept(&mut stream, reply).await?;
        dns.converse(stream, row.session().client.ip()).await
    };
    tokio::select! {
        answered = answered => Outcome::Answered(answered),
        () = row.killed() => Outcome::Killed,
    }
}

/// What a rule that sends to a proxy of type `dns` gets where `dns` is off.
pub(crate) fn no_dns() -> DialError {
    DialError::Denied("a rule sends this to our own DNS, which is off: set `dns.enable: true`".into())
}

/// Swallows what the client sends until it leaves.
async fn until_gone(stream: &mut BoxStream) {
    let mut sink = [0; 512];
    while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
}
