//! The connection table: what is open right now, with its counters, its decision and the means to end it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::SystemTime;

use adit_net::{Counters, Session, SessionId, Tag};
use adit_router::{Process, RuleInfo};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::dials::Dials;
use crate::log;

/// What was decided for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The rule that matched; `None` when no rule was asked or none matched.
    pub rule: Option<Arc<RuleInfo>>,
    /// The way taken: the outbound first, the outermost group last.
    pub chain: Vec<Tag>,
    /// The program that asked, where one was looked for and found.
    pub process: Option<Process>,
}

/// One open connection or UDP leg.
#[derive(Debug)]
pub struct Connection {
    /// What was asked for.
    pub session: Session,
    /// Bytes carried so far.
    pub counters: Counters,
    /// When it began, by the clock on the wall.
    pub began: SystemTime,
    /// What somebody who shows the table wrote of it once and for all. The engine does not look at it.
    pub description: OnceLock<Box<str>>,
    decision: OnceLock<Decision>,
    remote: OnceLock<IpAddr>,
    killed: Notify,
}

impl Connection {
    /// What was decided, once it was.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.get()
    }

    /// The outbound that carries it.
    fn outbound(&self) -> Option<Tag> {
        self.decision()?.chain.first().cloned()
    }

    /// Whom our own socket is connected to, where there is one: the proxy server, or the destination itself.
    #[must_use]
    pub fn remote(&self) -> Option<IpAddr> {
        self.remote.get().copied()
    }

    /// Its name in the API.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.session.id)
    }

    /// Ends the connection soon. Idempotent.
    pub fn kill(&self) {
        self.killed.notify_one();
    }
}

/// A connection's name in the API: a UUID (RFC 9562, version 4 in form) that no other process gives to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId(SessionId);

/// What the UUIDs of this process have in common.
fn process_part() -> u64 {
    static PART: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    *PART
}

/// The bits of a UUID that say of which version and variant it is.
const UUID_FORM: u128 = 0xf000 << 64 | 0xc000_0000_0000_0000;
const UUID_V4: u128 = 0x4000 << 64 | 0x8000_0000_0000_0000;

impl ConnectionId {
    fn bits(id: u64) -> u128 {
        (u128::from(process_part()) << 64 | u128::from(id)) & !UUID_FORM | UUID_V4
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", Self::bits(self.0.as_u64()));
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        write!(f, "{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

/// Bytes carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From clients.
    pub up: u64,
    /// To clients.
    pub down: u64,
}

impl Traffic {
    fn add(&mut self, counters: &Counters) {
        self.up = self.up.saturating_add(counters.up());
        self.down = self.down.saturating_add(counters.down());
    }
}

/// Every open connection. Cheap to clone; clones are the same table.
#[derive(Clone, Debug, Default)]
pub struct Table(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: Mutex<Open>,
    dials: Dials,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<SessionId, Arc<Connection>>,
    /// How many there have been, the open ones included.
    total: u64,
    /// What those that have ended carried, by the outbound that carried it; what no outbound carried is under none.
    ended: HashMap<Option<Tag>, Traffic>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How dials went so far, those of connections that have ended included.
    #[must_use]
    pub fn dials(&self) -> &Dials {
        &self.0.dials
    }

    /// Adds a session. It leaves when the row is dropped, on every path.
    #[must_use]
    pub fn enter(&self, session: Session) -> Row {
        let connection = Arc::new(Connection {
            session,
            counters: Counters::default(),
            began: SystemTime::now(),
            description: OnceLock::new(),
            decision: OnceLock::new(),
            remote: OnceLock::new(),
            killed: Notify::new(),
        });
        let mut open = self.0.open.lock();
        open.total = open.total.saturating_add(1);
        open.connections.insert(connection.session.id, Arc::clone(&connection));
        Row { connection, table: self.clone(), end: None }
    }

    /// What is open now, in no particular order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<Connection>> {
        self.0.open.lock().connections.values().cloned().collect()
    }

    /// The open connection that the API calls `id`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Connection>> {
        let bits = u128::from_str_radix(&id.replace('-', ""), 16).ok()?;
        // The lower half is the session's number and the variant.
        let number = u64::try_from(bits & u128::from(u64::MAX) & !UUID_FORM).ok()?;
        let open = self.0.open.lock();
        let found = open.connections.get(&SessionId::from_u64(number))?;
        found.id().to_string().eq_ignore_ascii_case(id).then(|| Arc::clone(found))
    }

    /// How many are open now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.open.lock().connections.len()
    }

    /// Whether nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.open.lock().connections.is_empty()
    }

    /// How many connections there have been since the process began, the open ones included.
    #[must_use]
    pub fn entered(&self) -> u64 {
        self.0.open.lock().total
    }

    /// What has been carried since the process began. It never decreases.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic_by_outbound().values().fold(Traffic::default(), |sum, part| Traffic {
            up: sum.up.saturating_add(part.up),
            down: sum.down.saturating_add(part.down),
        })
    }

    /// The same by the outbound that carried it; what no outbound carried is under none.
    #[must_use]
    pub fn traffic_by_outbound(&self) -> HashMap<Option<Tag>, Traffic> {
        let open = self.0.open.lock();
        let mut traffic = open.ended.clone();
        for connection in open.connections.values() {
            traffic.entry(connection.outbound()).or_default().add(&connection.counters);
        }
        traffic
    }

    fn leave(&self, connection: &Connection) {
        let mut open = self.0.open.lock();
        let Open { connections, ended, .. } = &mut *open;
        connections.remove(&connection.session.id);
        ended.entry(connection.outbound()).or_default().add(&connection.counters);
        // A table that once held thousands would keep their room for ever.
        if connections.capacity() > 1024 && connections.len() * 4 < connections.capacity() {
            let room = connections.len() * 2;
            connections.shrink_to(room);
        }
    }
}

/// A connection's place in the table.
#[derive(Debug)]
pub struct Row {
    connection: Arc<Connection>,
    table: Table,
    /// How it ended, for the log.
    end: Option<String>,
}

impl Row {
    /// What was asked for.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.connection.session
    }

    /// The counters that the relay adds to.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.connection.counters
    }

    /// Records the decision. Only the first one counts: a connection is routed once.
    pub fn decided(&self, decision: Decision) {
        let _ = self.connection.decision.set(decision);
    }

    /// Records whom our socket is connected to.
    pub(crate) fn connected_to(&self, remote: Option<IpAddr>) {
        if let Some(remote) = remote {
            let _ = self.connection.remote.set(remote);
        }
    }

    /// Says how the connection ended, for the line that its end writes.
    pub(crate) fn ended(&mut self, how: impl Into<String>) {
        self.end = Some(how.into());
    }

    /// Waits until somebody ends this connection. Cancel-safe.
    pub async fn killed(&self) {
        self.connection.killed.notified().await;
    }

    /// As [`Row::killed`], for an owner that keeps the row and the future side by side.
    pub(crate) fn killed_for_ever(&self) -> impl Future<Output = ()> + Send + 'static {
        let connection = Arc::clone(&self.connection);
        async move { connection.killed.notified().await }
    }

    /// What was decided, once it was.
    pub(crate) fn decision(&self) -> Option<&Decision> {
        self.connection.decision()
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        self.table.leave(&self.connection);
        log::ended(&self.connection, self.end.as_deref().unwrap_or("closed"));
    }
}

#[cfg(test)]
mod tests {
    use adit_net::{Entry, Network, Protocol};

    use super::*;

    fn session() -> Session {
        let entry = Entry {
            inbound: "test".into(),
            protocol: Protocol::Socks5,
            local: "127.0.0.1:1".parse().unwrap(),
            user: None,
        };
        let client = "127.0.0.1:2".parse::<std::net::SocketAddr>().unwrap().into();
        Session::new(Network::Tcp, entry, client, "example.com:443".parse().unwrap())
    }

    #[tokio::test]
    async fn a_row_is_in_the_table_until_it_is_dropped() {
        let table = Table::new();
        let row = table.enter(session());
        row.counters().add_up(3);
        assert_eq!(table.snapshot()[0].counters.up(), 3);
        table.snapshot()[0].kill();
        row.killed().await;
        drop(row);
        assert!(table.is_empty());
    }

    #[test]
    fn what_was_carried_is_never_forgotten() {
        let table = Table::new();
        let one = table.enter(session());
        one.decided(Decision { rule: None, chain: vec!["DIRECT".into(), "G".into()], process: None });
        one.counters().add_up(3);
        one.counters().add_down(4);
        let two = table.enter(session());
        two.counters().add_up(1);
        let all = Traffic { up: 4, down: 4 };
        assert_eq!(table.traffic(), all);
        drop(one);
        assert_eq!(table.traffic(), all);
        assert_eq!(table.traffic_by_outbound()[&Some("DIRECT".into())], Traffic { up: 3, down: 4 });
        drop(two);
        assert_eq!((table.traffic(), table.entered()), (all, 2));
    }

    #[test]
    fn a_connection_is_found_by_its_uuid() {
        let table = Table::new();
        let (one, two) = (table.enter(session()), table.enter(session()));
        let (one_id, two_id) = (one.connection.id().to_string(), two.connection.id().to_string());
        assert_ne!(one_id, two_id);
        assert_eq!((one_id.len(), &one_id[14..15], &one_id[19..20]), (36, "4", "8"));
        assert_eq!(table.find(&one_id).unwrap().session.id, one.session().id);
        assert_eq!(table.find(&two_id).unwrap().session.id, two.session().id);
        for other in ["", "x", &one_id[1..], "00000000-0000-4000-8000-000000000001"] {
            assert!(table.find(other).is_none(), "{other}");
        }
        drop(one);
        assert!(table.find(&one_id).is_none());
    }

    #[test]
    fn a_table_gives_its_room_back() {
        let table = Table::new();
        let rows: Vec<_> = (0..9000).map(|_| table.enter(session())).collect();
        drop(rows);
        assert!(table.0.open.lock().connections.capacity() < 2048);
    }
}
