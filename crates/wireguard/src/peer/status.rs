//! What there is to say of a peer.

use std::net::SocketAddr;

use crate::Moment;

/// How things stand with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// No session, and nobody wants one.
    Down,
    /// No session, but one is wanted. It is given up after 90 seconds.
    Handshaking {
        /// Since when it is wanted.
        since: Moment,
    },
    /// A session, and no reason to doubt it.
    Up,
    /// A session, but nothing was heard since data was sent. That alone is no fault: whoever has nothing to answer takes
    /// ten seconds to say so. After fifteen a new session is asked for, while this one stays in use.
    Silent {
        /// When the first of the data was sent.
        since: Moment,
    },
}

/// A peer's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is, if that is known.
    pub endpoint: Option<SocketAddr>,
    /// When both sides last knew that they have new keys.
    pub last_handshake: Option<Moment>,
    /// When something authentic was last heard of it.
    pub last_heard: Option<Moment>,
    /// Bytes sent to it, as UDP payload.
    pub sent: u64,
    /// Bytes received from it and authentic, as UDP payload.
    pub received: u64,
    /// Packets from it that were authentic, but no IP packets, or not from its own addresses.
    pub refused: u64,
    /// How things stand.
    pub link: Link,
}
