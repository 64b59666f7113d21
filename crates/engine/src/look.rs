//! Looks into a connection for the name that its client means. Spec: mihomo-surface §8.

use std::time::{Duration, Instant};

use adit_net::{BoxStream, DialError, DnsMode, Host, Reply, Session, peek};
use adit_sniffer::{Found, Look, Plan, Wanted};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::World;

/// How long a client may take to say whom it means. A server that speaks first makes its client wait this long.
const PATIENCE: Duration = Duration::from_millis(300);

impl World {
    /// Finds out whom `session` is for, as far as its address and its first bytes tell.
    ///
    /// A client that waits for our word before it speaks is given it, which takes `reply`: it cannot be refused politely
    /// any more.
    ///
    /// # Errors
    /// As [`World::recall`], unless the client itself names its destination.
    ///
    /// # Cancel safety
    /// Dropping the future takes no byte from the client.
    pub(crate) async fn identify(
        &self,
        session: &mut Session,
        stream: &mut BoxStream,
        reply: &mut Option<&'static dyn Reply>,
    ) -> Result<(), DialError> {
        let recalled = self.recall(session);
        let Some(plan) = &self.sniffer else { return recalled };
        let mapped = if let DnsMode::RedirHost { name, .. } = &session.dns { Some(name) } else { None };
        let Some(wanted) = plan.wants(session, mapped, Instant::now()) else { return recalled };
        if stream.raw_reader().is_none() {
            // Bytes that were read already cannot be looked at without taking the rest.
            return recalled;
        }
        if let Some(words) = reply.map(Reply::accepted).filter(|words| !words.is_empty()) {
            *reply = None;
            let told = stream.write_all(&words).await;
            told.map_err(|source| DialError::Io { context: "answering the client".into(), source })?;
        }
        let Some(socket) = stream.raw_reader() else { return recalled };
        match look(socket, wanted).await {
            Some(found) => take(plan, session, found, recalled),
            None => {
                plan.failed(session, Instant::now());
                recalled
            }
        }
    }
}

/// The name in the first bytes, if it comes in time.
async fn look(socket: &TcpStream, wanted: Wanted) -> Option<Found> {
    let sniffer = wanted.stream();
    let look = |seen: &[u8]| match sniffer.look(seen) {
        Look::NeedMore => None,
        Look::Nothing => Some(None),
        Look::Found(found) => Some(Some(found)),
    };
    timeout(PATIENCE, peek(socket, look)).await.ok()?.ok()??
}

/// Notes a name that was found, and makes it the target if the configuration says so.
pub(crate) fn take(
    plan: &Plan,
    session: &mut Session,
    found: Found,
    recalled: Result<(), DialError>,
) -> Result<(), DialError> {
    let Some(taken) = plan.accept(&session.target, found) else { return recalled };
    session.sniffed = Some(taken.name.clone());
    // What stands for nothing cannot be dialled, so there the name counts whatever the configuration says.
    if taken.override_destination || recalled.is_err() {
        session.target.host = Host::Domain(taken.name);
        session.dns = DnsMode::Normal;
    }
    Ok(())
}
