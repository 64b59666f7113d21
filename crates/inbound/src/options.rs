//! What a listener is told.

use std::net::SocketAddr;

use adit_net::{KeepAlive, Tag};

use crate::{Access, Users};

/// One listener of kind `http`, `socks` or `mixed`. Equal options mean that a running listener can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its name, for `IN-NAME` rules, the log and the API.
    pub name: Tag,
    /// What it speaks.
    pub kind: Kind,
    /// Where. Port 0 lets the system choose; `[::]` is dual-stack.
    pub listen: SocketAddr,
    /// Who may use it.
    pub users: Users,
    /// From where.
    pub access: Access,
    /// Whether SOCKS5 UDP ASSOCIATE is offered, on a UDP socket with the same port. Without meaning for
    /// [`Kind::Http`].
    pub udp: bool,
    /// TCP keep-alive of its clients' connections.
    pub keep_alive: KeepAlive,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// HTTP: CONNECT, absolute-form requests, upgrades.
    Http,
    /// SOCKS4, SOCKS4a and SOCKS5.
    Socks,
    /// Both; the client's first byte tells which.
    Mixed,
}
