//! What all connections of a listener share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_net::{Accepted, ClientAddr, Entry, Network, Protocol, Reply, Session, Shutdown, Target, unmapped};

use crate::Options;
use crate::budgets::Budgets;
use crate::client::Client;
use crate::udp::Associations;

/// One listener, as its connections see it.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) options: Options,
    pub(crate) budgets: Budgets,
    /// `None`: no UDP here.
    pub(crate) associations: Option<Arc<Associations>>,
    pub(crate) shutdown: Shutdown,
    strangers: Strangers,
}

/// Clients that are not served.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// When the log last told of one.
    last: Mutex<Option<Instant>>,
}

impl Strangers {
    /// Always `false`. At most one line per second tells of them.
    pub(crate) fn turn_away(&self, inbound: &str, client: ClientAddr) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            *last = Some(Instant::now());
            tracing::info!(inbound = %inbound.escape_debug(), %client, "not served: this source is not allowed");
        }
        false
    }
}

impl Door {
    pub(crate) fn new(
        options: Options,
        budgets: Budgets,
        associations: Option<Arc<Associations>>,
        shutdown: Shutdown,
    ) -> Self {
        Self { options, budgets, associations, shutdown, strangers: Strangers::default() }
    }

    /// The facts about `client`'s way in.
    pub(crate) fn entry(&self, client: &Client, protocol: Protocol, user: Option<Arc<str>>) -> Entry {
        Entry { inbound: self.options.name.clone(), protocol, local: self.local_addr(client), user }
    }

    /// The same for the datagrams of an association. Mihomo names those of its mixed port after the SOCKS port, and
    /// `IN-NAME` rules are written accordingly.
    pub(crate) fn datagram_entry(&self, client: &Client, user: Option<Arc<str>>) -> Entry {
        let mut entry = self.entry(client, Protocol::Socks5, user);
        if entry.inbound.as_str() == "DEFAULT-MIXED" {
            entry.inbound = "DEFAULT-SOCKS".into();
        }
        entry
    }

    /// Our own end of the client's connection.
    pub(crate) fn local_addr(&self, client: &Client) -> SocketAddr {
        client.stream.local_addr().map_or(self.options.listen, unmapped)
    }

    /// A client that waits for a stream to `target`.
    pub(crate) fn accepted(
        &self,
        client: Client,
        protocol: Protocol,
        user: Option<Arc<str>>,
        target: Target,
        reply: &'static dyn Reply,
    ) -> Accepted {
        let entry = self.entry(&client, protocol, user);
        Accepted {
            session: Session::new(Network::Tcp, entry, client.addr, target),
            stream: client.into_stream(),
            reply,
        }
    }

    /// Whether `client` is served at all.
    pub(crate) fn admits(&self, client: ClientAddr) -> bool {
        self.options.access.admits(client) || self.strangers.turn_away(&self.options.name, client)
    }

    /// One line for one client that did not get what it wanted. Debug level, because any stranger can cause it.
    pub(crate) fn log_refusal(&self, client: ClientAddr, why: &str) {
        tracing::debug!(inbound = %self.options.name.escape_debug(), %client, "refused: {}", why.escape_debug());
    }
}
