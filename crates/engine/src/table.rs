//! The connection table: what is open right now, with its counters, its decision and the means to end it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use adit_net::{Counters, Session, SessionId, Tag};
use adit_router::{Process, RuleInfo};
use parking_lot::Mutex;
use tokio::sync::Notify;

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
    decision: OnceLock<Decision>,
    killed: Notify,
}

impl Connection {
    /// What was decided, once it was.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.get()
    }

    /// Ends the connection soon. Idempotent.
    pub fn kill(&self) {
        self.killed.notify_one();
    }
}

/// Every open connection. Cheap to clone; clones are the same table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    open: Arc<Mutex<HashMap<SessionId, Arc<Connection>>>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a session. It leaves when the row is dropped, on every path.
    #[must_use]
    pub fn enter(&self, session: Session) -> Row {
        let connection = Arc::new(Connection {
            session,
            counters: Counters::default(),
            decision: OnceLock::new(),
            killed: Notify::new(),
        });
        self.open.lock().insert(connection.session.id, Arc::clone(&connection));
        Row { connection, table: self.clone() }
    }

    /// What is open now, in no particular order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<Connection>> {
        self.open.lock().values().cloned().collect()
    }

    /// How many are open now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.lock().is_empty()
    }

    fn leave(&self, id: SessionId) {
        let mut open = self.open.lock();
        open.remove(&id);
        // A table that once held thousands would keep their room for ever.
        if open.capacity() > 1024 && open.len() * 4 < open.capacity() {
            let room = open.len() * 2;
            open.shrink_to(room);
        }
    }
}

/// A connection's place in the table.
#[derive(Debug)]
pub struct Row {
    connection: Arc<Connection>,
    table: Table,
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
        self.table.leave(self.connection.session.id);
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
    fn a_table_gives_its_room_back() {
        let table = Table::new();
        let rows: Vec<_> = (0..9000).map(|_| table.enter(session())).collect();
        drop(rows);
        assert!(table.open.lock().capacity() < 2048);
    }
}
