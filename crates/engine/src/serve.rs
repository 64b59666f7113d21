//! One connection, from the client's wish to its end.

use std::sync::Arc;
use std::time::Duration;

use adit_net::{
    Accepted, BoxStream, Broken, Dial, DialError, End, Handler, Limits, Packet, Reply, Side, farewell, relay,
};
use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

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
}

/// How a served connection ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was relayed.
    Relayed(End),
    /// Somebody ended it by hand.
    Killed,
    /// No outbound was reached; the client was told.
    NotReached(DialError),
}

impl Engine {
    /// An engine for `world`.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { world: ArcSwap::from_pointee(world), table: Table::new(), flows: Flows::new() }
    }

    /// Serves one connection to its end.
    ///
    /// # Cancel safety
    /// Dropping the future closes both sides and removes the row.
    pub async fn serve(&self, client: Accepted) -> Outcome {
        let Accepted { session, mut stream, reply } = client;
        let row = self.table.enter(session);

        let upstream = match Box::pin(self.reach(&row)).await {
            Ok(upstream) => upstream,
            Err(why) => {
                log::not_reached(row.session(), row.decision(), &why);
                Box::pin(refuse(stream, reply, &why)).await;
                return Outcome::NotReached(why);
            }
        };
        if let Err(error) = stream.write_all(&reply.accepted()).await {
            return Outcome::Relayed(End::Broken(Broken { side: Side::Client, error }));
        }
        tokio::select! {
            end = relay(stream, upstream, row.counters(), Limits::default()) => Outcome::Relayed(end),
            () = row.killed() => Outcome::Killed,
        }
    }

    /// Decides where the session goes, and dials.
    async fn reach(&self, row: &Row) -> Result<BoxStream, DialError> {
        let session = row.session();
        let world = self.world.load_full();
        let route = world.route(session).await?;
        log::routed(session, &route.decision);
        row.decided(route.decision);
        let dial = Dial { target: &route.target, known: route.known, client: Some(session.client) };
        match timeout(DIAL_BUDGET, route.way.dialer.connect(dial)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(DialError::TimedOut(format!("reaching {}", route.target))),
        }
    }

    /// What is open right now.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
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
        self.flows.deliver(self, packet);
    }
}

/// Tells the client why not, in its protocol's words.
async fn refuse(mut stream: BoxStream, reply: &'static dyn Reply, why: &DialError) {
    if matches!(why, DialError::Dropped) {
        let _ = timeout(DROP_HOLD, until_gone(&mut stream)).await;
        return;
    }
    farewell(stream, &reply.refused(why)).await;
}

/// Swallows what the client sends until it leaves.
async fn until_gone(stream: &mut BoxStream) {
    let mut sink = [0; 512];
    while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
}
